// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
)

var errCrash = errors.New("the process ended here")

// crash ends the process at one of its changing calls, before that takes effect or after.
type crash struct {
	at    int
	after bool
	calls int
}

func (c *crash) around(do func() error) error {
	c.calls++
	switch {
	case c.at > 0 && c.calls > c.at, c.calls == c.at && !c.after:
		return errCrash
	case c.calls == c.at:
		return errors.Join(do(), errCrash)
	}
	return do()
}

type store struct {
	*authoritymemory.Store
	crash *crash
}

func (s store) Renew(ctx context.Context, from authority.Incarnation, plan func(authority.Incarnation) (authority.Renewal, error)) (next authority.Incarnation, err error) {
	err = s.crash.around(func() error {
		next, err = s.Store.Renew(ctx, from, plan)
		return err
	})
	return next, err
}

func (s store) Put(ctx context.Context, key string, base authority.Revision, data []byte) (at authority.Revision, err error) {
	err = s.crash.around(func() error {
		at, err = s.Store.Put(ctx, key, base, data)
		return err
	})
	return at, err
}

// log is behind a checkpoint of 9 events until that is given up.
type log struct {
	*auditmemory.Log
	crash   *crash
	givenUp *[][]byte
}

var outside = audit.Outside{From: "elsewhere", Size: 9, Data: []byte("checkpoint of 9 events")}

func (l log) Ahead() []audit.Outside {
	if slices.ContainsFunc(*l.givenUp, func(data []byte) bool { return bytes.Equal(data, outside.Data) }) {
		return nil
	}
	return []audit.Outside{outside}
}

func (l log) GiveUp(checkpoints ...[]byte) { *l.givenUp = append(*l.givenUp, checkpoints...) }

func (l log) Size() uint64 { return 4 }

func (l log) Append(ctx context.Context, event audit.Event) error {
	if len(l.Ahead()) > 0 {
		return audit.ErrBehind
	}
	return l.crash.around(func() error { return l.Log.Append(ctx, event) })
}

// accepts is an upstream that accepts some passwords.
type accepts struct {
	upstream.Upstream
	passwords []string
}

func (accepts) Kind() upstream.Kind {
	return upstream.Kind{Name: "double", Capability: upstream.Alternate, Verifies: true}
}

func (a accepts) Verify(_ context.Context, v secret.Value) (upstream.Verdict, error) {
	if slices.Contains(a.passwords, v.ExposeText("password")) {
		return upstream.Accepted, nil
	}
	return upstream.Refused, nil
}

const path = authority.Path("app/db")

// world is an older state that was restored: version 1, and a run with a candidate, which a request asked for.
type world struct {
	t       *testing.T
	store   *authoritymemory.Store
	log     *auditmemory.Log
	givenUp [][]byte
	before  authority.Document
}

func clock() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock}), log: auditmemory.New(clock)}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	id, err := w.store.Write(ctx, path, 0, "run-1", password(t, "first"))
	must(err)
	_, err = w.store.Put(ctx, "request/a", 0, []byte("{}"))
	must(err)
	must(journal.New(w.store).SaveHeld(ctx, &journal.Held{Pending: &journal.Pending{Run: "run-2", Candidate: password(t, "second")}, Entry: journal.Entry{
		Schema: journal.Schema, Secret: "db", Path: path, Current: &id, Rotated: clock(), Tombstone: &journal.Tombstone{Run: "run-1"},
		Live: &journal.Run{ID: "run-2", Workflow: journal.Rotation, Step: journal.Staged, Started: clock(), Trigger: journal.Trigger{Kind: "manual", By: "test", Reason: "asked"}},
	}}))
	w.before, err = w.store.Get(ctx, "secret/"+string(path))
	must(err)
	return w
}

