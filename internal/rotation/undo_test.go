// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var (
	errLost  = errors.New("the reply was lost")
	contains = strings.Contains
)

// fullEscrow takes nothing.
type fullEscrow struct{}

func (fullEscrow) Deposit(context.Context, authority.Path, authority.RunID, secret.Value) error {
	return errors.New("no space left on device")
}

// The candidate of a run that was never staged was never given to anybody: an account that may be somebody else's is left
// alone.
func TestUndoingTouchesNothingThatWasNeverStaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Alternate})
		r.subject.Escrow = fullEscrow{}
		id := r.plan(t)
		if _, err := r.Advance(t.Context(), r.subject); err == nil {
			t.Fatal("staging did not fail")
		}
		if held, err := r.Journal.LoadHeld(t.Context(), r.subject.Path); err != nil || held.Live.Step != journal.Planned || held.Pending == nil {
			t.Fatalf("%+v, %v, want a run that is planned and has its candidate", held, err)
		}
		if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "undone" || u.applied+u.revoked != 0 {
			t.Errorf("the run is %s after %d calls to revoke and %d to apply, want undone after none", got, u.revoked, u.applied)
		}
	})
}

// A server whose rules have changed may refuse the current password as a new one: where the run changed nothing, nothing
// is put back.
func TestUndoingOverwritesNothingThatIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite})
		u.apply = func() error { return fmt.Errorf("used before: %w", upstream.ErrRefusedCandidate) }
		r.plan(t)
		if got := r.finish(t, r.subject); got != "undone" || u.applied != 1 {
			t.Errorf("the run is %s after %d calls to apply, want undone after one", got, u.applied)
		}
	})
}

// Once a call may have landed that the upstream cannot undo, aborting would leave a credential that nobody knows.
func TestWhatCannotBeUndoneIsNotAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Rotated})
		id := r.plan(t)
		if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); err != nil {
			t.Fatalf("aborting before any call: %v", err)
		}
		r.finish(t, r.subject)
		u.apply = func() error { return errLost }
		id = r.plan(t)
		r.wait(t, reason.LostReplyOldEnded, r.subject.Secret)
		if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); !errors.Is(err, rotation.ErrNotAllowed) {
			t.Errorf("got %v, want ErrNotAllowed", err)
		}
		if _, err := r.Supply(t.Context(), r.subject, "me", "lost", r.hand(t)); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// hand makes a credential by hand, as a person does after a lost reply.
func (r *rig) hand(t *testing.T) secret.Value {
	t.Helper()
	v, err := r.account.Hand(secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A credential that appeared may be somebody else's, for good: a person can give the run up.
func TestForcedUndoingPassesWhatAPersonSeesTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Listed})
		u.apply = func() error { return errLost }
		id := r.plan(t)
		r.wait(t, reason.LostReplyNewcomers)
		if err := r.Abort(t.Context(), r.subject, id, "me", "it is the neighbour's"); err != nil {
			t.Fatal(err)
		}
		r.wait(t, reason.LostReplyNewcomers)
		if _, err := r.Force(t.Context(), r.subject, id, "me", "it is the neighbour's"); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "undone" {
			t.Errorf("the run is %s", got)
		}
		u.apply = nil
		r.plan(t)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the next run is %s", got)
		}
	})
}

// The upstream may never again take a candidate off: the admin's own credential may have ended in the middle of its run.
func TestForcedUndoingGoesPastAnUpstreamThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite})
		u.apply = func() error { return errLost }
		u.verify = func(secret.Value) (upstream.Verdict, error) { return upstream.Refused, nil }
		id := r.plan(t)
		r.advance(t)
		if err := r.Abort(t.Context(), r.subject, id, "me", "its admin is gone"); err != nil {
			t.Fatal(err)
		}
		u.apply = func() error { return fmt.Errorf("signing in: %w", upstream.ErrNotApplied) }
		r.wait(t, reason.CandidateNotRemoved)
		if _, err := r.Force(t.Context(), r.subject, id, "me", "set by hand"); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(t, r.subject); got != "undone" {
			t.Errorf("the run is %s", got)
		}
	})
}

