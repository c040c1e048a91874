// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// A provider takes seconds to start, so what needs one like any other shares it.
func TestOnProvider(t *testing.T) {
	t.Parallel()
	provider := newRig(t, realparts.OIDCOptions{})
	for _, test := range []struct {
		name string
		test func(*rig)
	}{
		{"ClientIsRegisteredAsTheEstateSays", testClientIsRegisteredAsTheEstateSays},
		{"VerifyByEachGrant", testVerifyByEachGrant},
		{"EstateMayChangeHowClientsAuthenticate", testEstateMayChangeHowClientsAuthenticate},
		{"RefusedMetadata", testRefusedMetadata},
		{"AdminCredentialsAreTriedInOrder", testAdminCredentialsAreTriedInOrder},
		{"GoneOrWrongToken", testGoneOrWrongToken},
		{"RevokeFallsBackToTheProvidersList", testRevokeFallsBackToTheProvidersList},
		{"CollectInAnotherProcess", testCollectInAnotherProcess},
		{"AcceptTellsOfOrphans", testAcceptTellsOfOrphans},
		{"HoldLeavesItToAPerson", testHoldLeavesItToAPerson},
		{"LateRegistration", testLateRegistration},
		{"Calls", testCalls},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(provider.on(t)) })
	}
}

// testClientIsRegisteredAsTheEstateSays compares with what the provider itself holds.
func testClientIsRegisteredAsTheEstateSays(r *rig) {
	t := r.T
	config := r.config(oidc.Accept)
	config.Client = oidc.Client{
		Name: "Orders", GrantTypes: []string{"authorization_code", "refresh_token"}, AuthMethod: oidc.Post,
		RedirectURIs: []string{"https://orders.example.org/back"}, Scopes: []string{"openid", "offline_access", "orders.read"},
		Contacts: []string{"orders@example.org"}, URI: "https://orders.example.org",
	}
	u := r.open(config)
	current := upstreamtest.Value(t, map[string]string{"note": "kept", oidc.FieldExpires: "2001-01-01T00:00:00Z"})
	v := upstreamtest.Issue(r, u, "run-1", current)
	want := []string{
		oidc.FieldID, oidc.FieldSecret, oidc.FieldGrantTypes, "note", oidc.FieldManageToken, oidc.FieldManageURI, oidc.FieldAuthMethod,
	}
	if diff := cmp.Diff(want, v.Names()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	held := r.held(config.Claim)
	if len(held) != 1 {
		t.Fatalf("got %d clients, want one", len(held))
	}
	wantClient := realparts.OIDCClient{
		ID: v.ExposeText(oidc.FieldID), Name: "Orders (custody " + config.Claim + " run-1)", AuthMethod: oidc.Post,
		GrantTypes: config.Client.GrantTypes, RedirectURIs: config.Client.RedirectURIs, Scope: "openid offline_access orders.read",
		SecretSHA256: held[0].SecretSHA256,
	}
	if diff := cmp.Diff(wantClient, held[0]); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
	upstreamtest.Is(r, u, upstream.Accepted, v, "the client")
}

// testVerifyByEachGrant: where client_credentials is not granted, a grant that was never given shows who is let in.
func testVerifyByEachGrant(r *rig) {
	t := r.T
	for name, client := range map[string]oidc.Client{
		"client credentials": {GrantTypes: []string{"client_credentials"}},
		"code":               {GrantTypes: []string{"authorization_code"}, RedirectURIs: []string{"https://orders.example.org/back"}},
		"refresh and code":   {GrantTypes: []string{"refresh_token", "authorization_code"}, RedirectURIs: []string{"https://orders.example.org/back"}},
	} {
		for _, method := range []string{oidc.Basic, oidc.Post} {
			t.Run(name+" by "+method, func(t *testing.T) {
				r := r.on(t)
				config := r.config(oidc.Accept)
				client.Name, client.AuthMethod = "Orders", method
				config.Client = client
				u := r.open(config)
				v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
				upstreamtest.Is(r, u, upstream.Accepted, v, "the client")
				decoy, err := u.Decoy(v)
				if err != nil {
					t.Fatal(err)
				}
				if decoy.ExposeText(oidc.FieldID) != v.ExposeText(oidc.FieldID) {
					t.Error("the decoy is another client: that it is refused would not show that the secret is looked at")
				}
				upstreamtest.Is(r, u, upstream.Refused, decoy, "the client with another secret")
				stranger, err := v.With(oidc.FieldID, []byte("nobody"))
				if err != nil {
					t.Fatal(err)
				}
				upstreamtest.Is(r, u, upstream.Refused, stranger, "a client that does not exist")
			})
		}
	}
}

// testEstateMayChangeHowClientsAuthenticate: the old client is still tried as it was registered.
func testEstateMayChangeHowClientsAuthenticate(r *rig) {
	t := r.T
	config := r.config(oidc.Accept)
	first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
	config.Client.AuthMethod = oidc.Post
	config.Client.GrantTypes = []string{"authorization_code"}
	config.Client.RedirectURIs = []string{"https://orders.example.org/back"}
	u := r.open(config)
	second := upstreamtest.Issue(r, u, "run-2", first)
	upstreamtest.Is(r, u, upstream.Accepted, first, "the old client")
	upstreamtest.Is(r, u, upstream.Accepted, second, "the new client")
	if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the old client")
	upstreamtest.Is(r, u, upstream.Accepted, second, "the new client")
}

func testRefusedMetadata(r *rig) {
	t := r.T
	for name, change := range map[string]func(*oidc.Client){
		"unknown grant":          func(c *oidc.Client) { c.GrantTypes = append(c.GrantTypes, "password") },
		"redirect with fragment": func(c *oidc.Client) { c.RedirectURIs = []string{"https://orders.example.org/#x"} },
		"unknown scope":          func(c *oidc.Client) { c.Scopes = []string{"nowhere"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := r.on(t)
			config := r.config(oidc.Accept)
			change(&config.Client)
			_, err := r.open(config).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			if !errors.Is(err, upstream.ErrRefusedCandidate) {
				t.Errorf("got %v, want ErrRefusedCandidate", err)
			}
			r.holds(0, config.Claim, "after it was refused")
		})
	}
}

func testAdminCredentialsAreTriedInOrder(r *rig) {
	t := r.T
	config := r.config(oidc.Accept)
	wrong := upstreamtest.Value(t, map[string]string{oidc.AdminInitial: "wrong-token"})
	right := upstreamtest.Value(t, map[string]string{oidc.AdminInitial: r.provider.InitialAccessToken})
	config.Admin = upstreamtest.Admins(wrong, right)
	u := r.open(config)
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", secret.Value{}), "the client")

	config.Admin = upstreamtest.Admins(wrong)
	_, err := r.open(config).Apply(t.Context(), "run-2", secret.Value{}, secret.Value{})
	if !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("every token refused: got %v, want ErrNotApplied", err)
	}
	r.holds(1, config.Claim, "after a refused token")
}

