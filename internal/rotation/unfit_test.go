// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// A value for which a consumer's file has no form was found out when it was to be delivered: after it had been applied, where an
// overwrite had ended the one before, in a run that only goes forward.
func TestCandidateThatAConsumerCannotBeGivenIsNotApplied(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued} {
		t.Run(string(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: shape})
				fits := false
				picky := materializememory.New(materializememory.Config{Name: "picky", Clock: time.Now, Unfit: func(secret.Value) error {
					if fits {
						return nil
					}
					return errors.New("it holds a line break")
				}})
				r.subject.Consumers = []rotation.Consumer{{Consumer: picky, Needs: materialize.Delivered}}
				before := r.value(t)
				r.plan(t)
				if shape == upstreammemory.Issued { // the upstream makes it: it is taken back
					if got := r.finish(t, r.subject); got != "undone" {
						t.Errorf("the run is %s, want it undone", got)
					}
				} else {
					r.wait(t, reason.CandidateUnfit, "picky", "it holds a line break")
					if u.applied != 0 {
						t.Errorf("it was applied %d times", u.applied)
					}
				}
				if now := r.value(t); now.ID != before.ID || !r.account.Accepts(before.Value) {
					t.Errorf("the value of record is %s, honoured: %t; want %s, honoured", now.ID, r.account.Accepts(before.Value), before.ID)
				}
				fits = true
				if shape == upstreammemory.Issued {
					time.Sleep(time.Hour)
					r.plan(t)
				}
				if got := r.finish(t, r.subject); got != "completed" {
					t.Errorf("once it fits, the run is %s", got)
				}
			})
		})
	}
}