// failing is a journal whose next writes of a run's values fail, or of its end.
type failing struct {
	rotation.Journal
	writes, closes int
}

func (f *failing) SaveHeld(ctx context.Context, held *journal.Held) error {
	switch {
	case f.writes > 0 && held.Live != nil && held.Pending != nil:
		f.writes--
		return errors.New("no space left on device")
	case f.closes > 0 && held.Live == nil:
		f.closes--
		return errors.New("unavailable")
	}
	return f.Journal.SaveHeld(ctx, held)
}

// unreadable is an authority whose next reads of a version fail.
type unreadable struct {
	rotation.Authority
	reads int
}

func (u *unreadable) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	if u.reads > 0 {
		u.reads--
		return authority.Versioned{}, errors.New("unavailable")
	}
	return u.Authority.ReadVersion(ctx, path, number)
}

// indestructible is an authority whose next calls to destroy fail.
type indestructible struct {
	rotation.Authority
	fails int
}

func (i *indestructible) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	if i.fails > 0 {
		i.fails--
		return errors.New("unavailable")
	}
	return i.Authority.Destroy(ctx, path, number)
}

// What an upstream issued exists nowhere else until the authority has it: no failed call to that loses it.
func TestIssuedCredentialOutlivesAFailedWrite(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Rotated, upstreammemory.Issued} {
		synctest.Test(t, func(t *testing.T) {
			r, u := spied(t, upstreammemory.Config{Shape: shape})
			old := r.value(t).Value
			r.plan(t)
			r.Journal = &failing{Journal: r.Journal, writes: 3}
			r.wait(t, reason.IssuedNotKept, "no space left")
			r.Authority = &unreadable{r.store, 2}
			for range 5 {
				outlook, err := r.Advance(t.Context(), r.subject)
				if err != nil {
					outlook.Again = time.Now().Add(time.Second)
				}
				time.Sleep(time.Until(outlook.Again))
			}
			if entry := r.entry(t); entry.Live != nil || entry.Last.Result != "completed" || u.applied != 1 {
				t.Errorf("%s: the run is %+v, %+v after %d calls to issue, want it completed after one", shape, entry.Live, entry.Last, u.applied)
			}
			if r.account.Accepts(old) {
				t.Errorf("%s: the old credential is still honoured", shape)
			}
		})
	}
}

// What one engine was given and could not keep yet, another takes for what a lost reply left, and collects. Its call may land at any
// moment up to its deadline: until then the first does not count on what it was given.
func TestIssuedCredentialDoesNotCountWhileAnotherEngineCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Issued})
		r.plan(t)
		journals := r.Journal
		r.Journal = &failing{Journal: journals, writes: 1}
		r.wait(t, reason.IssuedNotKept)
		first := r.Engine
		r.restart()
		r.Journal = journals
		var meanwhile rotation.Outlook
		u.collect = func() {
			u.collect = nil
			var err error
			if meanwhile, err = first.Advance(t.Context(), r.subject); err != nil {
				t.Error(err)
			}
		}
		r.wait(t, reason.EarlierCallPending)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
		if !meanwhile.Waiting.Is(reason.EarlierCallPending) {
			t.Errorf("the first engine went on while the other collected: %+v", meanwhile)
		}
		if !r.account.Accepts(r.value(t).Value) {
			t.Error("the value of record is not honoured")
		}
		if honoured := r.account.Credentials(); len(honoured) != 1 {
			t.Errorf("%d accounts are honoured: %v", len(honoured), honoured)
		}
	})
}

// A run's values go with the write that closes it: one that is still open can always tell its candidate.
func TestUndoneRunIsClosedBeforeItsCandidateGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		failing := &failing{Journal: r.Journal, closes: 1}
		r.Journal = failing
		u.verify = func(secret.Value) (upstream.Verdict, error) { return upstream.Unknown, errors.New("starting") }
		id := r.plan(t)
		r.wait(t, reason.CandidateUndecided, "starting")
		u.verify = nil
		if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			outlook, err := r.Advance(t.Context(), r.subject)
			if err != nil {
				break
			}
			time.Sleep(time.Until(outlook.Again))
		}
		candidate, err := r.Candidate(t.Context(), r.subject.Path)
		if failing.closes != 0 || err != nil || candidate.Empty() || r.entry(t).Live == nil {
			t.Fatalf("closing failed (%d to go), the run is %+v and has a candidate: %t, %v", failing.closes, r.entry(t).Live, !candidate.Empty(), err)
		}
		if got := r.finish(t, r.subject); got != "undone" {
			t.Errorf("the run is %s", got)
		}
		if held, err := r.Journal.LoadHeld(t.Context(), r.subject.Path); err != nil || held.Pending != nil {
			t.Errorf("the run that is closed still has values, %v", err)
		}
	})
}

