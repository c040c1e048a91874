// SPDX-License-Identifier: Apache-2.0

// Package sim is the simulator: a deterministic world for the engines, with the real code of orchestrator, handover,
// rotation, trigger and journal, doubles of everything outside, virtual time, and a fault at any call to the outside.
// After every effect it checks the invariants of package invariant.
//
// It runs inside a testing/synctest bubble, and only one actor runs at a time: a second engine runs while the first one
// stands still in the middle of a call, and so do people and outsiders (Event). So a schedule of faults, or a seed,
// replays exactly.
//
// There are four kinds of test. Scenarios break every call of a workflow, one at a time. Short scenarios break every
// pair of calls. In PlayCrowd, several workers of two processes take turns at every call. PlayYear simulates a year in
// which one call in a hundred has a fault. Properties names what is checked besides the invariants. Mutants, engines
// that are broken on purpose, show that the simulator detects what it is meant to detect.
// docs/design/2026-12-01-what-the-simulator-sees.md says what each fault stands for, and what the simulator does not
// see: races within a process, faults of the real parts (their conformance suites test those), disks, and clocks that
// run at different rates. A schedule costs about a millisecond, a secret's year about twenty, two hours of a crowd a
// second.
package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var errInjected = errors.New("injected fault")

// Secret is one simulated secret with its account and its consumers.
type Secret struct {
	orchestrator.Secret
	Upstream  *upstreammemory.Upstream
	Consumers []*materializememory.Consumer
	Bootstrap secret.Value
	// Undeclared: the estate does not declare it now.
	Undeclared bool

	returned  authority.VersionID // what was of record when it was declared again
	movedFrom authority.Path      // where its history is, when the document says another path now

	right secret.Value // what the upstream honours where the document holds another
	older bool         // its state is older than what the upstream was told
	lost  bool         // the upstream lost a change that it had acknowledged, see excuses
	// lostVersions are those that it honoured until it lost one.
	lostVersions []authority.Version
	fellBack     map[string]bool // consumers that were restored to what is refused by now
	handed       []byte          // the digest of what a person handed in last
}

// World holds everything outside the engines.
type World struct {
	store   *authoritymemory.Store
	log     ledger
	secrets map[authority.Path]*Secret
	random  *rand.ChaCha8
	began   time.Time
	runs    int

	// The engines' wall clock is off by skew; every outward call takes latency; watch, when set, is called twenty times
	// a second.
	skew, latency time.Duration
	watch         func()
	saved         func(*journal.Entry) // told of journal entries that were saved, when set
	reconcile     time.Duration        // how often engines look at consumers when nothing happens
	workers       int                  // of each process, 0 for one
	maxTimed      int                  // how many runs the clock alone may start in an hour
	restless      bool                 // second engines go on when nothing is going on

	// Calls are counted, and faults planned by their number, while counting. keep has points kept as well.
	counting, keep bool
	plain          bool // nothing goes wrong: what would be another answer is noted
	calls          int
	plan           func(call int, name string) Fault
	points         []Point
	last           lastCall
	late           []lateEffect

	processes int // how many there were
	nested    int // second engines now running
	states    map[authority.Path]orchestrator.State
	running   []*running // those that tick now, a second engine after the one that stands still
	inHand    Fault      // of the call whose effect happens now, for doubles to play
	estate    int        // counts changes of what is declared
	over      chan struct{}

	// Several workers of several processes run at once: lock is held while anything outside is looked at or changed.
	together bool
	lock     sync.Mutex
	seed     uint64
	underWay int  // calls
	stood    bool // a process waited for ever for a call
	// Calls are bounded as a server bounds them, and one that is stuck ends when released is closed; both nil elsewhere.
	calling  *outward.Calls
	released chan struct{}
	stopped  bool // no process begins another look
	beside   int  // calls that were begun while another was under way

	events       []Event
	notes        []string // what people were told
	requests     int
	lost         map[authority.RunID]bool  // runs of a state that is lost, since an older one was put back
	acknowledged map[string]authority.Path // requests by id, and the path each was for
	done         map[string]bool           // those that were on record as served
	closed       map[authority.RunID]bool
	pinned       map[authority.RunID]time.Duration         // the settle time that each rotation began with
	escrowed     map[authority.RunID]secret.Value          // emergency copies of candidates
	away         map[*materializememory.Consumer]time.Time // until when the machine of a consumer is away
	resent       authority.Version                         // of record when a report was sent again while nothing went on, 0 where it was not

	// What was decoded or compared before.
	entries  map[authority.Path]*cachedEntry
	decoded  map[version]*journal.Held
	prepared map[authority.RunID]secret.Value // the candidates of runs, as they were last seen
	judged   map[authority.RunID]bool         // runs that were taken back, and whose candidate was looked at
	fromGit  map[secret.Value]bool            // whether a value equals its secret's bootstrap value

	Violations []invariant.Violation
	Checks     int
	Faulted    int
}

