// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// consumed gives the rig's secret consumers that are proven once they run on a version.
func (r *rig) consumed(names ...string) []*memory.Consumer {
	var all []*memory.Consumer
	for _, name := range names {
		c := memory.New(memory.Config{Name: name, Clock: time.Now})
		all = append(all, c)
		r.subject.Consumers = append(r.subject.Consumers, rotation.Consumer{Consumer: c, Needs: materialize.Rolled})
	}
	return all
}

// events of a run that stand for what a person waived.
func (r *rig) waived(t *testing.T) []audit.Event {
	t.Helper()
	var found []audit.Event
	for event, err := range r.Record.(*auditmemory.Log).Events(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(event.Step, "waived-") {
			found = append(found, event)
		}
	}
	return found
}

// Force waives the consumers whose proof is missing when it is given, each on record. A proof that is lost later, and a use
// that shows later, hold the run.
func TestForceWaivesOnlyWhatItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual, Witnesses: true})
		r.subject.Policy.Settle, r.subject.Policy.QuietWindow = 5*time.Minute, 5*time.Minute
		old := r.value(t).Value
		c := r.consumed("api", "batch", "report")
		for _, consumer := range c {
			if err := consumer.Deliver(t.Context(), r.value(t)); err != nil {
				t.Fatal(err)
			}
		}
		c[1].IgnoreReloads(true)
		c[2].IgnoreReloads(true)
		id := r.plan(t)
		r.wait(t, reason.ProofMissing)
		said, err := r.Force(t.Context(), r.subject, id, "me", "scrapped")
		if err != nil || len(said) != 2 || !contains(said[0], "batch") || !contains(said[1], "report") {
			t.Fatalf("waived %q, %v; want batch and report named", said, err)
		}
		for i, event := range r.waived(t) {
			if want := []string{"batch", "report"}[i]; event.Consumer != want || event.By != "me" || event.Version == nil || event.Version.Number != 2 {
				t.Errorf("on record: %+v, want consumer %s and the version", event, want)
			}
		}
		r.wait(t, reason.SettleTime)
		c[0].Tamper(old) // and its process is started again
		c[0].Restart()
		c[0].RefuseUntil(time.Now().Add(20 * time.Minute))
		r.wait(t, reason.ProofMissing, "api")
		if u.revoked != 0 {
			t.Error("the old credential is revoked though a proof that nobody waived is missing")
		}
		time.Sleep(20 * time.Minute)
		c[0].IgnoreReloads(false)
		r.wait(t, reason.SettleTime)
		r.account.SignIn("stranger", old)
		r.wait(t, reason.OldInUse, "stranger")
		if u.revoked != 0 {
			t.Error("the old credential is revoked while somebody uses it whom nobody waived")
		}
		if said, err := r.Force(t.Context(), r.subject, id, "me", "it is mine"); err != nil || len(said) != 1 || !contains(said[0], "stranger") {
			t.Errorf("waived %q, %v; want the stranger named", said, err)
		}
		if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(old) {
			t.Errorf("the run is %s; the old credential is honoured: %v", got, r.account.Accepts(old))
		}
		if got := r.waived(t); len(got) != 3 {
			t.Errorf("%d waivers on record, want 3", len(got))
		}
	})
}

// A run that is missing nothing is not forced: there is nothing that a person could have judged.
func TestForceBeforeAnythingIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.subject.Policy.Settle = time.Hour
		id := r.plan(t)
		for _, what := range []reason.Code{"", reason.SettleTime} {
			if what != "" {
				r.wait(t, what)
			}
			if said, err := r.Force(t.Context(), r.subject, id, "me", "to be sure"); !errors.Is(err, rotation.ErrNotAllowed) || len(r.entry(t).Live.Waived) > 0 {
				t.Errorf("waived %q, %v, want ErrNotAllowed", said, err)
			}
		}
		if len(r.waived(t)) > 0 {
			t.Error("a waiver of nothing is on record")
		}
	})
}

// What was waived of a version that the upstream then refused is not waived of the one that a person hands in for it.
func TestForceDoesNotOutliveTheRefusedVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		r.subject.Policy.Settle = 30 * time.Minute
		c := r.consumed("api", "report")
		c[1].IgnoreReloads(true)
		id := r.plan(t)
		r.wait(t, reason.ProofMissing)
		if said, err := r.Force(t.Context(), r.subject, id, "me", "it is slow"); err != nil || len(said) != 1 {
			t.Fatalf("waived %q, %v", said, err)
		}
		r.wait(t, reason.SettleTime)
		r.account.Lose(r.value(t).Value)
		time.Sleep(2 * time.Hour)
		r.wait(t, reason.NewCredentialRefused)
		byHand, err := r.value(t).Value.With(upstreammemory.Key, []byte("by-hand"))
		if err == nil {
			err = r.account.Seed(byHand)
		}
		if err == nil {
			_, err = r.supply(t, byHand)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		r.wait(t, reason.ProofMissing, "report")
		if u.revoked != 0 {
			t.Error("the old credential is revoked though nobody waived the proof of the version that was handed in")
		}
		c[1].Restart()
		r.wait(t, reason.SettleTime)
		time.Sleep(time.Hour)
		if got := r.finish(t, r.subject); got != "completed" || u.revoked == 0 {
			t.Errorf("the run is %s after %d calls to revoke", got, u.revoked)
		}
	})
}