// Where wrong sign-ins lock accounts out, the wait comes before the credential is replaced: afterwards consumers are
// refused until the candidate was verified.
func TestLockOutIsWaitedOutBeforeOverwriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite, LockoutAfter: 3, LockoutFor: 20 * time.Minute})
		var verified time.Time
		u.verify = func(secret.Value) (upstream.Verdict, error) {
			if !u.lastApplied.IsZero() && verified.IsZero() {
				verified = time.Now()
			}
			return "", nil
		}
		for _, doing := range []string{"rotating", "after a restart"} {
			u.lastApplied, verified = time.Time{}, time.Time{}
			r.plan(t)
			if got := r.finish(t, r.subject); got != "completed" {
				t.Fatalf("%s: the run is %s", doing, got)
			}
			if gap := verified.Sub(u.lastApplied); gap > time.Second {
				t.Errorf("%s: the candidate was verified %s after it was applied", doing, gap)
			}
			r.restart()
		}
	})
}

// A refusal can be an outage of what checks passwords: it is no revocation.
func TestRefusedOldCredentialIsRevokedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		old := r.value(t).Value
		u.revoke = func() error { return errors.New("the directory is down") }
		r.plan(t)
		r.wait(t, reason.OldNotRevoked, "the directory is down")
		r.restart()
		u.verify = func(v secret.Value) (upstream.Verdict, error) {
			if v.Equal(old) {
				return upstream.Refused, nil
			}
			return "", nil
		}
		r.wait(t, reason.OldNotRevoked, "the directory is down")
		u.verify, u.revoke = nil, nil
		if got := r.finish(t, r.subject); got != "completed" || r.account.Accepts(old) {
			t.Errorf("the run is %s, and the old credential is honoured: %v", got, r.account.Accepts(old))
		}
	})
}

// Nothing follows a value that somebody else wrote.
func TestForeignValueIsNotRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		held := r.value(t)
		v, err := secret.Text(map[string]string{upstreammemory.Key: "foreign"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.Write(t.Context(), r.subject.Path, held.ID.Number, "foreign", v); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Plan(t.Context(), r.subject, planned); !errors.Is(err, rotation.ErrNotAllowed) || !reason.Of(err).Is(reason.ValueOverwritten) {
			t.Errorf("got %v, want ErrNotAllowed that says why", err)
		}
	})
}

// A deadline that was journaled while the clock ran a day ahead holds nothing up for a day.
func TestClockSetBackHoldsNoFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Issued})
		ahead := 24 * time.Hour
		r.Now = func() time.Time { return time.Now().Add(ahead) }
		r.Engine = rotation.New(r.Config)
		u.apply = func() error { return errLost }
		r.plan(t)
		r.wait(t, reason.EarlierCallPending)
		ahead, u.apply = 0, nil
		r.restart()
		began := time.Now()
		if got := r.finish(t, r.subject); got != "completed" || time.Since(began) > 5*time.Minute {
			t.Errorf("the run is %s after %s", got, time.Since(began))
		}
	})
}

// What a lost reply left is not collected from an account that somebody else has claimed: a person sees to it.
func TestForeignAccountIsNotCollectedFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Issued})
		u.apply = func() error { u.SetForeign(true); return errLost }
		r.plan(t)
		r.wait(t, reason.LostReplyClaimed, "claiming account")
		u.apply = nil
		u.SetForeign(false)
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("once the claim is gone the run is %s", got)
		}
	})
}

// notReady cannot say yet what it can do.
type notReady struct {
	*spy
	err error
}

