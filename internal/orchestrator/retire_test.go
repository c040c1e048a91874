// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// remove takes secrets out of the estate; with no numbers, all of them.
func (r *rig) remove(numbers ...int) {
	for i := range r.secrets {
		if len(numbers) == 0 || slices.Contains(numbers, i) {
			r.secrets[i].Leaving = true
		}
	}
}

// retire is what a person asks of a secret.
func (r *rig) retire(process *orchestrator.Orchestrator, i int, how journal.Asked) {
	r.t.Helper()
	how.By, how.Reason = "anna", "it is not needed"
	if err := process.Retire(r.t.Context(), r.secrets[i].Path, how); err != nil {
		r.t.Fatal(err)
	}
}

// wantRetired wants nothing to be left of a secret but its history.
func (r *rig) wantRetired(i int) {
	r.t.Helper()
	entry := r.entry(i)
	if !entry.Retired() || entry.Leaving != nil {
		r.t.Fatalf("the journal has %+v, live %+v, want it retired", entry.Leaving, entry.Live)
	}
	for number := range authority.Version(9) {
		if _, err := r.store.ReadVersion(r.t.Context(), r.secrets[i].Path, number); err == nil {
			r.t.Errorf("version %d can still be read", number)
		}
	}
	if id, _ := r.consumers[i].Held(); id != (authority.VersionID{}) {
		r.t.Errorf("the consumer holds %s", id)
	}
	for run, count := range r.accounts[i].Credentials() {
		r.t.Errorf("%d of run %s are honoured upstream", count, run)
	}
}

func (r *rig) waits(process *orchestrator.Orchestrator, i int, code reason.Code) {
	r.t.Helper()
	if got := process.States()[r.secrets[i].Path].Waiting; got.Code != code {
		r.t.Errorf("it waits because of %q (%s), want %q", got.Code, got.Text(), code)
	}
}

// A document that was removed leaves a credential that works and a file for ever, unless somebody remembers both.
func TestRemovedSecretStaysUntilItIsRetired(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.RetireGrace = time.Hour
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, 2*day)
		r.wantVersions(3) // it is rotated as before
		r.waits(process, 0, reason.LeavingConfirm)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Minute)
		r.waits(process, 0, reason.RetireGrace)
		held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
		if err != nil || !r.accounts[0].Accepts(held.Value) {
			t.Errorf("within the grace its value is gone (%v) or refused", err)
		}
		if id, _ := r.consumers[0].Held(); id != (authority.VersionID{}) {
			t.Errorf("within the grace the consumer holds %s", id)
		}
		r.pass(process, time.Hour)
		r.wantRetired(0)
		r.pass(r.start(), 3*day)
		r.wantRetired(0)
	})
}

func TestDeclaredSecretIsNotRetired(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Hour)
		err := process.Retire(r.t.Context(), r.secrets[0].Path, journal.Asked{By: "anna", Reason: "a slip"})
		if !errors.Is(err, rotation.ErrNotAllowed) || !reason.Of(err).Is(reason.StillDeclared) {
			t.Errorf("got %v, want that it is declared", err)
		}
		r.pass(process, time.Hour)
		r.wantVersions(1)
	})
}

// losing answers one write of the journal with an error, before or after it took effect.
type losing struct {
	journal.Documents
	left  int
	after bool
}

var errDied = errors.New("the process died")

func (l *losing) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	l.left--
	if l.left != 0 {
		return l.Documents.Put(ctx, key, base, data)
	}
	if l.after {
		_, _ = l.Documents.Put(ctx, key, base, data)
	}
	return 0, errDied
}

// Each write of the retirement may be the last of a process.
func TestRetirementGoesOnAfterEachWrite(t *testing.T) {
	for _, after := range []bool{false, true} {
		for lost := 1; lost < 12; lost++ {
			estate(t, 1, func(r *rig) {
				r.secrets[0].Policy.RetireGrace = time.Minute
				r.pass(r.start(), time.Hour)
				r.remove()
				r.records = &losing{r.store, lost, after}
				process := r.start()
				r.pass(process, time.Second)
				_ = process.Retire(r.t.Context(), r.secrets[0].Path, journal.Asked{By: "anna", Reason: "gone"}) // its write may be the one
				r.pass(process, time.Second)
				r.records = nil
				process = r.start()
				r.retire(process, 0, journal.Asked{})
				r.pass(process, 2*time.Minute)
				r.wantRetired(0)
				count := 0
				for event, err := range r.log.Events(r.t.Context(), audit.Filter{}) {
					if err != nil {
						t.Fatal(err)
					}
					if event.Workflow == "retirement" && event.Step == string(journal.Completed) {
						count++
					}
				}
				if count != 1 {
					t.Errorf("after write %d: it is on record as completed %d times", lost, count)
				}
			})
		}
	}
}

