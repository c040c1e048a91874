// SPDX-License-Identifier: Apache-2.0

package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
)

// rig is an authority with two inputs and one derived secret.
type rig struct {
	*testing.T
	store   *authoritymemory.Store
	entries *journal.Journal
	log     *auditmemory.Log
	engine  *derivation.Engine
	subject derivation.Subject
	runs    int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, store: authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now}), log: auditmemory.New(time.Now)}
	r.entries = journal.New(r.store)
	compiled, err := formula.Compile(map[string]string{"url": "db://{{ .db.value }}:{{ .cache.value }}"}, []string{"db", "cache"})
	if err != nil {
		t.Fatal(err)
	}
	r.subject = derivation.Subject{
		Secret: "url", Path: "app/url", Formula: compiled,
		Inputs: []derivation.Input{{Name: "db", Secret: "database", Path: "app/db"}, {Name: "cache", Secret: "cache", Path: "app/cache"}},
	}
	r.engine = derivation.New(derivation.Config{
		Authority: r.store, Journal: r.entries, Record: r.log, Now: time.Now,
		NewRun: func() authority.RunID { r.runs++; return authority.RunID(fmt.Sprintf("run-%d", r.runs)) },
	})
	return r
}

// promote makes text the value of record at path, as a completed run of a group does.
func (r *rig) promote(path authority.Path, text string, live *journal.Run) {
	r.Helper()
	ctx := context.Background()
	entry, err := r.entries.Load(ctx, path)
	if err != nil {
		r.Fatal(err)
	}
	v, err := secret.Text(map[string]string{"value": text})
	if err != nil {
		r.Fatal(err)
	}
	base := authority.Version(0)
	if entry.Current != nil {
		base = entry.Current.Number
	}
	run := authority.RunID("input-" + text)
	if live != nil {
		run = live.ID
	}
	id, err := r.store.Write(ctx, path, base, run, v)
	if err != nil {
		r.Fatal(err)
	}
	entry.Live = live
	if live == nil {
		entry.Current = &id
	}
	if err := r.entries.Save(ctx, entry); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) rebuild(want ...reason.Code) string {
	r.Helper()
	stop, err := r.engine.Rebuild(context.Background(), r.subject)
	if err != nil {
		r.Fatal(err)
	}
	if !stop.None() != (len(want) > 0) || !stop.None() && !stop.Is(want...) {
		r.Errorf("waits because of %+v, want %s", stop, want)
	}
	held, err := r.store.Read(context.Background(), r.subject.Path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %s", held.ID.Number, held.Value.ExposeText("url"))
}

func (r *rig) is(want, got string) {
	r.Helper()
	if got != want {
		r.Errorf("got %q, want %q", got, want)
	}
}

// lagging is an authority that answers with what it had when it was made.
type lagging struct {
	*authoritymemory.Store
	had map[authority.Path]authority.Versioned
}

func (r *rig) lag(paths ...authority.Path) *lagging {
	r.Helper()
	l := &lagging{r.store, map[authority.Path]authority.Versioned{}}
	for _, path := range paths {
		held, err := r.store.Read(context.Background(), path)
		if err != nil {
			r.Fatal(err)
		}
		l.had[path] = held
	}
	return l
}

func (l *lagging) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	if held, has := l.had[path]; has {
		return held, nil
	}
	return l.Store.Read(ctx, path)
}

// A value that was read late may be one whose credential is revoked at any moment: nothing is computed from it, whether the
// derived value was computed from the later one, or was computed never.
func TestNothingIsComputedFromAnOlderInput(t *testing.T) {
	for _, test := range []struct {
		name  string
		built bool // the derived value was computed from the later version
	}{{"built before", true}, {"never built", false}} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.promote("app/cache", "x", nil)
			r.promote("app/db", "old", nil)
			behind := r.lag("app/db")
			r.promote("app/db", "new", &journal.Run{ID: "moves", Workflow: journal.Rotation, Step: journal.Delivered})
			if test.built {
				r.is("1 db://new:x", r.rebuild())
			}
			r.engine.Authority = behind
			if _, err := r.engine.Rebuild(t.Context(), r.subject); !errors.Is(err, journal.ErrBehind) {
				t.Errorf("Rebuild on an older input: %v, want ErrBehind", err)
			}
			r.engine.Authority = r.store
			r.is("1 db://new:x", r.rebuild())
		})
	}
}

