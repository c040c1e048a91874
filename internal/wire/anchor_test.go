// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/authoritytest"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/durable"
)

// Each event of a rotation had a write of the anchor follow it, up to eight that nobody counted.
func TestEventsOfARotationShareOneWriteOfTheAnchor(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		folder, err := durable.Make(dir + "/audit")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = folder.Close() }()
		seed, err := audit.NewSeed(Random())
		if err != nil {
			t.Fatal(err)
		}
		signer, err := audit.NewSigner("custody.dev/p/e", seed)
		if err != nil {
			t.Fatal(err)
		}
		store := authoritytest.Count(memory.New(memory.Config{Incarnation: "one", Clock: Now}))
		log, err := audit.Open(audit.Config{Folder: folder, Signer: signer, Clock: Now, Sinks: []audit.Sink{&anchor{store: store}}})
		if err != nil {
			t.Fatal(err)
		}
		number := 0
		rotate := func() {
			t.Helper()
			for range 9 { // the request, and eight transitions
				number++
				event := audit.Event{
					Run: "run", Step: fmt.Sprintf("step-%d", number), Workflow: "rotation", Secret: "db", Path: authority.Path("app/db"),
					By: "me", Reason: "leaked", Result: "ok", At: Now(),
				}
				if err := log.Append(t.Context(), event); err != nil {
					t.Fatal(err)
				}
			}
		}
		writes := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := store.Take().ByMethod()["Put"]; got != want {
				t.Errorf("%s: the anchor was written %d times, want %d", when, got, want)
			}
		}
		time.Sleep(2 * anchorPause) // on the clock of the bubble, which costs no time
		writes("after the start", 1)
		rotate()
		writes("just after a rotation", 0)
		time.Sleep(anchorPause)
		writes("once the pause has passed", 1)
		rotate()
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		writes("when the record is closed", 1)
		held, err := (&anchor{store: store}).Last(t.Context())
		if err != nil || audit.Covers(held) != uint64(number) {
			t.Errorf("the anchor covers %d events, %v, want %d", audit.Covers(held), err, number)
		}
	})
}

// How far a start may skip the record is noted only once the authority was found to know all of it: an older authority that was put
// back would otherwise be taken for a current one at the second start.
func TestRecordIsNotedAsKnownOnceItWasCompared(t *testing.T) {
	store := memory.New(memory.Config{Incarnation: "one", Clock: func() time.Time { return time.Unix(0, 0) }})
	p := &parts{store: keptStore{store}}
	a := &anchor{store: store}
	put := func(events int, want uint64) {
		t.Helper()
		if err := a.Put(t.Context(), fmt.Appendf(nil, "custody.dev/p/e\n%d\nroot\n", events)); err != nil {
			t.Fatal(err)
		}
		if got, err := p.compared(t.Context()); err != nil || got != want {
			t.Errorf("after %d events: %d are noted, %v, want %d", events, got, err, want)
		}
	}
	put(20_000, 0)
	a.settled.Store(true)
	put(9_999, 0)
	put(20_000, 20_000)
	put(29_999, 20_000)
	put(30_000, 30_000)
	a = &anchor{store: store} // the next process
	put(50_000, 30_000)
	a.settled.Store(true)
	put(35_000, 30_000)
	put(50_000, 50_000)
	if got := comparedOf([]byte("rubbish")); got != 0 {
		t.Errorf("a note that cannot be read counts as %d", got)
	}
}