func password(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"password": text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// engine is that of one process.
func (w *world) engine(c *crash) *Engine {
	made, calls := store{w.store, c}, outward.New(time.Now)
	return New(Config{
		Authority: made, Journal: journal.New(made), Record: log{w.log, c, &w.givenUp}, Calls: calls, Now: clock,
		Check: func(ctx context.Context, s Secret, v secret.Value) (upstream.Verdict, error) {
			return outward.Do(ctx, calls, outward.Call{Part: outward.Account(string(s.Path)), Limit: askTimeout}, func(ctx context.Context) (upstream.Verdict, error) {
				return s.Upstream.Verify(ctx, v)
			})
		},
		NewRun:   func() authority.RunID { return "accepted" },
		Requests: trigger.Prefix, Open: trigger.Open,
	})
}

func (w *world) accept(c *crash, u upstream.Upstream, dry bool) (Report, error) {
	return w.engine(c).Accept(w.t.Context(), "test", "the disk was lost", []string{"elsewhere is ahead"}, []Secret{{Name: "db", Path: path, Upstream: u, Seeded: true}}, How{Dry: dry})
}

func (w *world) entry() *journal.Entry {
	w.t.Helper()
	entry, err := journal.New(w.store).Load(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	return entry
}

// untouched reports whether the state is still the one that was put back.
func (w *world) untouched() bool {
	now, err := w.store.Get(w.t.Context(), "secret/"+string(path))
	_, asked := w.store.Get(w.t.Context(), "request/a")
	return err == nil && asked == nil && now.Revision == w.before.Revision && w.store.Incarnation() == "one"
}

// done fails unless everything that belongs to an acceptance is there.
func (w *world) done(what string) {
	w.t.Helper()
	entry := w.entry()
	want := authority.VersionID{Incarnation: w.store.Incarnation(), Run: "accepted", Number: 2}
	if entry.Live != nil || entry.Current == nil || *entry.Current != want || want.Incarnation == "one" {
		w.t.Errorf("%s: the entry is at %v with run %v, want %v and no run", what, entry.Current, entry.Live, want)
	}
	if held, err := w.store.Read(w.t.Context(), path); err != nil || held.ID != want {
		w.t.Errorf("%s: the authority holds %v, %v, want %v", what, held.ID, err, want)
	}
	if _, err := w.store.Get(w.t.Context(), "request/a"); !errors.Is(err, authority.ErrNotFound) {
		w.t.Errorf("%s: the request of the older state is still open: %v", what, err)
	}
	seen := map[string]int{}
	for event, err := range w.log.Events(w.t.Context(), audit.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		seen[string(event.Run)+" "+event.Step]++
	}
	for _, step := range []string{"accepted recovery-accepted", "accepted recovered app/db", "run-2 planned", "run-2 undone"} {
		if seen[step] != 1 {
			w.t.Errorf("%s: %q is on record %d times: %v", what, step, seen[step], seen)
		}
	}
	if last, err := Last(w.t.Context(), w.store); err != nil || len(last.Owed) > 0 || last.Events != 4 || len(last.GivenUp) != 1 {
		w.t.Errorf("%s: got %+v, %v, want nothing owed, 4 events and one checkpoint given up", what, last, err)
	}
}

// TestAcceptanceCutOff ends the process at each call that changes something, before it takes effect and after: what is
// found then is the state that was put back, or one that was accepted.
func TestAcceptanceCutOff(t *testing.T) {
	points := 0
	for n := 1; ; n++ {
		reached := false
		for _, after := range []bool{false, true} {
			w := newWorld(t)
			c := &crash{at: n, after: after}
			_, err := w.accept(c, accepts{passwords: []string{"first"}}, false)
			reached = c.calls >= n
			if reached && !errors.Is(err, errCrash) {
				t.Fatalf("call %d: got %v, want the crash", n, err)
			}
			w.givenUp = nil // it was in memory
			if err := w.engine(&crash{}).Settle(t.Context()); err != nil && !errors.Is(err, audit.ErrBehind) {
				t.Fatal(err)
			}
			if w.store.Incarnation() == "one" {
				if !w.untouched() {
					t.Errorf("call %d, after %t: neither recovering nor done", n, after)
				}
				if _, err := w.accept(&crash{}, accepts{passwords: []string{"first"}}, false); err != nil {
					t.Errorf("call %d, after %t: accepting again: %v", n, after, err)
				}
			}
			w.done("call " + string(rune('0'+n)))
			points++
		}
		if !reached {
			break
		}
	}
	if points < 12 {
		t.Errorf("%d points were tried: the calls are not counted", points)
	}
}

func TestAcceptanceKeepsTheCandidateThatIsInUse(t *testing.T) {
	w := newWorld(t)
	report, err := w.accept(&crash{}, accepts{passwords: []string{"second"}}, false)
	if err != nil || len(report.Secrets) != 1 || report.Secrets[0].Action != KeepsCandidate || report.Secrets[0].GaveUp != "run-2" {
		t.Fatalf("got %+v, %v", report, err)
	}
	w.done("candidate")
	if held, err := w.store.Read(t.Context(), path); err != nil || !held.Value.Equal(password(t, "second")) {
		t.Errorf("the authority does not hold the candidate: %v", err)
	}
	if w.entry().RecoveryNow() != nil {
		t.Error("a person is asked for though the upstream accepts it")
	}
}

func TestAcceptanceLeavesWhatIsRefusedToAPerson(t *testing.T) {
	w := newWorld(t)
	if report, err := w.accept(&crash{}, accepts{}, true); err != nil || report.Incarnation != "" || !w.untouched() {
		t.Fatalf("a dry run changed something: %+v, %v", report, err)
	}
	report, err := w.accept(&crash{}, accepts{}, false)
	if err != nil || report.Secrets[0].Next != "custody rotate db --reason TEXT" || report.Requests != 1 {
		t.Fatalf("got %+v, %v", report, err)
	}
	w.done("refused")
	recovery := w.entry().RecoveryNow()
	if recovery == nil || !recovery.Reason.Is(reason.RecoveryRotates) || recovery.Reason.Args["rotate"] != "db" {
		t.Errorf("the entry says %+v", recovery)
	}
}

// marked is an upstream whose account was changed last by a run, and by which.
type marked struct {
	accepts
	by authority.RunID
}

func (m marked) Stranger(_ context.Context, known []authority.RunID) (string, error) {
	if slices.Contains(known, m.by) {
		return "", nil
	}
	return string(m.by), nil
}

// TestAcceptanceTakesWhatAPersonWasTold: of what the upstream refuses, a person is told who changed the account, and the run
// that replaces it waits for nobody. Of what it accepts nobody has said that the account may be changed. What the older state
// knew itself is no stranger, before or after.
func TestAcceptanceTakesWhatAPersonWasTold(t *testing.T) {
	for name, c := range map[string]struct {
		u     marked
		taken bool
		why   string
	}{
		"refused":                       {marked{by: "run-9"}, true, "run-9"},
		"accepted":                      {marked{accepts{passwords: []string{"first"}}, "run-9"}, false, "run-9"},
		"refused, and the state's own":  {marked{by: "run-1"}, false, "its upstream refuses it"},
		"accepted, and the state's own": {marked{accepts{passwords: []string{"first"}}, "run-1"}, false, "its upstream accepts it"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			report, err := w.accept(&crash{}, c.u, false)
			if err != nil || !strings.Contains(report.Secrets[0].Why, c.why) {
				t.Fatalf("got %+v, %v, want it to say %q", report, err, c.why)
			}
			entry := w.entry()
			if taken := slices.Contains(entry.Taken, "run-9"); taken != c.taken {
				t.Errorf("taken: %t, want %t", taken, c.taken)
			}
			for _, own := range []authority.RunID{"run-1", "run-2"} {
				if !slices.Contains(entry.Runs(), own) {
					t.Errorf("%s is no longer known: %v", own, entry.Runs())
				}
			}
		})
	}
}

// silent never answers, not even when its context ends, until it is let go.
type silent struct {
	upstream.Upstream
	until chan struct{}
}

func (silent) Kind() upstream.Kind { return accepts{}.Kind() }

func (s silent) Verify(context.Context, secret.Value) (upstream.Verdict, error) {
	<-s.until
	return upstream.Accepted, nil
}

// TestUpstreamThatNeverAnswersWaitsForAPerson: the call ends for its caller within its limit, on the bubble's clock.
func TestUpstreamThatNeverAnswersWaitsForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := silent{until: make(chan struct{})}
		defer close(u.until)
		report, err := newWorld(t).accept(&crash{}, u, true)
		if err != nil || len(report.Secrets) != 1 || report.Secrets[0].Action != Person || !strings.Contains(report.Secrets[0].Why, "did not answer") {
			t.Errorf("got %+v, %v, want the secret to wait for a person", report, err)
		}
	})
}

