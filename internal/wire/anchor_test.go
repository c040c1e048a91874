// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"testing"
	"time"

	"custody.dev/custody/internal/authority/memory"
)

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