func TestSecretThatComesBackIsKept(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.RetireGrace = time.Hour
		r.pass(r.start(), time.Hour)
		r.remove()
		r.pass(r.start(), time.Hour)
		r.secrets[0].Leaving = false
		r.pass(r.start(), time.Minute)
		if entry := r.entry(0); entry.Leaving != nil {
			t.Errorf("the journal has it leaving: %+v", entry.Leaving)
		}
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		entry := r.entry(0)
		entry.Last.Older = []authority.Version{7} // as if a run was undone that had taken over what another had not revoked
		if err := journal.New(r.store).Save(r.t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Minute) // within the grace
		r.secrets[0].Leaving = false
		process.Change(r.secrets)
		r.pass(process, time.Minute)
		held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
		if id, _ := r.consumers[0].Held(); err != nil || id != held.ID || !r.accounts[0].Accepts(held.Value) {
			t.Errorf("the consumer holds %s of %s (%v)", id, held.ID, err)
		}
		if last := r.entry(0).Last; last.Workflow != journal.Retirement || last.Result != journal.ResultUndone {
			t.Errorf("its last run is a %s, %s", last.Workflow, last.Result)
		} else if !slices.Equal(last.Older, entry.Last.Older) {
			t.Errorf("the next rotation is to revoke versions %v, want %v", last.Older, entry.Last.Older)
		}
	})
}

// A retired secret that is declared again gets a new value, after those that were destroyed.
func TestRetiredSecretBeginsAnew(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.wantRetired(0)
		r.secrets[0].Leaving = false
		process = r.start()
		r.pass(process, time.Hour)
		r.wantVersions(2)
		r.remove()
		process.Use(r.secrets)
		r.pass(process, time.Minute)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.wantRetired(0)
	})
}

// A folder that was moved takes many documents along.
func TestManyAreNotRetiredByTheirPolicies(t *testing.T) {
	estate(t, 4, func(r *rig) {
		for i := range r.secrets {
			r.secrets[i].Policy.RetireAfter = time.Hour
		}
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, 3*time.Hour)
		r.wantVersions(1, 1, 1, 1)
		r.waits(process, 2, reason.LeavingMany)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Minute)
		r.wantRetired(0)
		r.secrets = r.secrets[1:] // the estate lets it go
		r.consumers, r.accounts = r.consumers[1:], r.accounts[1:]
		process.Change(r.secrets)
		r.pass(process, time.Minute)
		for i := range r.secrets {
			r.wantRetired(i)
		}
	})
}

func TestRunIsTakenBackBeforeItsSecretIsRetired(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		r.accounts[0].SetDown(true)
		r.pass(r.start(), day) // a rotation is due
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		if r.entry(0).Retired() {
			t.Error("it was retired while its upstream was down")
		}
		r.accounts[0].SetDown(false)
		r.pass(process, time.Hour)
		r.wantRetired(0)
	})
}

// An upstream that is gone for good would hold the secret for ever.
func TestRetirementWithoutRevoking(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.accounts[0].SetDown(true)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.waits(process, 0, reason.RetireNotRevoked)
		r.retire(process, 0, journal.Asked{WithoutRevoking: true})
		r.pass(process, time.Minute)
		if entry := r.entry(0); !entry.Retired() || !entry.Gone.Left {
			t.Errorf("the journal has %+v, want it retired and its credential left", entry.Gone)
		}
	})
}