// doubts refuses the first password and cannot say anything of others.
type doubts struct{ upstream.Upstream }

func (doubts) Kind() upstream.Kind { return accepts{}.Kind() }

func (doubts) Verify(_ context.Context, v secret.Value) (upstream.Verdict, error) {
	if v.ExposeText("password") == "first" {
		return upstream.Refused, nil
	}
	return upstream.Unknown, errors.New("it is away")
}

// TestCandidateThatCouldNotBeAskedAboutIsKept: the only value that the upstream honoured was given up with its run.
func TestCandidateThatCouldNotBeAskedAboutIsKept(t *testing.T) {
	w := newWorld(t)
	report, err := w.accept(&crash{}, doubts{}, false)
	if err != nil || report.Secrets[0].Action != Person {
		t.Fatalf("got %+v, %v, want the secret to wait for a person", report, err)
	}
	if recovery := w.entry().RecoveryNow(); recovery == nil || recovery.Pending != "run-2" || !recovery.Reason.Is(reason.RecoveryAsks) {
		t.Fatalf("got %+v, want run-2's candidate to be kept, and to be asked again", recovery)
	}
	if held, err := journal.New(w.store).LoadHeld(t.Context(), path); err != nil || held.Pending != nil || held.Kept == nil || !held.Kept.Candidate.Equal(password(t, "second")) {
		t.Fatalf("held are %+v and %+v, %v, want run-2's candidate", held.Pending, held.Kept, err)
	}
	declared := []Secret{{Name: "db", Path: path, Upstream: accepts{passwords: []string{"second"}}, Seeded: true}}
	report, err = w.engine(&crash{}).Accept(t.Context(), "test", "it is back", nil, declared, How{Open: true})
	if err != nil || report.Secrets[0].Action != KeepsCandidate {
		t.Errorf("got %+v, %v, want the candidate to be kept", report, err)
	}
	if held, err := w.store.Read(t.Context(), path); err != nil || held.Value.ExposeText("password") != "second" {
		t.Errorf("the value of record is another: %v", err)
	}
	if recovery := w.entry().RecoveryNow(); recovery != nil {
		t.Errorf("once the upstream is back, the secret waits because of %+v", recovery)
	}
}

