// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

// materials are the digests of what each secret of a checkout is bound to.
func (c checkout) materials() map[string]string {
	c.t.Helper()
	estate, err := c.load(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.parts.grants = &grants{parts: c.parts}
	out := map[string]string{}
	for name, declared := range estate.Secrets {
		wanting := wanting{}
		bound, err := c.parts.bindSecret(estate, declared, wanting)
		if err != nil {
			c.t.Fatal(err)
		}
		out[name] = materialDigest(c.parts.materialOf(estate, declared, bound, wanting))
	}
	return out
}

// Each change of a document shows in the secrets that are bound otherwise for it, and in no other.
func TestMaterialChangesWithWhatItIsMadeOf(t *testing.T) {
	const policy = "apiVersion: custody.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: monthly}\nspec: {rotationType: time, ttl: 30d, rotateBefore: 1d}\n"
	secretOf := func(name, origin, more string) string {
		class := "runtime"
		if strings.Contains(origin, "derived") {
			class = "derived"
		}
		return "apiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {name: " + name + "}\nspec:\n  purpose: Signs sessions.\n" +
			"  owner: {team: platform, contact: platform@example.org}\n  class: " + class + "\n  path: apps/" + name + "\n  origin: " + origin + "\n" + more
	}
	const generated, derived = "{generated: {type: password}}", "{derived: {inputs: {in: input}, fields: {value: \"{{ .in.value }}\"}}}"
	const consumer = "  consumers: [{name: app, file: {folder: app, path: made.env, format: env}}]\n"
	base := map[string]string{
		"policy.yaml": policy, "alone.yaml": secretOf("alone", generated, ""), "input.yaml": secretOf("input", generated, ""),
		"timed.yaml": secretOf("timed", generated, "  rotation: {policyRef: monthly}\n"), "made.yaml": secretOf("made", derived, consumer),
	}
	tests := map[string]struct {
		file, from, to string
		want           []string
	}{
		"what it says":                     {"alone.yaml", "type: password", "type: password, length: 40", []string{"alone"}},
		"a comment":                        {"alone.yaml", "spec:", "spec: # said", nil},
		"whose it is":                      {"alone.yaml", "team: platform", "team: apps", []string{"alone"}},
		"its policy":                       {"policy.yaml", "ttl: 30d", "ttl: 20d", []string{"timed"}},
		"the consumers of what is made":    {"made.yaml", "made.env", "other.env", []string{"input", "made"}},
		"what is made of it is made of it": {"made.yaml", "value: \"{{", "value: \"x{{", []string{"input", "made"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			c.parts.host.Folders = map[string]string{"app": t.TempDir()}
			for file, text := range base {
				c.write(file, text)
			}
			before := c.materials()
			if !strings.Contains(base[test.file], test.from) {
				t.Fatalf("%s has no %q", test.file, test.from)
			}
			c.write(test.file, strings.Replace(base[test.file], test.from, test.to, 1))
			after := c.materials()
			var changed []string
			for _, name := range slices.Sorted(maps.Keys(after)) {
				if before[name] != after[name] {
					changed = append(changed, name)
				}
			}
			if diff := cmp.Diff(test.want, changed); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
		})
	}
}

// A commit that changed one document had the adapters of all secrets made again.
func TestACommitOfOneDocumentBindsOneSecret(t *testing.T) {
	c := newCheckout(t)
	c.declare("a", "b", "c")
	host := c.parts.host
	host.Unseal.KeyFile = filepath.Join(t.TempDir(), "unseal.key")
	putFile(t, host.Unseal.KeyFile, []byte(strings.Repeat("ab", 32)))
	p := reopened(t, host)
	t.Cleanup(func() { _ = p.Close() })
	p.estates.pause = func() {}
	bound := func(what string, want int) {
		t.Helper()
		p.bindings = 0
		p.estates.forget()
		if p.reload(); p.platform.Fault() != "" {
			t.Fatalf("%s: %s", what, p.platform.Fault())
		}
		if p.bindings != want {
			t.Errorf("%s: %d secrets were bound, want %d", what, p.bindings, want)
		}
	}
	bound("the first estate", 3)
	bound("the same estate", 0)
	c.declare("d")
	bound("one more", 1)
	edit := func(name, from, to string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(host.Estate, name))
		if err != nil || !strings.Contains(string(data), from) {
			t.Fatalf("%s has no %q: %v", name, from, err)
		}
		c.write(name, strings.Replace(string(data), from, to, 1))
	}
	edit("b.yaml", "Signs sessions.", "Signs other sessions.")
	bound("one that says something else", 1)
	const policy = "apiVersion: custody.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: monthly}\nspec: {rotationType: time, ttl: 30d, rotateBefore: 1d}\n"
	c.write("policy.yaml", policy)
	bound("a policy that none refers to", 0)
	for _, name := range []string{"a.yaml", "b.yaml"} {
		edit(name, "  class: runtime\n", "  class: runtime\n  rotation: {policyRef: monthly}\n")
	}
	bound("two that refer to it", 2)
	edit("policy.yaml", "ttl: 30d", "ttl: 20d")
	bound("the policy of two", 2)
	if err := os.Remove(filepath.Join(host.Estate, "d.yaml")); err != nil {
		t.Fatal(err)
	}
	bound("one less", 0)
	c.write("c.yaml", "a: [\n")
	bound("one that cannot be read", 0)
}

// Each of very many secrets had a generator of its own.
func TestSecretsOfOneRuleShareAGenerator(t *testing.T) {
	p := &parts{}
	made := map[any]int{}
	for _, length := range []int{32, 32, 40} {
		generator, err := p.generator(v1alpha1.GenerateRule{Type: "password", Length: length, Classes: []string{"lower"}})
		if err != nil {
			t.Fatal(err)
		}
		made[generator]++
	}
	if len(made) != 2 {
		t.Errorf("for three secrets of two rules %d generators were made", len(made))
	}
}
