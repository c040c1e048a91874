// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/orchestrator"
)

// Secrets that a start looks at together were read, listed and proven together every ten minutes from then on.
func TestSweepsAreSpread(t *testing.T) {
	const count, minutes = 60, 30
	estate(t, count, func(r *rig) {
		process := r.start()
		r.pass(process, time.Minute)
		looks, last := map[time.Duration]int{}, map[authority.Path]time.Time{}
		began := time.Now()
		process.Looked = func(seen orchestrator.State) {
			looks[seen.Looked.Sub(began)/time.Minute]++
			if before, ever := last[seen.Path]; ever && seen.Looked.Sub(before) > 10*time.Minute {
				t.Errorf("%s was looked at after %s", seen.Path, seen.Looked.Sub(before))
			}
			last[seen.Path] = seen.Looked
		}
		r.pass(process, minutes*time.Minute)
		total := 0
		for minute, number := range looks {
			total += number
			if number > count/2 {
				t.Errorf("in minute %d %d of %d secrets were looked at", minute, number, count)
			}
		}
		if len(last) != count || total < count*(minutes/10-1) || total > count*(minutes/10+1) {
			t.Errorf("%d looks at %d of %d secrets in %d minutes", total, len(last), count, minutes)
		}
	})
}

// A secret with nothing to do was read, decrypted and proven six times an hour, though its files were watched all the while.
func TestWatchedSecretsAreLookedAtOnceAnHour(t *testing.T) {
	const count, hours = 60, 5
	estate(t, count, func(r *rig) {
		for i := range r.secrets {
			r.secrets[i].Watched = i > 0
		}
		process := r.start()
		process.Watching(true)
		r.pass(process, time.Hour)
		looks := map[authority.Path]int{}
		process.Looked = func(seen orchestrator.State) { looks[seen.Path]++ }
		r.pass(process, hours*time.Hour)
		for i, s := range r.secrets {
			want := hours
			if i == 0 {
				want *= 6
			}
			if got := looks[s.Path]; got < want-1 || got > want+1 {
				t.Errorf("%s: %d looks in %d hours, want %d", s.Path, got, hours, want)
			}
		}
		process.Watching(false) // a folder hangs, and nobody is told of anything
		clear(looks)
		for range 10 {
			before := len(looks)
			r.pass(process, time.Minute)
			if more := len(looks) - before; more > count/2 {
				t.Errorf("%d of %d secrets were looked at within a minute", more, count)
			}
		}
		if len(looks) != count {
			t.Errorf("while nobody watches, %d of %d secrets were looked at within ten minutes", len(looks), count)
		}
	})
}