// locks is an upstream that locks an account out which is refused more than once a minute, and counts sign-ins.
type locks struct {
	accepts
	tried *[]string
}

func (l locks) Kind() upstream.Kind {
	kind := l.accepts.Kind()
	kind.WrongEvery = time.Minute
	return kind
}

func (l locks) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	*l.tried = append(*l.tried, v.ExposeText("password"))
	return l.accepts.Verify(ctx, v)
}

// TestAcceptanceSignsInWithinTheLockOutBudget: sign-ins of accepting were not counted with those of runs. Where neither value
// is accepted, it asked to be repeated for ever.
func TestAcceptanceSignsInWithinTheLockOutBudget(t *testing.T) {
	w, tried, refused := newWorld(t), []string{}, false
	declared := []Secret{{Name: "db", Path: path, Upstream: locks{tried: &tried}, Seeded: true}}
	engine := w.engine(&crash{})
	sign := engine.Check
	engine.Check = func(ctx context.Context, s Secret, v secret.Value) (upstream.Verdict, error) { // as a run's, with one sign-in left
		if refused {
			return upstream.Unknown, &upstream.Later{After: time.Minute, Err: errors.New("one more could lock it out")}
		}
		refused = true
		return sign(ctx, s, v)
	}
	for _, want := range []struct{ tried, next, why string }{
		{"first", "custody recover accept --reason TEXT", "it is tried from 2030-01-01T00:01:00Z on"},
		{"first second", "custody rotate db --reason TEXT", "its upstream refuses it"},
	} {
		report, err := engine.Accept(t.Context(), "test", "the disk was lost", []string{"older"}, declared, How{Open: len(tried) > 0})
		if err != nil {
			t.Fatal(err)
		}
		if got := report.Secrets[0]; strings.Join(tried, " ") != want.tried || got.Next != want.next || !strings.Contains(got.Why, want.why) {
			t.Errorf("tried %q, then %+v; want %+v", tried, got, want)
		}
		refused = false
	}
}

// TestCallThatMayStillLandIsWaitedFor: what was accepted before it landed was not in use after it, and the candidate was gone.
func TestCallThatMayStillLandIsWaitedFor(t *testing.T) {
	w, tried := newWorld(t), []string{}
	entry := w.entry()
	entry.Live.CallBy = clock().Add(time.Minute)
	if err := journal.New(w.store).Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	report, err := w.accept(&crash{}, locks{accepts{passwords: []string{"first"}}, &tried}, false)
	if err != nil || len(tried) > 0 || report.Secrets[0].Action != Person || !strings.Contains(report.Secrets[0].Why, "may take effect until 2030-01-01T00:01:00Z") {
		t.Errorf("got %+v, %v after trying %q, want it to wait for the call", report, err, tried)
	}
	if recovery := w.entry().RecoveryNow(); recovery == nil || recovery.Pending != "run-2" {
		t.Errorf("got %+v, want run-2's candidate to be kept", recovery)
	}
}