// cachedEntry saves decoding a journal entry that has not changed.
type cachedEntry struct {
	record authority.Document
	entry  *journal.Held
}

// lastCall tells whether anything lies between two calls.
type lastCall struct {
	process int
	at      time.Time
	fault   Fault
}

type lateEffect struct {
	at time.Time
	do func()
}

// process is an engine, or what a person does, from its start to its end. Once it is dead, what of it still runs ends at
// its next call.
type process struct {
	number int
	dead   bool
}

// running is an engine that looks at the estate.
type running struct {
	*orchestrator.Orchestrator
	*process
	ctx      context.Context
	estate   int           // the estate that it was told of
	finished chan struct{} // of a look that ended
}

type (
	processKey struct{}
	askedKey   struct{} // what of the authority is read
)

// start begins a process: every call that is made under its context is that process's.
func (w *World) start() (*process, context.Context) {
	w.processes++
	p := &process{number: w.processes}
	return p, context.WithValue(context.Background(), processKey{}, p)
}

// die ends the goroutine that calls it, as a crash ends every one of the process.
func (p *process) die() {
	p.dead = true
	runtime.Goexit()
}

// New returns an empty world in which randomness follows seed.
func New(seed uint64) *World {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	w := &World{
		secrets: map[authority.Path]*Secret{}, entries: map[authority.Path]*cachedEntry{}, prepared: map[authority.RunID]secret.Value{}, judged: map[authority.RunID]bool{},
		fromGit: map[secret.Value]bool{}, log: ledger{}, random: rand.NewChaCha8(key), began: time.Now(),
		decoded: map[version]*journal.Held{}, over: make(chan struct{}), closed: map[authority.RunID]bool{}, pinned: map[authority.RunID]time.Duration{}, escrowed: map[authority.RunID]secret.Value{}, away: map[*materializememory.Consumer]time.Time{}, maxTimed: 1000, reconcile: time.Minute, acknowledged: map[string]authority.Path{}, done: map[string]bool{}, plan: func(int, string) Fault { return None },
	}
	w.store = authoritymemory.New(authoritymemory.Config{Incarnation: "incarnation-1", Clock: w.Now})
	return w
}

// Now is the wall clock of the machine that the engines and the authority run on.
func (w *World) Now() time.Time { return time.Now().Add(w.skew) }

// call is the one door through which engines reach the outside. path is "" when no secret is concerned.
func (w *World) call(ctx context.Context, name string, path authority.Path, effect func(context.Context) error) error {
	if w.together {
		w.wait(ctx, name, path)
		defer w.lock.Unlock()
	}
	err := w.pass(ctx, name, path, effect)
	w.happen()
	return err
}

func (w *World) pass(ctx context.Context, name string, path authority.Path, effect func(context.Context) error) error {
	if w.latency > 0 {
		w.Sleep(w.latency)
	}
	p, known := ctx.Value(processKey{}).(*process)
	if !known {
		panic("sim: a call of no process: " + name)
	}
	if p.dead {
		p.die()
	}
	w.land()
	fault := None
	if w.counting {
		fault = w.plan(w.calls, name)
		w.calls++
		if this := (lastCall{p.number, time.Now(), fault}); w.keep {
			w.points = append(w.points, Point{Name: name, Follows: w.last == lastCall{this.process, this.at, None}})
			w.last = this
		}
	}
	if fault != None {
		w.Faulted++
	}
	switch fault {
	case CrashBefore:
		p.die()
	case CrashAfter:
		_ = w.effect(ctx, path, effect)
		p.die()
	case Failed:
		return errInjected
	case LostReply:
		_ = w.effect(ctx, path, effect)
		return errInjected
	case Hang:
		return w.hang(ctx)
	case LateCrash:
		w.later(ctx, name, path, effect)
		p.die()
	case LateHang:
		w.later(ctx, name, path, effect)
		return w.hang(ctx)
	case BriefBefore, LongBefore:
		w.second(fault)
		return w.effect(ctx, path, effect)
	case BriefAfter, LongAfter:
		err := w.effect(ctx, path, effect)
		w.second(fault)
		return err
	case Stuck:
		return w.stick(ctx)
	}
	w.inHand = fault
	defer func() { w.inHand = None }()
	return w.effect(ctx, path, effect)
}