// testGoneOrWrongToken: the provider answers 401 to both; only the token endpoint tells them apart.
func testGoneOrWrongToken(r *rig) {
	t := r.T
	u := r.open(r.config(oidc.Accept))
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)

	wrong, err := first.With(oidc.FieldManageToken, []byte("not-the-registration-access-token"))
	if err != nil {
		t.Fatal(err)
	}
	err = u.Revoke(t.Context(), "run-2", wrong, second)
	if !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("a wrong registration access token: got %v, want ErrNotApplied", err)
	}
	if hint, ok := errors.AsType[*upstream.Error](err); !ok || !strings.Contains(hint.Hint(), first.ExposeText(oidc.FieldID)) {
		t.Errorf("got hint %q, want one that names the client", hint.Hint())
	}
	upstreamtest.Is(r, u, upstream.Accepted, first, "the client that could not be deleted")

	for range 2 { // the second time it is gone
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Errorf("got %v, want none", err)
		}
	}
	if err := u.Revoke(t.Context(), "run-2", wrong, second); err != nil {
		t.Errorf("gone, and the token wrong as well: got %v, want none", err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, second, "the successor")
}

// testRevokeFallsBackToTheProvidersList where the client's own token is lost.
func testRevokeFallsBackToTheProvidersList(r *rig) {
	t := r.T
	config := r.config(oidc.Collect)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	bare := upstreamtest.Value(t, map[string]string{oidc.FieldID: first.ExposeText(oidc.FieldID), oidc.FieldSecret: first.ExposeText(oidc.FieldSecret)})
	second := upstreamtest.Issue(r, u, "run-2", bare)
	if err := u.Revoke(t.Context(), "run-2", bare, second); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the old client")
	r.holds(1, config.Claim, "after revoking")
}

// testCollectInAnotherProcess: the reply was lost with the process, and only the provider's list tells.
func testCollectInAnotherProcess(r *rig) {
	t := r.T
	before, err := r.provider.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 25 { // so that the list has pages
		other := r.config(oidc.Accept)
		other.Claim = fmt.Sprintf("shop/test/other-%d", i)
		upstreamtest.Issue(r, r.open(other), "run-2", secret.Value{})
	}
	config := r.config(oidc.Collect)
	first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
	upstreamtest.Issue(r, r.open(config), "run-2", first)
	upstreamtest.Issue(r, r.open(config), "run-2", first)
	r.holds(3, config.Claim, "after lost replies")
	u := r.open(config).Collecting()
	for range 2 {
		if err := u.Collect(t.Context(), "run-2"); err != nil {
			t.Fatal(err)
		}
		r.holds(1, config.Claim, "after collecting")
	}
	upstreamtest.Is(r, u, upstream.Accepted, first, "the current client")
	if all, err := r.provider.Clients(t.Context()); err != nil || len(all) != len(before)+26 {
		t.Errorf("got %d clients in all (%v), want the %d from before and 25 of others left alone", len(all), err, len(before))
	}

	wrong := upstreamtest.Value(t, map[string]string{oidc.AdminClients: "wrong", oidc.AdminInitial: r.provider.InitialAccessToken})
	config.Admin = upstreamtest.Admins(wrong)
	if err := r.open(config).Collecting().Collect(t.Context(), "run-2"); err == nil {
		t.Error("a list that cannot be read: got no error; an orphan may be left")
	}
}