// Neither is it where the journal is read late as well: what the value was computed from is known by its own document.
func TestNothingIsComputedFromAnOlderInputAndItsJournal(t *testing.T) {
	r := newRig(t)
	r.promote("app/cache", "x", nil)
	r.promote("app/db", "old", nil)
	entry, err := r.entries.Load(t.Context(), "app/db")
	if err != nil {
		t.Fatal(err)
	}
	behind := r.lag("app/db")
	r.promote("app/db", "new", nil)
	r.is("1 db://new:x", r.rebuild())
	r.engine.Authority, r.engine.Journal = behind, olderJournal{r.entries, entry}
	if _, err := r.engine.Rebuild(t.Context(), r.subject); !errors.Is(err, journal.ErrBehind) {
		t.Errorf("Rebuild on an older input: %v, want ErrBehind", err)
	}
}

// olderJournal answers for one secret with what it had.
type olderJournal struct {
	*journal.Journal
	had *journal.Entry
}

func (o olderJournal) Load(ctx context.Context, path authority.Path) (*journal.Entry, error) {
	if path == o.had.Path {
		return o.had, nil
	}
	return o.Journal.Load(ctx, path)
}

// indestructible is an authority that destroys nothing while it is denied.
type indestructible struct {
	*authoritymemory.Store
	denied bool
}

func (i *indestructible) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	if i.denied {
		return errors.New("permission denied")
	}
	return i.Store.Destroy(ctx, path, number)
}

// The run of an input waits for the derived value, and that does not wait for an old one that cannot be destroyed. What is owed goes
// from outcome to outcome.
func TestRebuiltWithoutDestroyingWhatItReplaces(t *testing.T) {
	r := newRig(t)
	store := &indestructible{r.store, true}
	r.engine.Authority = store
	r.promote("app/cache", "x", nil)
	owed := func() []authority.Version {
		entry, err := r.entries.Load(context.Background(), r.subject.Path)
		if err != nil || entry.Live != nil || entry.Last == nil {
			r.Fatalf("the entry is %+v, %v", entry, err)
		}
		return entry.Last.Spent
	}
	for i, text := range []string{"a", "b", "c"} {
		r.promote("app/db", text, nil)
		r.is(fmt.Sprintf("%d db://%s:x", i+1, text), r.rebuild())
	}
	if got := owed(); !slices.Equal(got, []authority.Version{1, 2}) {
		t.Errorf("the versions %d are owed, want 1 and 2", got)
	}
	store.denied = false
	r.promote("app/db", "d", nil)
	r.is("4 db://d:x", r.rebuild())
	for number := authority.Version(1); number < 4; number++ {
		if _, err := r.store.ReadVersion(context.Background(), r.subject.Path, number); err == nil {
			t.Errorf("version %d can still be read", number)
		}
	}
	if got := owed(); len(got) > 0 {
		t.Errorf("the versions %d are owed still", got)
	}
}

func TestRebuiltOnceForEachChange(t *testing.T) {
	r := newRig(t)
	r.is("", r.rebuild(reason.InputWithoutValue))
	r.promote("app/db", "a", nil)
	r.is("", r.rebuild(reason.InputWithoutValue))
	r.promote("app/cache", "x", nil)
	for range 3 {
		r.is("1 db://a:x", r.rebuild())
	}
	r.promote("app/db", "b", nil)
	for range 3 {
		r.is("2 db://b:x", r.rebuild())
	}
	if _, err := r.store.ReadVersion(context.Background(), r.subject.Path, 1); err == nil {
		t.Error("the version before holds a credential that is about to be revoked, and is still there")
	}
}

