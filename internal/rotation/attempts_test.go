// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// What kept the run from applying at all is no attempt: after half an hour of it, the first lost reply takes nothing back.
func TestLostReplyAfterAnOutageIsTheFirstAttempt(t *testing.T) {
	for name, c := range map[string]struct{ begin, end func(*testing.T, *rig, *spy) }{
		"connection refused": {
			func(_ *testing.T, _ *rig, u *spy) {
				u.apply = func() error { return fmt.Errorf("dialing: %w", upstream.ErrNotApplied) }
			},
			func(_ *testing.T, _ *rig, u *spy) { u.apply = nil },
		},
		"waiting for its group": {
			func(_ *testing.T, r *rig, u *spy) {
				r.subject.Group = &rotation.Group{Name: "pair", Leader: r.subject.Path, Members: []rotation.Member{
					{Secret: "db", Path: r.subject.Path, Upstream: u}, {Secret: "other", Path: "app/other"},
				}}
			},
			func(t *testing.T, r *rig, _ *spy) {
				run := r.entry(t).Live
				other, err := r.Journal.Load(t.Context(), "app/other")
				if err != nil {
					t.Fatal(err)
				}
				other.Live = &journal.Run{ID: "run-o", Workflow: journal.Rotation, Step: journal.Applied, Group: run.Group, Leader: run.Leader, Members: run.Members}
				if err := r.Journal.Save(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite})
				c.begin(t, r, u)
				r.plan(t)
				for until := time.Now().Add(30 * time.Minute); time.Now().Before(until); {
					time.Sleep(time.Until(r.advance(t).Again))
				}
				c.end(t, r, u)
				lost := false
				u.apply = func() error {
					if !lost {
						lost = true
						return errLost
					}
					return nil
				}
				if got := r.finish(t, r.subject); got != "completed" || !lost {
					t.Errorf("the run is %s (a reply was lost: %v), want it completed", got, lost)
				}
			})
		})
	}
}
