// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// maxIssuing bounds whose credentials are remembered.
const maxIssuing = 8

// Issued is what one process knows of the credentials that it had issued, by run, for kinds that Issue where nothing
// upstream tells whose a credential is. It is safe for concurrent use.
type Issued struct {
	clock  func() time.Time
	settle time.Duration

	mu   sync.Mutex
	runs []*issuing
	// latest is when a credential was last issued, as far as this process can know: another may have done so just before
	// this one began.
	latest time.Time
}

// issuing is what is known of one run's credentials.
type issuing struct {
	run  authority.RunID
	made []secret.Value
	// lost counts those that were asked for and of which it is not known what became.
	lost int
}

// NewIssued knows of nothing. Settle is as in Kind.
func NewIssued(clock func() time.Time, settle time.Duration) *Issued {
	return &Issued{clock: clock, settle: settle, latest: clock()}
}

// of is what is known of run, nil for nothing. The lock is held.
func (i *Issued) of(run authority.RunID) *issuing {
	at := slices.IndexFunc(i.runs, func(one *issuing) bool { return one.run == run })
	if at < 0 {
		return nil
	}
	return i.runs[at]
}

func (i *Issued) change(run authority.RunID, change func(*issuing)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	one := i.of(run)
	if one == nil {
		one = &issuing{run: run}
		i.runs = append(i.runs, one)
		i.runs = i.runs[max(0, len(i.runs)-maxIssuing):]
	}
	change(one)
}

// Ask notes that a credential of run is about to be asked for. It is lost until told is called, once, with what was
// received, or with nothing when certainly none was made.
func (i *Issued) Ask(run authority.RunID) (told func(received ...secret.Value)) {
	i.change(run, func(one *issuing) { one.lost++ })
	return func(received ...secret.Value) {
		i.change(run, func(one *issuing) {
			one.lost, one.made = max(0, one.lost-1), append(one.made, received...)
			if len(received) > 0 {
				i.latest = i.clock()
			}
		})
	}
}

// TakenBack notes that a received credential is gone.
func (i *Issued) TakenBack(run authority.RunID, v secret.Value) {
	i.change(run, func(one *issuing) { one.made = slices.DeleteFunc(one.made, v.Equal) })
}

// Known is what was received for run and not taken back. unsure: more may be there than that.
func (i *Issued) Known(run authority.RunID) (received []secret.Value, unsure bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	one := i.of(run)
	if one == nil {
		return nil, true
	}
	return slices.Clone(one.made), one.lost > 0
}

// Collected notes that all of run is gone, or told of.
func (i *Issued) Collected(run authority.RunID) {
	i.change(run, func(one *issuing) { one.made, one.lost = nil, 0 })
}

// Unsettled is for how long yet a credential that is refused may be one that is not known everywhere; 0 once none may be.
func (i *Issued) Unsettled() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.clock()
	if now.Before(i.latest) { // the clock was put back
		i.latest = now
	}
	return max(0, i.latest.Add(i.settle).Sub(now))
}