func (u *notReady) Ready(context.Context) error { return u.err }

// What an upstream says of itself while it does not know is not decided by.
func TestUpstreamThatIsNotReadyIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Issued})
		mute := &notReady{u, errors.New("the program does not answer")}
		r.subject.Upstream = mute
		if _, err := r.Plan(t.Context(), r.subject, planned); !errors.Is(err, rotation.ErrNotNow) {
			t.Errorf("planning: got %v, want ErrNotNow", err)
		}
		mute.err = nil
		r.plan(t)
		mute.err = errors.New("the program does not answer")
		r.wait(t, reason.UpstreamNotReady, "the program does not answer")
		if u.applied != 0 {
			t.Errorf("%d credentials were issued", u.applied)
		}
		mute.err = nil
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// unwanted issues what is not to be used: otherwise than asked for, and not to be removed just then.
type unwanted struct{ *spy }

func (u unwanted) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	v, err := u.spy.Apply(ctx, run, current, candidate)
	return v, errors.Join(err, errors.New("with another scope than asked for"))
}

// What was issued and is not to be used is kept until the upstream refuses it.
func TestUnwantedCredentialIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Listed})
		r.subject.Upstream = unwanted{u}
		before, down := len(r.account.Credentials()), true
		u.revoke = func() error {
			if down {
				return errors.New("down")
			}
			return nil
		}
		r.Journal = &failing{Journal: r.Journal, writes: 1}
		r.plan(t)
		for range 20 { // keeping fails, then revoking, then the process ends
			if outlook, err := r.Advance(t.Context(), r.subject); err == nil {
				time.Sleep(time.Until(outlook.Again))
			}
		}
		r.restart()
		down = false
		if got := r.finish(t, r.subject); got != "undone" || len(r.account.Credentials()) != before {
			t.Errorf("the run is %s, and %v are honoured", got, r.account.Credentials())
		}
	})
}

// A run was over as taken back although its candidate was still honoured, or nobody could say: a credential that works and
// that nobody keeps.
func TestUndoneOnceTheCandidateIsRefused(t *testing.T) {
	for _, shape := range []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite} {
		for verdict, want := range map[upstream.Verdict]reason.Code{
			upstream.Accepted: reason.RemovedStillAccepted,
			upstream.Unknown:  reason.RemovedUndecided,
		} {
			t.Run(string(shape)+"/"+string(verdict), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, u := spied(t, upstreammemory.Config{Shape: shape})
					base := r.value(t).Value
					u.apply = func() error { return errLost }
					id := r.plan(t)
					r.advance(t)
					if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); err != nil {
						t.Fatal(err)
					}
					u.apply = nil
					u.verify = func(v secret.Value) (upstream.Verdict, error) {
						if v.Equal(base) {
							return "", nil
						}
						return verdict, nil
					}
					r.wait(t, want)
					if live := r.entry(t).Live; live == nil || live.Step != journal.Undoing {
						t.Fatalf("the run is %+v, want it held", live)
					}
					u.verify = nil
					if got := r.finish(t, r.subject); got != "undone" {
						t.Errorf("once it is refused the run is %s", got)
					}
				})
			})
		}
	}
}

// A run that is taken back by itself can be aborted as well: the person's word holds, and only a person starts another.
func TestAbortOfARunThatIsTakenBackCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		u.apply = func() error { return fmt.Errorf("against the rules: %w", upstream.ErrRefusedCandidate) }
		u.revoke = func() error { return errors.New("unavailable") }
		id := r.plan(t)
		r.wait(t, reason.CandidateNotRemoved)
		for range 2 {
			if err := r.Abort(t.Context(), r.subject, id, "me", "not now"); err != nil {
				t.Fatal(err)
			}
		}
		u.revoke = nil
		got, entry := r.finish(t, r.subject), r.entry(t)
		if got != "undone" || !entry.Last.Aborted || !entry.Retry.Held || strings.Count(entry.Retry.Reason, "aborted by me: not now") != 1 {
			t.Errorf("the run is %s, %+v, and the next attempt %+v", got, entry.Last, entry.Retry)
		}
	})
}