// effect lets the call happen and checks every invariant of the secret it concerns.
func (w *World) effect(ctx context.Context, path authority.Path, effect func(context.Context) error) error {
	err := effect(ctx)
	w.check(path, "")
	return err
}

// hang blocks to the call's deadline.
func (w *World) hang(ctx context.Context) error {
	until := time.Now().Add(unboundedCall)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	w.Sleep(time.Until(until))
	return context.DeadlineExceeded
}

// stick does not return when the call's context ends, and not before the world is over or everybody has long given up. It
// touches nothing: whoever bounds the call has gone on meanwhile.
func (w *World) stick(ctx context.Context) error {
	if w.together { // the lock is the world's, and the world goes on
		w.lock.Unlock()
		defer w.lock.Lock()
	}
	select {
	case <-w.released:
	case <-w.over:
	case <-time.After(2 * settleWithin):
		w.enter()
		w.stood = true
		w.leave()
	}
	return errors.Join(errInjected, ctx.Err())
}

// later lets the call happen just before its deadline: it was accepted in time, and nobody hears of it.
func (w *World) later(ctx context.Context, name string, path authority.Path, effect func(context.Context) error) {
	if reading[name] {
		return // nobody hears of it, and nothing is changed
	}
	at := time.Now().Add(unboundedCall - time.Millisecond)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(at) {
		at = deadline.Add(-time.Millisecond)
	}
	if at.Before(time.Now()) {
		at = time.Now()
	}
	w.late = append(w.late, lateEffect{at, func() { _ = w.effect(context.WithoutCancel(ctx), path, effect) }})
}

// land lets late effects happen whose time has come.
func (w *World) land() {
	for i := 0; i < len(w.late); {
		if w.late[i].at.After(time.Now()) {
			i++
			continue
		}
		effect := w.late[i]
		w.late = slices.Delete(w.late, i, i+1)
		effect.do()
		i = 0
	}
}

// Sleep passes virtual time, letting late effects happen on their way.
func (w *World) Sleep(d time.Duration) {
	if w.together { // late effects happen elsewhere
		w.lock.Unlock()
		time.Sleep(d)
		w.lock.Lock()
		return
	}
	until := time.Now().Add(d)
	for {
		next := until
		if w.watch != nil {
			w.watch()
			next = time.Now().Add(min(d, time.Second/20))
		}
		for _, effect := range w.late {
			if effect.at.Before(next) {
				next = effect.at
			}
		}
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
			synctest.Wait() // a deadline of the same instant has passed, or a seed would not replay
		}
		w.land()
		if !time.Now().Before(until) {
			return
		}
	}
}

// second runs another engine, which believes that it leads, while the first stands still.
func (w *World) second(fault Fault) {
	if w.nested > 0 {
		return
	}
	d := 10 * time.Minute
	if fault == BriefBefore || fault == BriefAfter {
		d = 5 * time.Second
	}
	until := time.Now().Add(d)
	w.nested++
	defer func() { w.nested-- }()
	w.drive(until, func() bool { return !w.restless && w.Settled() }) // once settled, it would only look
	w.Sleep(time.Until(until))
}

// drive runs processes, one after another as they crash, until done or the time is up.
func (w *World) drive(until time.Time, done func() bool) {
	process := w.boot()
	for !done() && time.Now().Before(until) {
		next, crashed := w.tick(process)
		if crashed {
			w.Sleep(time.Second)
			process = w.boot()
			continue
		}
		w.states = process.States()
		if done() {
			return
		}
		wait := max(next.Sub(w.Now()), time.Millisecond)
		w.Sleep(min(wait, time.Until(until)))
	}
}

// tick has a process look at the estate once.
func (w *World) tick(r *running) (next time.Time, crashed bool) {
	if r.estate != w.estate {
		w.tell(r)
	}
	w.running = append(w.running, r)
	defer func() { w.running = w.running[:len(w.running)-1] }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var err error
		if next, err = r.Tick(r.ctx); err != nil {
			next = w.Now().Add(time.Second)
		}
	}()
	<-ended
	return next, r.dead
}

func (w *World) newRun() authority.RunID {
	w.enter()
	defer w.leave()
	w.runs++
	return runID(w.runs)
}

// enter and leave guard what is outside while several workers run; those that run alone need no guard.
func (w *World) enter() {
	if w.together {
		w.lock.Lock()
	}
}

func (w *World) leave() {
	if w.together {
		w.lock.Unlock()
	}
}

// kind is what the secret's upstream can do.
func (s *Secret) kind() upstream.Kind { return s.Upstream.Kind() }

func runID(number int) authority.RunID { return authority.RunID(fmt.Sprintf("run-%d", number)) }
