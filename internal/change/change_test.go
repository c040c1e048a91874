// SPDX-License-Identifier: Apache-2.0

package change

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/intent"
)

const (
	platform = `
apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: shop}
spec:
  authority: {type: embedded}
  environments: [prod]
  rootRecipients: [age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z]
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d}
---
`
	token = `
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: token}
spec:
  purpose: Token of the shop.
  owner: {team: apps, contact: apps@example.org}
  class: runtime
  path: shop/token
  origin: {generated: {type: password}}
  rotation: {policyRef: monthly}
  consumers:
    - name: web
      file: {folder: app, path: web.env, format: env, keys: {value: TOKEN}}
    - name: batch
      file: {folder: app, path: batch.env, format: env, keys: {value: TOKEN}}
---
`
)

func estate(t *testing.T, text string) *intent.Estate {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, faults, err := intent.Load(dir, intent.Options{Environment: "prod"})
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v %v", err, faults)
	}
	return loaded
}

func TestWhatAChangeTakesAway(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	facts := Facts{"token": {Rotated: now.Add(-10 * 24 * time.Hour), Running: true}}
	for name, c := range map[string]struct {
		edit             func(string) string
		changes          []string
		removes, revokes int
		says             string
	}{
		"nothing":        {func(s string) string { return s }, nil, 0, 0, ""},
		"a comment":      {func(s string) string { return "# why\n" + s }, nil, 0, 0, ""},
		"the secret":     {func(string) string { return platform }, []string{"token removed"}, 3, 0, "it leaves: a host that has its value keeps it in force"},
		"a consumer":     {func(s string) string { return s[:strings.Index(s, "    - name: batch")] }, []string{"token changed"}, 1, 0, "consumer batch is removed"},
		"a file's place": {replacing("web.env", "other.env"), []string{"token changed"}, 1, 0, "app/other.env instead of app/web.env"},
		"a file's mode":  {replacing("path: web.env", `mode: "0640", path: web.env`), []string{"token changed"}, 0, 0, "consumer web changes"},
		"another secret": {func(s string) string {
			return s + strings.NewReplacer("name: token", "name: other", "shop/token", "shop/other", "web.env", "w.env", "batch.env", "b.env").Replace(token)
		}, []string{"other added"}, 0, 0, "Custody makes its first value"},
		"a new name":       {replacing("name: token}\nspec:", "name: key}\nspec:\n  formerNames: [token]"), []string{"key changed"}, 0, 0, "renamed from token"},
		"the path":         {replacing("shop/token", "shop/key"), []string{"token changed"}, 1, 0, "waits until the old path is declared again"},
		"a shorter life":   {replacing("ttl: 30d", "ttl: 7d"), []string{"token changed"}, 0, 1, "ttl 168h0m0s instead of 720h0m0s"},
		"a longer life":    {replacing("ttl: 30d", "ttl: 60d"), []string{"token changed"}, 0, 0, "its policy changes"},
		"the owner":        {replacing("team: apps", "team: shop"), []string{"token changed"}, 0, 0, "its owner is shop instead of apps"},
		"suspended":        {replacing("class: runtime", "suspend: true\n  class: runtime"), []string{"token changed"}, 0, 0, "it is suspended"},
		"only its purpose": {replacing("Token of the shop", "Another one"), []string{"token changed"}, 0, 0, "no effect"},
		"a policy of no one": {func(s string) string {
			return s + strings.Replace(platform[strings.LastIndex(platform, "apiVersion"):], "monthly", "yearly", 1)
		}, nil, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := estate(t, platform+token)
			found := Between(before, estate(t, c.edit(platform+token)), facts, now)
			var got []string
			said := ""
			for _, one := range found {
				got = append(got, one.Secret+" "+one.What)
				for _, effect := range one.Effects {
					said += effect.Text + "\n"
				}
			}
			if diff := cmp.Diff(c.changes, got); diff != "" {
				t.Error(diff)
			}
			removes, revokes := Counts(found)
			if removes != c.removes || revokes != c.revokes || !strings.Contains(said, c.says) {
				t.Errorf("%d removals and %d revocations, want %d and %d; it says\n%s", removes, revokes, c.removes, c.revokes, said)
			}
		})
	}
}

func replacing(old, text string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, text, 1) }
}

// A commit that removes 30 secrets takes 30 away, and says so of each.
func TestCommitThatRemovesThirtySecrets(t *testing.T) {
	all := platform
	for i := range 30 {
		n := string(rune('a'+i/26)) + string(rune('a'+i%26))
		all += strings.NewReplacer("name: token", "name: token-"+n, "shop/token", "shop/token-"+n, "web.env", n+"w.env", "batch.env", n+"b.env").Replace(token)
	}
	found := Between(estate(t, all), estate(t, platform), nil, time.Time{})
	if removes, revokes := Counts(found); len(found) != 30 || removes != 90 || revokes != 0 {
		t.Errorf("%d changes, %d removals, %d revocations", len(found), removes, revokes)
	}
}
