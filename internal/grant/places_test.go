// SPDX-License-Identifier: Apache-2.0

package grant_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
)

// estateOf declares a password that the shop reads, a url that is computed from it for the same folder, and a token.
func estateOf(change func(password, url, token *intent.Secret)) *intent.Estate {
	declare := func(name string, files ...v1alpha1.FileConsumer) *intent.Secret {
		s := &intent.Secret{Name: name, Path: authority.Path("at/" + name)}
		s.Spec.Owner.Team = "apps"
		for i, file := range files {
			s.Consumers = append(s.Consumers, intent.Consumer{ConsumerSpec: v1alpha1.ConsumerSpec{Name: fmt.Sprint("c", i), File: &file}})
		}
		return s
	}
	password := declare("password", v1alpha1.FileConsumer{Folder: "shop", Path: "password", Mode: "0640"})
	url := declare("url", v1alpha1.FileConsumer{Folder: "shop", Path: "url"})
	url.Spec.Origin.Derived = &v1alpha1.DerivedOrigin{Inputs: map[string]string{"p": "password"}}
	token := declare("token", v1alpha1.FileConsumer{Folder: "web", Path: "token"})
	if change != nil {
		change(password, url, token)
	}
	return &intent.Estate{Secrets: map[string]*intent.Secret{"password": password, "url": url, "token": token}}
}

// noted is what the histories name after a first look at each secret of an estate.
func noted(estate *intent.Estate) grant.Known {
	known := grant.Known{}
	for _, name := range estate.SecretNames() {
		declared := estate.Secrets[name]
		known[declared.Path] = grant.Places(estate, declared, nil)
	}
	return known
}

// Whoever wrote to Git moved a file to a folder that another application reads, gave it to another user, or computed
// something from it for that folder: nothing was granted, and the next look delivered it.
func TestNobodyElseReadsAValueThatIsThere(t *testing.T) {
	file := func(s *intent.Secret) *v1alpha1.FileConsumer { return s.Consumers[0].File }
	derive := func(s *intent.Secret, inputs ...string) {
		s.Spec.Origin = v1alpha1.Origin{Derived: &v1alpha1.DerivedOrigin{Inputs: map[string]string{}}}
		for _, input := range inputs {
			s.Spec.Origin.Derived.Inputs[input] = input
		}
	}
	for name, test := range map[string]struct {
		change func(password, url, token *intent.Secret)
		new    []authority.Path
		want   []string
	}{
		"nothing":                {nil, nil, nil},
		"another name in it":     {func(p, _, _ *intent.Secret) { file(p).Path = "other" }, nil, nil},
		"a narrower mode":        {func(p, _, _ *intent.Secret) { file(p).Mode = "0400" }, nil, nil},
		"one consumer less":      {func(p, _, _ *intent.Secret) { p.Consumers = nil }, nil, nil},
		"where the url was read": {func(p, u, _ *intent.Secret) { p.Consumers, u.Consumers = u.Consumers, p.Consumers }, nil, []string{"url consumer/c0 in folder shop, mode 0640 (c0)"}},
		"another folder": {
			func(p, _, _ *intent.Secret) { file(p).Folder = "web" }, nil,
			[]string{"password consumer/c0 in folder web, mode 0640 (c0)"},
		},
		"a folder beneath":   {func(p, _, _ *intent.Secret) { file(p).Path = "sub/password" }, nil, []string{"password consumer/c0 in folder shop/sub, mode 0640 (c0)"}},
		"the folder's group": {func(_, u, _ *intent.Secret) { file(u).Mode = "0640" }, nil, []string{"url consumer/c0 in folder shop, mode 0640 (c0)"}},
		"a user":             {func(p, _, _ *intent.Secret) { file(p).User = "www" }, nil, []string{"password consumer/c0 in folder shop, user www, mode 0640 (c0)"}},
		"a group":            {func(p, _, _ *intent.Secret) { file(p).Group = "www" }, nil, []string{"password consumer/c0 in folder shop, group www, mode 0640 (c0)"}},
		"everybody":          {func(p, _, _ *intent.Secret) { file(p).Mode = "0644" }, nil, []string{"password consumer/c0 in folder shop, mode 0644 (c0)"}},
		"a comma":            {func(p, _, _ *intent.Secret) { file(p).Path, file(p).Mode = "a, user www/x", "0604" }, nil, []string{`password consumer/c0 in folder "shop/a, user www", mode 0604 (c0)`}},
		"another input":      {func(_, _, tok *intent.Secret) { derive(tok, "password") }, nil, []string{"password secret/token ()"}},
		"a new secret of it": {func(_, _, tok *intent.Secret) { derive(tok, "url") }, []authority.Path{"at/token"}, []string{"token consumer/c0 in folder web, mode 0600 (c0)"}},
		"the same, over there": {
			func(_, _, tok *intent.Secret) { derive(tok, "url"); file(tok).Folder = "shop" }, []authority.Path{"at/token"}, nil,
		},
		"a secret that is new": {func(_, _, tok *intent.Secret) { file(tok).Folder = "elsewhere" }, []authority.Path{"at/token"}, nil},
		"a new one for a user": {
			func(_, _, tok *intent.Secret) { file(tok).User = "www" }, []authority.Path{"at/token"},
			[]string{"token consumer/c0 in folder web, user www, mode 0600 (c0)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			known := noted(estateOf(nil))
			for _, path := range test.new {
				delete(known, path)
			}
			estate, granted := estateOf(test.change), grant.Set{}
			var got []string
			for _, need := range grant.Missing(estate, granted, known) {
				got = append(got, fmt.Sprintf("%s %s (%s)", need.Of, need.To, need.Consumer))
				granted[need.Grant] = true
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("what is to be granted (-want +got):\n%s", diff)
			}
			if left := grant.Missing(estate, granted, known); len(left) > 0 {
				t.Errorf("with that granted, %v is missing", left)
			}
		})
	}
}

// What was never noted is what an older Custody left: the next look notes it.
func TestHistoriesWithoutPlacesTakeWhatIsDeclared(t *testing.T) {
	estate := estateOf(func(p, _, _ *intent.Secret) { p.Consumers[0].File.Folder = "web" })
	if got := grant.Missing(estate, nil, grant.Known{"at/password": nil, "at/url": nil, "at/token": nil}); len(got) > 0 {
		t.Errorf("%v is to be granted, want nothing", got)
	}
}

// What waits for a grant is not noted: it would be known there without one later.
func TestPlacesThatWaitAreNotNoted(t *testing.T) {
	estate := estateOf(nil)
	url := estate.Secrets["url"]
	url.Consumers[0].File.Folder = "web"
	known := grant.Known{"at/password": {"owner shop"}}
	missing := grant.Missing(estate, nil, known)
	if got := grant.Places(estate, url, missing); !cmp.Equal(got, []string{"input at/password"}) {
		t.Errorf("noted is %q", got)
	}
}

// A derived secret that asks for another input has not used it: its file holds nothing of that.
func TestAnInputThatIsAskedForWasNotUsed(t *testing.T) {
	estate := estateOf(nil)
	password, url, token := estate.Secrets["password"], estate.Secrets["url"], estate.Secrets["token"]
	known := noted(estate)
	if !known.Used(url, password) || known.Used(url, token) || known.Used(token, password) {
		t.Errorf("used: %t, another: %t, by another: %t", known.Used(url, password), known.Used(url, token), known.Used(token, password))
	}
}
