// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

const (
	// breakAfter is what the policies of these scenarios give consumers after a compromise.
	breakAfter = 4 * time.Minute
	// compromiseSlack is what one fault may cost: a second engine that takes over for ten minutes, a call that hangs, a process that
	// starts again, attempts five minutes apart.
	compromiseSlack = 20 * time.Minute
)

// compromised are secrets that are reported as compromised: while a run waits for a consumer that ignores every reload, and early in a run.
func compromised() []Scenario {
	var all []Scenario
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Issued} {
		one := declare(shape, shape != upstreammemory.Issued, upstreammemory.Config{EnforcesRun: shape == upstreammemory.Alternate})
		one.Policy.OnCompromise = &journal.OnCompromise{BreakAfter: breakAfter, EndSessions: true}
		all = append(all, Scenario{
			Name: "compromised-while-stuck-" + string(shape), Secret: one, Requests: 1,
			Danger: "a run that waits for a consumer keeps a compromised credential honoured, or the one that takes its place forgets it",
			Before: deaf, Events: []Event{{When: lacksProof, Do: func(w *World, s *Secret) { w.compromise(s, 1) }}},
			Ending: servedOnce,
		})
	}
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Policy.OnCompromise = &journal.OnCompromise{BreakAfter: breakAfter}
	return append(all, Scenario{
		Name: "compromised-early", Secret: one, Requests: 1,
		Danger: "a report is lost that comes while a run has promoted nothing yet",
		Before: deaf, Events: []Event{{When: liveAt(journal.Staged), Do: func(w *World, s *Secret) { w.compromise(s, 1) }}},
		Ending: servedOnce,
	})
}

// deaf has the second consumer ignore every reload.
func deaf(_ *World, s *Secret) { s.Consumers[1].IgnoreReloads(true) }

// reportsThatKeepComing is long: it is played without faults.
func reportsThatKeepComing() Scenario {
	one := declare(upstreammemory.Dual, true, upstreammemory.Config{})
	one.Policy.OnCompromise = &journal.OnCompromise{BreakAfter: breakAfter}
	return Scenario{
		Name: "compromised-again-and-again", Secret: one, Requests: 1,
		Danger: "reports that keep coming put off the end of the credential that was reported first",
		Before: deaf, Events: []Event{{When: lacksProof, Do: func(w *World, s *Secret) { w.compromise(s, 26) }}},
	}
}

// compromise is somebody who reports the secret, and others who do so every minute; the first report is sent once more later. The
// consumer that ignores reloads is started again after that, and takes them.
func (w *World) compromise(s *Secret, reports int) {
	var known []secret.Value
	if held, err := w.store.Read(context.Background(), s.Path); err == nil {
		known = append(known, held.Value)
	}
	if run := w.entry(s.Path).Live; run != nil && run.Base > 0 {
		if old, err := w.store.ReadVersion(context.Background(), s.Path, run.Base); err == nil {
			known = append(known, old.Value)
		}
	}
	w.saved = func(entry *journal.Entry) { w.broken(s, entry) }
	report := func(id string) {
		for range 20 {
			err := w.once(func(ctx context.Context) error {
				_, err := w.queue().Submit(ctx, trigger.Request{
					ID: id, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Compromise, By: "webhook sim", Reason: "leaked",
				})
				return err
			})
			if err == nil {
				w.acknowledged[id] = s.Path
				return
			}
			w.Sleep(time.Second)
		}
	}
	report("report-1")
	since := time.Now()
	for i := 1; i < reports; i++ {
		w.At(time.Duration(i)*time.Minute, func() { report(fmt.Sprintf("report-%d", i+1)) })
	}
	w.At(breakAfter+compromiseSlack, func() {
		for i, v := range known {
			if s.lost { // no credential is revoked while its successor is refused; how it ends is looked at in the end
				break
			}
			if s.Upstream.Accepts(v) {
				w.violate("compromise-ends", s, "compromised credential %d is accepted %s after the report; the policy says %s", i+1, time.Since(since).Round(time.Second), breakAfter)
			}
		}
	})
	w.At(breakAfter+compromiseSlack+time.Minute, func() {
		if held, err := w.store.Read(context.Background(), s.Path); err == nil && w.entry(s.Path).Live == nil && len(w.openRequests()) == 0 {
			w.resent = held.ID.Number
		}
		report("report-1")
		for _, consumer := range s.Consumers {
			consumer.IgnoreReloads(false)
			consumer.Restart()
		}
	})
}

// broken checks, as an entry is saved, that a consumer that is broken had its time.
func (w *World) broken(s *Secret, entry *journal.Entry) {
	if run := entry.Live; run != nil && entry.Path == s.Path && run.Compromise != nil && len(run.Compromise.Broken) > 0 {
		if had := w.Now().Sub(run.Compromise.At); had < breakAfter/2 {
			w.violate("consumers-have-their-time", s, "%q are broken %s after the report", run.Compromise.Broken, had)
		}
	}
}

// servedOnce wants the version of record to be the one that it was when the report was sent again.
func servedOnce(w *World, s *Secret) {
	w.Final()
	if held, err := w.store.Read(context.Background(), s.Path); err == nil && w.resent > 0 && held.ID.Number != w.resent {
		w.violate("report-served-once", s, "the version of record is %d, and was %d when the report was sent again", held.ID.Number, w.resent)
	}
}