func TestRebuiltOnceForAGroup(t *testing.T) {
	r := newRig(t)
	r.promote("app/db", "a", nil)
	r.promote("app/cache", "x", nil)
	r.is("1 db://a:x", r.rebuild())
	// Both are under way in one group run, and one is promoted already.
	entry, err := r.entries.Load(t.Context(), "app/cache")
	if err != nil {
		t.Fatal(err)
	}
	entry.Live = &journal.Run{ID: "two", Group: "one", Workflow: journal.Rotation, Step: journal.Applied}
	if err := r.entries.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	r.is("1 db://a:x", r.rebuild())
	r.promote("app/db", "b", &journal.Run{ID: "one", Group: "one", Workflow: journal.Rotation, Step: journal.Verified})
	r.is("1 db://a:x", r.rebuild(reason.InputInGroup))
	r.promote("app/cache", "y", entry.Live)
	r.is("2 db://b:y", r.rebuild())
}

func TestForeignWriteIsNotBuiltOver(t *testing.T) {
	r := newRig(t)
	r.promote("app/db", "a", nil)
	r.promote("app/cache", "x", nil)
	r.is("1 db://a:x", r.rebuild())
	foreign, err := secret.Text(map[string]string{"url": "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Write(t.Context(), r.subject.Path, 1, "foreign", foreign); err != nil {
		t.Fatal(err)
	}
	r.promote("app/db", "b", nil)
	r.is("2 elsewhere", r.rebuild(reason.ValueForeign))
}

// Somebody else's value of a derived secret could be ended by nobody: it was never computed again.
func TestRevertComputesOverSomebodyElsesValue(t *testing.T) {
	r := newRig(t)
	r.promote("app/db", "a", nil)
	r.promote("app/cache", "x", nil)
	r.is("1 db://a:x", r.rebuild())
	ctx := t.Context()
	if _, err := r.engine.Revert(ctx, r.subject, "me", "a mistake"); !errors.Is(err, derivation.ErrNothingForeign) {
		t.Errorf("where nobody wrote: %v", err)
	}
	foreign, err := secret.Text(map[string]string{"url": "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	overwrite := func(base authority.Version) {
		if _, err := r.store.Write(ctx, r.subject.Path, base, "somebody", foreign); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(1)
	first, err := r.engine.Revert(ctx, r.subject, "me", "a mistake")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.engine.Revert(ctx, r.subject, "me", "a mistake"); err != nil || again != first {
		t.Errorf("got run %s, %v, want %s", again, err, first)
	}
	overwrite(2) // once more, before it is computed
	r.is("3 elsewhere", r.rebuild(reason.ValueForeign))
	if _, err := r.engine.Revert(ctx, r.subject, "me", "again"); err != nil {
		t.Fatal(err)
	}
	r.is("4 db://a:x", r.rebuild())
	r.is("4 db://a:x", r.rebuild())
	for number := authority.Version(1); number < 4; number++ {
		if _, err := r.store.ReadVersion(ctx, r.subject.Path, number); !errors.Is(err, authority.ErrNotFound) {
			t.Errorf("version %d can be read: %v", number, err)
		}
	}
}

func TestUnreadyInputsLeaveTheValueAlone(t *testing.T) {
	r := newRig(t)
	r.promote("app/db", "a", nil)
	r.promote("app/cache", "x", nil)
	r.is("1 db://a:x", r.rebuild())
	other, err := secret.Text(map[string]string{"another": "field"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Write(t.Context(), "app/db", 1, "foreign", other); err != nil {
		t.Fatal(err)
	}
	r.is("1 db://a:x", r.rebuild(reason.InputForeign))
}

// A secret that was rotated before it was declared derived may have a run that is not over: what that run must still
// revoke is its own.
func TestRunOfAnotherWorkflowIsNotTakenOver(t *testing.T) {
	r := newRig(t)
	r.promote("app/db", "a", nil)
	r.promote("app/cache", "b", nil)
	entry, err := r.entries.Load(t.Context(), r.subject.Path)
	if err != nil {
		t.Fatal(err)
	}
	entry.Live = &journal.Run{ID: "run-rotation", Workflow: journal.Rotation, Step: journal.Staged}
	if err := r.entries.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	r.is("", r.rebuild(reason.RunUnfinishedDerived))
	if entry, err = r.entries.Load(t.Context(), r.subject.Path); err != nil || entry.Live == nil || entry.Live.Workflow != journal.Rotation || len(entry.Live.Digest) > 0 {
		t.Errorf("the live run is %+v, %v", entry.Live, err)
	}
}
