// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire/kinds"
)

const declaration = `apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata:
  name: NAME
  namespace: shop
spec:
  purpose: Lets the shop sign in.
  owner: {team: apps, contact: apps@example.org}
  class: runtime
  path: platform-data/db/NAME
  origin:
    bootstrap:
      secretRef: NAME
`

// estate makes an estate that declares secrets without their bootstrap documents, and returns the platform's folder.
func estate(t *testing.T, names ...string) string {
	t.Helper()
	p := platform(filepath.Join(t.TempDir(), "p"))
	if _, err := Init(t.Context(), config(), p); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file := filepath.Join(p.Dir, "estate", "secrets", name+".yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(declaration, "NAME", name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p.Dir
}

func keys(t *testing.T, dir, name string) []root.Identity {
	t.Helper()
	identities, err := root.Load(filepath.Join(dir, "keys", name+".agekey"))
	if err != nil {
		t.Fatal(err)
	}
	return identities
}

func sealedField(t *testing.T, name, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{name: text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Several secrets may lack their documents: each can be sealed, and the others' faults are told.
func TestSealWhileOthersAreMissing(t *testing.T) {
	dir := estate(t, "one", "two")
	s := Sealing{Estate: filepath.Join(dir, "estate"), Secret: "one", Value: sealedField(t, "value", "a")}
	first, err := Seal(t.Context(), config(), s)
	if err != nil {
		t.Fatal(err)
	}
	if !first.New || len(first.Faults) == 0 || first.Faults[0].Rule != "origin-bootstrap" {
		t.Errorf("got %+v, want a new document and the other secret's fault", first)
	}
	s.Secret = "two"
	second, err := Seal(t.Context(), config(), s)
	if err != nil || len(second.Faults) > 0 {
		t.Fatalf("%v %v", err, second.Faults)
	}
	loaded, faults, err := intent.Load(s.Estate, intent.Options{Types: kinds.Upstreams()})
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v %v", err, faults)
	}
	doc, err := config().Codec.Open(t.Context(), loaded.Bootstrap["two"].Raw, keys(t, dir, "root"))
	if err != nil || doc.Binding.Namespace != "shop" {
		t.Errorf("%v, bound to %v", err, doc.Binding)
	}
}

func TestSealKeepsOtherFieldsOrSaysThatItCannot(t *testing.T) {
	dir := estate(t, "one")
	s := Sealing{Estate: filepath.Join(dir, "estate"), Secret: "one", Value: sealedField(t, "user", "a")}
	if _, err := Seal(t.Context(), config(), s); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	s.Value = sealedField(t, "password", "b")
	for name, identities := range map[string][]root.Identity{"none": nil, "another": keys(t, dir, "unseal")} {
		s.Identities = identities
		_, err := Seal(t.Context(), config(), s)
		var hinted interface{ Hint() string }
		if !errors.Is(err, root.ErrWrongKey) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "--replace") {
			t.Errorf("with %s: got %v", name, err)
		}
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Error(diff)
	}
	s.Identities = keys(t, dir, "bootstrap")
	got, err := Seal(t.Context(), config(), s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"password", "user"}, got.Fields); diff != "" || got.New {
		t.Error(diff, got.New)
	}
	s.Replace, s.Identities = true, nil
	if got, err = Seal(t.Context(), config(), s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"password"}, got.Fields); diff != "" {
		t.Error(diff)
	}
}

func TestSealRefuses(t *testing.T) {
	const mark = "MARKED-canary-1"
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string, s *Sealing)
		want   error
	}{
		{"undeclared", func(_ *testing.T, _ string, s *Sealing) { s.Secret = "nobody" }, ErrNotDeclared},
		{"generated", func(_ *testing.T, _ string, s *Sealing) { s.Secret = exampleName }, ErrInput},
		{"too large", func(t *testing.T, _ string, s *Sealing) {
			s.Value = sealedField(t, "value", strings.Repeat(mark, 5000))
		}, ErrInput},
		{"no platform", func(t *testing.T, dir string, _ *Sealing) {
			if err := os.Remove(filepath.Join(dir, "estate", "platform.yaml")); err != nil {
				t.Fatal(err)
			}
		}, ErrNotDeclared},
		{"unreadable", func(t *testing.T, dir string, _ *Sealing) {
			if err := os.WriteFile(filepath.Join(dir, "estate", "x.yaml"), []byte("a: [MARKED-canary-1"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrInput},
		{"in the way", func(t *testing.T, dir string, _ *Sealing) {
			write1(t, filepath.Join(dir, "estate", "bootstrap", "one.yaml"))
		}, ErrInput},
		{"no estate", func(_ *testing.T, dir string, s *Sealing) { s.Estate = filepath.Join(dir, "nowhere") }, os.ErrNotExist},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := estate(t, "one")
			s := Sealing{Estate: filepath.Join(dir, "estate"), Secret: "one", Value: sealedField(t, "value", mark)}
			test.change(t, dir, &s)
			before := tree(t, dir)
			_, err := Seal(t.Context(), config(), s)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if strings.Contains(err.Error(), mark) {
				t.Errorf("the error holds the value: %v", err)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