// What another secret is computed from, or opened with, goes last.
func TestNeededSecretIsRetiredLast(t *testing.T) {
	estate(t, 2, func(r *rig) {
		r.secrets[1].Reads = []authority.Path{r.secrets[0].Path}
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Minute)
		r.wantVersions(1, 1)
		r.waits(process, 0, reason.LeavingNeeded)
		r.retire(process, 1, journal.Asked{})
		r.pass(process, time.Minute)
		r.wantRetired(1)
		r.secrets = r.secrets[:1]
		process.Change(r.secrets)
		r.pass(process, time.Minute)
		r.wantRetired(0)
	})
}

// Of each shape of upstream nothing that anybody knows is honoured in the end, and who still signs in is waited for.
func TestEveryShapeIsEnded(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{
		upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued, upstreammemory.Listed, upstreammemory.Rotated,
	} {
		t.Run(string(shape), func(t *testing.T) {
			estate(t, 1, func(r *rig) {
				account, err := upstreammemory.New(upstreammemory.Config{Shape: shape, Clock: time.Now, Random: rand.Reader, Witnesses: true, Propagation: time.Second})
				if err != nil {
					t.Fatal(err)
				}
				r.accounts[0], r.secrets[0].Upstream, r.secrets[0].AllowInterruption = account, account, true
				r.secrets[0].Policy.QuietWindow, r.secrets[0].Policy.RevokeOld = 5*time.Minute, false // so that versions before it work as well
				r.pass(r.start(), day+2*time.Hour)
				if r.versions() != "[2]" {
					t.Fatalf("values are at versions %s, want two of one", r.versions())
				}
				held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
				if err != nil {
					t.Fatal(err)
				}
				first, err := r.store.ReadVersion(r.t.Context(), r.secrets[0].Path, 1)
				if err != nil {
					t.Fatal(err)
				}
				r.remove()
				process := r.start()
				r.pass(process, time.Minute)
				r.retire(process, 0, journal.Asked{})
				for range 10 {
					time.Sleep(time.Second)
					account.SignIn("batch", held.Value)
					r.pass(process, time.Minute)
				}
				r.waits(process, 0, reason.RetireInUse)
				if !account.Accepts(held.Value) {
					t.Error("a credential that is used was revoked")
				}
				r.pass(process, time.Hour)
				if entry := r.entry(0); !entry.Retired() {
					t.Fatalf("it waits at %+v", entry.Live)
				}
				if account.Accepts(held.Value) || account.Accepts(first.Value) {
					t.Error("a value that it had is honoured")
				}
			})
		})
	}
}

// Who uses a credential may be somebody who is to lose it.
func TestUsedCredentialIsRetiredAllTheSame(t *testing.T) {
	estate(t, 1, func(r *rig) {
		account, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader, Witnesses: true})
		if err != nil {
			t.Fatal(err)
		}
		r.accounts[0], r.secrets[0].Upstream, r.secrets[0].Policy.QuietWindow = account, account, 5*time.Minute
		r.pass(r.start(), time.Hour)
		held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.retire(process, 0, journal.Asked{})
		for range 10 {
			r.pass(process, time.Minute)
			account.SignIn("batch", held.Value)
		}
		r.pass(process, time.Second)
		r.waits(process, 0, reason.RetireInUse)
		r.retire(process, 0, journal.Asked{AlthoughUsed: true})
		r.pass(process, time.Minute)
		r.wantRetired(0)
	})
}

// A credential that somebody else may have worked on until the grace was over.
func TestCompromiseWithinTheGraceEndsTheCredential(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.RetireGrace = 30 * day
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Minute)
		r.waits(process, 0, reason.RetireGrace)
		r.reported(process, "leak")
		r.pass(process, time.Minute)
		r.wantRetired(0)
		if last := r.entry(0).Last; last.Compromise.Took() <= 0 || last.Compromise.Took() > time.Minute {
			t.Errorf("it was refused %s after the report, with %+v", last.Compromise.Took(), last.Compromise)
		}
		r.pass(process, time.Hour)
		if open, err := r.queue().Open(r.t.Context()); err != nil || len(open) > 0 {
			t.Errorf("open are %+v, %v", open, err)
		}
	})
}

// clinging is an account whose open sessions cannot be ended.
type clinging struct{ *upstreammemory.Upstream }

func (clinging) EndSessions(context.Context, secret.Value) (int, error) {
	return 0, errors.New("no right to end them")
}