// testAcceptTellsOfOrphans exactly when one may be left.
func testAcceptTellsOfOrphans(r *rig) {
	t := r.T
	config := r.config(oidc.Accept)
	var told []string
	config.Tell = func(_ context.Context, marker string) { told = append(told, marker) }
	collect := func(u *oidc.Upstream) {
		t.Helper()
		if err := u.Collecting().Collect(t.Context(), "run-1"); err != nil {
			t.Fatal(err)
		}
	}
	u := r.open(config)
	upstreamtest.Issue(r, u, "run-1", secret.Value{})
	collect(u)
	if len(told) != 0 {
		t.Errorf("every reply came: got %q, want nothing told", told)
	}
	r.holds(0, config.Claim, "what this process registered is deleted")

	r.fault(realparts.OIDCFault{Path: "/reg", Method: "POST", Status: 502, Body: "<html>bad gateway</html>", Left: 1, After: true})
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{}); err == nil || errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("got %v, want an error that leaves open whether it had an effect", err)
	}
	collect(u)
	want := []string{"custody " + config.Claim + " run-1"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("a lost reply: told (-want +got):\n%s", diff)
	}
	if held := r.held(config.Claim); len(held) != 1 || !strings.Contains(held[0].Name, told[0]) {
		t.Errorf("the orphan %v does not carry the mark %q that people are told to look for", held, told)
	}
	collect(u)
	if len(told) != 1 {
		t.Errorf("told %d times of one orphan", len(told))
	}
	collect(r.open(config)) // another process cannot know
	if len(told) != 2 {
		t.Error("a process that saw no reply: want it to tell what may be left")
	}
}

// testHoldLeavesItToAPerson: no power to collect, and the kind says so.
func testHoldLeavesItToAPerson(r *rig) {
	t := r.T
	var u upstream.Upstream = r.open(r.config(oidc.Hold))
	if got := u.Kind().LostReply; got != upstream.Person {
		t.Errorf("got %q, want person", got)
	}
	if err := u.Kind().Check(); err != nil {
		t.Error(err)
	}
	if _, collects := u.(upstream.Collector); collects {
		t.Error("an upstream that holds collects")
	}
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the old client")
	upstreamtest.Is(r, u, upstream.Accepted, second, "the new client")
}

// testLateRegistration: the provider enforces no deadline. What lands late is found by its run.
func testLateRegistration(r *rig) {
	t := r.T
	config := r.config(oidc.Collect)
	first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
	upstreamtest.Deadlines(t, 100*time.Millisecond, func(deadline time.Duration) bool {
		config.CallDeadline = deadline
		u := r.open(config).Collecting()
		r.provider.Proxy.Cut(1) // discovery is answered, the registration is not
		_, err := u.Apply(t.Context(), "run-2", first, secret.Value{})
		r.provider.Proxy.Mend()
		if err == nil {
			t.Error("got no error, though the reply was lost")
		}
		return !errors.Is(err, upstream.ErrNotApplied) // what is not sent in time is said not to be applied
	})
	r.holds(2, config.Claim, "after a reply was lost")
	config.CallDeadline = 0
	if err := r.open(config).Collecting().Collect(t.Context(), "run-2"); err != nil {
		t.Fatal(err)
	}
	r.holds(1, config.Claim, "after collecting")
}

// testCalls counts what the package's comment promises.
func testCalls(r *rig) {
	t := r.T
	u := r.open(r.config(oidc.Accept))
	counted := func(what string, want int, call func()) {
		t.Helper()
		sum := func() (sum int) {
			counts, err := r.provider.Counts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range counts {
				sum += n
			}
			return sum
		}
		before := sum()
		call()
		if got := sum() - before; got != want {
			t.Errorf("%s: got %d requests, want %d", what, got, want)
		}
	}
	var first, second secret.Value
	counted("Apply", 2, func() { first = upstreamtest.Issue(r, u, "run-1", secret.Value{}) })
	counted("Verify", 2, func() { upstreamtest.Is(r, u, upstream.Accepted, first, "the client") })
	second = upstreamtest.Issue(r, u, "run-2", first)
	revoke := func() {
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Fatal(err)
		}
	}
	counted("Revoke", 1, revoke)
	counted("Revoke again", 3, revoke)
}
