// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
)

// checkout is a folder with an estate that a test changes, and the estates of a host that runs it.
type checkout struct {
	*estates

	t testing.TB
}

// born is a store that was made.
type born struct{ uninitialised }

func newCheckout(t testing.TB) checkout {
	t.Helper()
	dir := t.TempDir()
	p := &parts{store: born{}, host: v1alpha1.HostSpec{
		Estate: filepath.Join(dir, "checkout"), State: filepath.Join(dir, "state"), Platform: "home", Environment: "prod",
	}}
	for _, folder := range []string{p.host.Estate, p.host.State} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := checkout{newEstates(p), t}
	c.pause = func() {}
	c.write("platform.yaml", `apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: home}
spec:
  environments: [prod]
  rootRecipients: [age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z]
  authority: {type: embedded}
`)
	return c
}

func (c checkout) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.parts.host.Estate, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// declare writes a document for each of the secrets.
func (c checkout) declare(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.write(name+".yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %s}
spec:
  purpose: Signs sessions.
  owner: {team: platform, contact: platform@example.org}
  class: runtime
  path: apps/%s
  origin: {generated: {type: password}}
`, name, name))
	}
}

func names(t *testing.T, estate *intent.Estate, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if estate == nil {
		return "none"
	}
	return strings.Join(estate.SecretNames(), " ")
}

// A checkout that was caught in the middle lints where what is missing is not referred to: half of a change was in force, and
// for as long as it took the other half counted as removed.
func TestCheckoutCaughtHalfUpdated(t *testing.T) {
	c := newCheckout(t)
	c.declare("a")
	estate, err := c.load(nil)
	if got := names(t, estate, err); got != "a" {
		t.Fatalf("in force are %q", got)
	}
	c.declare("b") // the checkout begins
	c.pause = func() { c.declare("c"); c.pause = func() {} }
	estate, err = c.load(nil)
	if got := names(t, estate, err); got != "a b c" {
		t.Errorf("in force are %q, want all of the checkout", got)
	}
	c.pause = func() { t.Error("what two looks agreed on is looked at twice again") }
	if _, err := c.load(nil); err != nil {
		t.Error(err)
	}
	c.declare("d")
	again := 0
	c.pause = func() { again++; c.declare(fmt.Sprint("d", again)) }
	if _, err := c.load(nil); !errors.Is(err, errChanging) || again != looks-1 {
		t.Errorf("while it goes on changing, after %d looks: %v", again+1, err)
	}
}

// The folder was read once to be linted and once more to be kept: what came in between was kept, and in force after the next
// start, without a look at it.
func TestWhatIsKeptIsWhatWasLinted(t *testing.T) {
	c := newCheckout(t)
	c.declare("a")
	estate, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.declare("b")
	if err := c.save(estate); err != nil {
		t.Fatal(err)
	}
	kept, err := c.saved()
	if got := names(t, kept, err); got != "a" || kept.Files.Sum() != estate.Files.Sum() {
		t.Errorf("kept are %q, want what was in force", got)
	}
	if agreed := newEstates(c.parts).agreed; agreed != estate.Files.Sum() {
		t.Error("after a restart what is kept counts as not agreed on")
	}
}

// What was kept is used as it was kept, or not at all.
func TestKeptCopyThatWasChanged(t *testing.T) {
	c := newCheckout(t)
	c.declare("a")
	estate, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.save(estate); err != nil {
		t.Fatal(err)
	}
	at, next := filepath.Join(c.parts.host.State, keptEstate), filepath.Join(c.parts.host.State, keptNext)
	if err := os.Rename(at, next); err != nil { // a crash between removing the copy before and putting this one in its place
		t.Fatal(err)
	}
	kept, err := c.saved()
	if got := names(t, kept, err); got != "a" {
		t.Errorf("after a crash while it was replaced, kept are %q", got)
	}
	if err := os.Remove(filepath.Join(next, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.saved(); err == nil || kept != nil {
		t.Errorf("with a document less: %v, %v", kept, err)
	}
	if err := os.Remove(filepath.Join(next, keptDigest)); err != nil { // it was never finished
		t.Fatal(err)
	}
	kept, err = c.saved()
	if got := names(t, kept, err); got != "none" {
		t.Errorf("of a copy that was not finished, kept are %q", got)
	}
}

// A commit that changed one document had all of them written to the copy again.
func TestACommitOfOneDocumentKeepsOneDocument(t *testing.T) {
	c := newCheckout(t)
	c.declare("a", "b", "c")
	var estate *intent.Estate
	save := func(want string) {
		t.Helper()
		c.forget()
		loaded, err := c.load(estate)
		if got := names(t, loaded, err); got != want {
			t.Fatalf("in force are %q, want %q", got, want)
		}
		if estate = loaded; c.save(estate) != nil {
			t.Fatal("the copy cannot be saved")
		}
		restarted := newEstates(c.parts)
		kept, err := restarted.saved()
		if got := names(t, kept, err); got != want || kept.Digest != estate.Digest || restarted.agreed != estate.Files.Sum() {
			t.Errorf("kept are %q, want %q; agreed on %s", got, want, restarted.agreed)
		}
		c.base = restarted.base // what another process knows
	}
	changes := filepath.Join(c.parts.host.State, keptChanges)
	written := func(want string) {
		t.Helper()
		data, err := os.ReadFile(changes)
		if want == "" && errors.Is(err, os.ErrNotExist) {
			return
		}
		var found estateChanges
		if err := errors.Join(err, json.Unmarshal(data, &found)); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(append(slices.Sorted(maps.Keys(found.Files)), found.Removed...), " ")
		if got != want {
			t.Errorf("written are %q, want %q", got, want)
		}
	}
	save("a b c")
	written("")
	whole, err := os.Stat(filepath.Join(c.parts.host.State, keptEstate))
	if err != nil {
		t.Fatal(err)
	}
	c.declare("d")
	save("a b c d")
	written("d.yaml")
	if err := os.Remove(filepath.Join(c.parts.host.Estate, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	save("b c d")
	written("d.yaml a.yaml")
	if after, err := os.Stat(filepath.Join(c.parts.host.State, keptEstate)); err != nil || !os.SameFile(whole, after) {
		t.Errorf("the copy was written anew: %v", err)
	}
	c.declare("a")
	if err := os.Remove(filepath.Join(c.parts.host.Estate, "d.yaml")); err != nil {
		t.Fatal(err)
	}
	save("a b c")
	written("")
	c.declare("d")
	save("a b c d")
	left, err := os.ReadFile(changes)
	if err != nil {
		t.Fatal(err)
	}
	c.write("e.yaml", "# "+strings.Repeat("large ", mostChanges/5)+"\n")
	save("a b c d")
	written("")
	putFile(t, changes, left) // a crash before they were removed
	kept, err := newEstates(c.parts).saved()
	if got := names(t, kept, err); got != "a b c d" || kept.Files.Sum() != estate.Files.Sum() {
		t.Errorf("with changes of another copy, kept are %q", got)
	}
	putFile(t, changes, left[:len(left)/2])
	if kept, err := newEstates(c.parts).saved(); err == nil || kept != nil {
		t.Errorf("with half of the changes: %v, %v", kept, err)
	}
}

// A restart on an estate with a fault had the whole of the last good one in force, and a fault in one document kept out every
// other change.
func TestLastGoodFormSurvivesARestart(t *testing.T) {
	c := newCheckout(t)
	c.declare("a", "b")
	first, err := c.load(nil)
	if got := names(t, first, err); got != "a b" {
		t.Fatalf("in force are %q", got)
	}
	c.write("a.yaml", "apiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {name: a}\nspec: {path: nowhere}\n")
	c.declare("c")
	mixture, err := c.load(first)
	if got := names(t, mixture, err); got != "a b c" || mixture.Secrets["a"].Path != "apps/a" {
		t.Fatalf("in force are %q", got)
	}
	if again, err := c.load(mixture); err != nil || again.Digest != mixture.Digest || again.Older[0].Since != mixture.Older[0].Since {
		t.Errorf("another look at the same files: %+v, %v", again, err)
	}
	if err := c.save(mixture); err != nil {
		t.Fatal(err)
	}
	restarted := newEstates(c.parts)
	restarted.pause = func() {}
	after, err := restarted.load(nil)
	if got := names(t, after, err); got != "a b c" || after.Digest != mixture.Digest {
		t.Errorf("after a restart in force are %q", got)
	}
	if len(after.Older) != 1 || after.Older[0].Subject != "ManagedSecret/a" || !after.Older[0].Since.Equal(mixture.Older[0].Since) {
		t.Errorf("after a restart it is said %+v, before %+v", after.Older, mixture.Older)
	}
	kept, err := restarted.saved()
	if got := names(t, kept, err); got != "a b c" {
		t.Errorf("kept are %q", got)
	}
	c.declare("a")
	if mended, err := c.load(mixture); err != nil || len(mended.Older) > 0 {
		t.Errorf("once it is mended: %+v, %v", mended, err)
	}
}

// Loading an estate that did not change judged it anew every five seconds.
func TestUnchangedEstateIsJudgedOnce(t *testing.T) {
	c := newCheckout(t)
	c.declare("a", "b")
	first, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.load(first); err != nil || again != first {
		t.Errorf("an estate without a fault is judged twice (%v)", err)
	}
	c.write("a.yaml", "a: [\n")
	mixture, err := c.load(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.load(mixture)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.load(mixture); err != nil || again != second {
		t.Errorf("an estate with a fault is judged each time (%v)", err)
	}
}