// Open sessions that cannot be ended hold the end of a secret that was reported, but not that of its credential, until a person lets them be.
func TestOpenSessionsHoldTheEndOfAReportedSecret(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Upstream = clinging{r.accounts[0]}
		r.secrets[0].Policy.OnCompromise = &journal.OnCompromise{BreakAfter: 10 * time.Minute, EndSessions: true}
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.reported(process, "leak")
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.waits(process, 0, reason.RetireSessions)
		if entry := r.entry(0); len(r.accounts[0].Credentials()) > 0 || entry.Live == nil {
			t.Errorf("honoured are %v, live is %+v; want the credential refused, and the run open", r.accounts[0].Credentials(), entry.Live)
		}
		r.retire(process, 0, journal.Asked{AlthoughUsed: true})
		r.pass(process, time.Minute)
		r.wantRetired(0)
	})
}

// A consumer that nothing can be taken from, as its folder is gone or its file is held, kept the credential honoured for ever. A
// person goes on without it, or after a compromise the policy.
func TestConsumerThatKeepsASecretIsLeftOnRequest(t *testing.T) {
	for name, goOn := range map[string]func(*rig, *orchestrator.Orchestrator){
		"a person": func(r *rig, process *orchestrator.Orchestrator) {
			r.retire(process, 0, journal.Asked{AlthoughUsed: true})
		},
		"the policy": func(r *rig, process *orchestrator.Orchestrator) { r.reported(process, "leak") },
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 1, func(r *rig) {
				r.secrets[0].Policy.OnCompromise = &journal.OnCompromise{BreakAfter: 10 * time.Minute, EndSessions: true}
				r.pass(r.start(), time.Hour)
				r.remove()
				process := r.start()
				r.pass(process, time.Minute)
				r.consumers[0].RefuseUntil(time.Now().Add(1000 * day))
				r.retire(process, 0, journal.Asked{})
				r.pass(process, day)
				r.waits(process, 0, reason.RetireNotWithdrawn)
				if count := len(r.accounts[0].Credentials()); count != 1 {
					t.Fatalf("%d credentials are honoured while a consumer has it, want 1", count)
				}
				goOn(r, process)
				r.pass(process, 11*time.Minute)
				entry := r.entry(0)
				if !entry.Retired() || len(r.accounts[0].Credentials()) > 0 {
					t.Fatalf("it waits at %+v; honoured are %v", entry.Live, r.accounts[0].Credentials())
				}
				if !slices.ContainsFunc(entry.Last.Waived, journal.Waiver{Kind: journal.WaivedConsumer, Name: r.consumers[0].Name()}.Same) {
					t.Errorf("waived are %+v, want the consumer", entry.Last.Waived)
				}
			})
		})
	}
}

// What somebody else writes to the path of a secret that ends is nobody's to destroy but a person's, and is not left behind unsaid.
func TestWriteDuringARetirementIsNotDestroyedUnasked(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.accounts[0].SetDown(true)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.waits(process, 0, reason.RetireNotRevoked)
		written := r.overwrite("somebody", false)
		r.accounts[0].SetDown(false)
		r.pass(process, time.Hour)
		r.waits(process, 0, reason.RetireForeign)
		if held := r.held(); !held.Value.Equal(written) {
			t.Fatalf("the path has version %s, want what was written", held.ID)
		}
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.wantRetired(0)
		r.secrets[0].Leaving = false
		process = r.start()
		r.pass(process, time.Hour)
		r.wantVersions(3) // after the one that was written
	})
}

// Before a retirement begins, somebody else's write has its own two ends.
func TestForeignValueIsDecidedBeforeItsSecretIsRetired(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.pass(r.start(), time.Hour)
		r.remove()
		process := r.start()
		r.pass(process, time.Minute)
		r.overwrite("somebody", true)
		r.retire(process, 0, journal.Asked{})
		r.pass(process, time.Hour)
		r.waits(process, 0, reason.ValueForeign)
		if commands := process.States()[r.secrets[0].Path].Waiting.Commands(); len(commands) != 2 {
			t.Errorf("the finding names %q, want both decisions", commands)
		}
		if _, err := process.DecideForeign(r.t.Context(), r.secrets[0].Path, rotation.Adopted, "anna", "it is ours"); err != nil {
			t.Fatal(err)
		}
		r.pass(process, time.Hour)
		r.wantRetired(0)
	})
}