// TestPartOfAnOlderStateGivesNoCheckpointUp: accepting what waits for a person gave up a checkpoint that showed meanwhile.
func TestPartOfAnOlderStateGivesNoCheckpointUp(t *testing.T) {
	w := newWorld(t)
	_, err := w.engine(&crash{}).Accept(t.Context(), "test", "it is back", nil, nil, How{Open: true})
	if !errors.Is(err, ErrNewer) || !w.untouched() || len(w.givenUp) > 0 {
		t.Errorf("got %v, and %d checkpoints given up", err, len(w.givenUp))
	}
}

// stalls is an authority that takes no change of incarnation before its gate opens, whatever its context says.
type stalls struct {
	store
	gate chan struct{}
}

func (s stalls) Renew(ctx context.Context, from authority.Incarnation, plan func(authority.Incarnation) (authority.Renewal, error)) (authority.Incarnation, error) {
	<-s.gate
	return s.store.Renew(context.WithoutCancel(ctx), from, plan)
}

// TestAnAuthorityThatHangsHoldsUpNoAcceptance: it was waited for without a bound. What was given up may land, as a whole.
func TestAnAuthorityThatHangsHoldsUpNoAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		engine, gate := w.engine(&crash{}), make(chan struct{})
		engine.Authority = outward.NewRenewing(stalls{store{w.store, &crash{}}, gate}, engine.Calls)
		accept := func() (time.Duration, error) {
			began := time.Now()
			_, err := engine.Accept(t.Context(), "test", "the disk was lost", []string{"elsewhere is ahead"},
				[]Secret{{Name: "db", Path: path, Upstream: accepts{passwords: []string{"first"}}, Seeded: true}}, How{})
			return time.Since(began), err
		}
		wantOpen := func(within time.Duration) {
			t.Helper()
			took, err := accept()
			hinted, has := errors.AsType[interface {
				error
				Hint() string
			}](err)
			if !outward.GoesOn(err) || !has || !strings.Contains(hinted.Error(), "may still take effect") || hinted.Hint() == "" || took > within {
				t.Errorf("got %v after %s, want what may still land within %s", err, took, within)
			}
			if !w.untouched() {
				t.Error("something was changed")
			}
		}
		wantOpen(10 * time.Minute)
		wantOpen(0)
		close(gate)
		synctest.Wait()
		if err := engine.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.done("once it landed")
		if took, err := accept(); err != nil || took > 0 {
			t.Errorf("accepting what has landed: %v after %s", err, took)
		}
	})
}

// cut is a record of which the authority alone knows that it was longer.
type cut struct{ log }

func (c cut) Ahead() []audit.Outside {
	ahead := c.log.Ahead()
	for i := range ahead {
		ahead[i].Cut = true
	}
	return ahead
}

// Where only the record was cut nothing else changes, and the event that names the gap comes first; cut off at any of its calls,
// accepting is repeated or settled, and is on record once.
func TestRecordThatWasCutIsAcceptedAlone(t *testing.T) {
	for at := 1; at <= 3; at++ {
		for _, after := range []bool{false, true} {
			w := newWorld(t)
			before := w.entry()
			try := func(c *crash) (Report, error) {
				e := w.engine(c)
				e.Record = cut{e.Record.(log)}
				return e.Accept(t.Context(), "operator", "no copy", []string{"it was cut"}, nil, How{RecordAlone: true})
			}
			_, err := try(&crash{at: at, after: after})
			if !errors.Is(err, errCrash) {
				t.Fatalf("call %d: %v, want it to end there", at, err)
			}
			if len(w.givenUp) == 0 { // the person was told of nothing
				_, err = try(&crash{})
			} else {
				err = w.engine(&crash{}).Settle(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			events := audittest.Collect(t, w.log, audit.Filter{})
			if len(events) != 1 || events[0].Step != audit.StepGap || events[0].By != "operator" || !strings.Contains(events[0].Detail, "events 5 to 9 are missing") {
				t.Errorf("call %d, after %t: on record are %+v, want the gap alone", at, after, events)
			}
			if got := w.entry(); got.Live == nil || got.Live.ID != before.Live.ID {
				t.Errorf("call %d: the run was given up", at)
			}
			if last, err := Last(t.Context(), w.store); err != nil || len(last.Owed) > 0 || len(last.GivenUp) != 1 {
				t.Errorf("call %d: %+v, %v, want nothing owed and the checkpoint given up", at, last, err)
			}
		}
	}
}
