// SPDX-License-Identifier: Apache-2.0

// Package sim is a deterministic world for the engines: real orchestrator, handover, rotation, trigger and journal code
// over doubles of everything outside, in virtual time, with a fault at any outward call. After every effect it checks
// the invariants of package invariant.
//
// It runs inside a testing/synctest bubble, on one goroutine: a second engine runs while the first one stands still in
// the middle of a call, and so do people and foreigners (Event). So a schedule of faults, or a seed, replays exactly.
//
// Three ways of looking: Scenarios break every call of a workflow, one at a time; Short ones break every two; PlayYear
// lives through a year in which one call in a hundred is faulty. Mutants of the engines show that what it is there to
// find is found. Not simulated: two engines that truly run at the same instant, the real parts' own faults (their
// conformance suites do that), disks, and clocks that run at different rates. A schedule costs about a millisecond, a
// secret's year about twenty.
package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/journal"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// Fault is what happens to one outward call.
type Fault string

// The faults. Late ones take effect just before the call's deadline, when nobody waits for them any more.
const (
	None          Fault = ""
	CrashBefore   Fault = "crash-before"
	CrashAfter    Fault = "crash-after"
	Failed        Fault = "error"
	LostReply     Fault = "reply-lost"
	Hang          Fault = "hang"
	LateCrash     Fault = "late-after-crash"
	LateHang      Fault = "late-after-hang"
	BriefBefore   Fault = "second-engine-5s-before"
	BriefAfter    Fault = "second-engine-5s-after"
	LongBefore    Fault = "second-engine-10m-before"
	LongAfter     Fault = "second-engine-10m-after"
	callDeadline        = 20 * time.Second
	unboundedCall       = 30 * time.Second
)

// Faults are all of them but None.
var Faults = []Fault{
	CrashBefore, CrashAfter, Failed, LostReply, Hang, LateCrash, LateHang, BriefBefore, BriefAfter, LongBefore, LongAfter,
}

// crash is the panic by which a process dies.
type crash struct{}

var errInjected = errors.New("injected fault")

// Secret is one simulated secret with its account and its consumers.
type Secret struct {
	orchestrator.Secret
	Upstream  *upstreammemory.Upstream
	Consumers []*materializememory.Consumer
	Bootstrap secret.Value
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
	maxTimed      int                  // how many runs the clock alone may start in an hour
	restless      bool                 // second engines go on when nothing is going on

	// Calls are counted, and faults planned by their number, while counting. keep has points kept as well.
	counting, keep bool
	calls          int
	plan           func(call int, name string) Fault
	points         []Point
	last           lastCall
	late           []lateEffect

	process, processes int // the process that runs now, and how many there were
	nested             int // second engines now running
	states             map[authority.Path]orchestrator.State
	running            *orchestrator.Orchestrator // the process that ticks now

	events       []Event
	notes        []string // what people were told
	requests     int
	acknowledged map[string]authority.Path // requests by id, and the path each was for
	done         map[string]bool           // those that were on record as served

	// What was decoded or compared before.
	entries map[authority.Path]*cachedEntry
	decoded map[version]*journal.Entry
	pending map[secret.Value]secret.Value // candidates of pending entries, by entry
	fromGit map[secret.Value]bool         // whether a value equals its secret's bootstrap value

	Violations []invariant.Violation
	Checks     int
	Faulted    int
}

// cachedEntry saves decoding a journal entry that has not changed.
type cachedEntry struct {
	record authority.Record
	entry  *journal.Entry
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

// New returns an empty world in which randomness follows seed.
func New(seed uint64) *World {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	w := &World{
		secrets: map[authority.Path]*Secret{}, entries: map[authority.Path]*cachedEntry{}, pending: map[secret.Value]secret.Value{},
		fromGit: map[secret.Value]bool{}, log: ledger{}, random: rand.NewChaCha8(key), began: time.Now(),
		decoded: map[version]*journal.Entry{}, maxTimed: 1000, reconcile: time.Minute, acknowledged: map[string]authority.Path{}, done: map[string]bool{}, plan: func(int, string) Fault { return None },
	}
	w.store = authoritymemory.New(authoritymemory.Config{Incarnation: "incarnation-1", Clock: w.Now})
	return w
}

// Now is the wall clock of the machine that the engines and the authority run on.
func (w *World) Now() time.Time { return time.Now().Add(w.skew) }

// call is the one door through which engines reach the outside. path is "" when no secret is concerned.
func (w *World) call(ctx context.Context, name string, path authority.Path, effect func(context.Context) error) error {
	err := w.pass(ctx, name, path, effect)
	w.happen()
	return err
}

func (w *World) pass(ctx context.Context, name string, path authority.Path, effect func(context.Context) error) error {
	if w.latency > 0 {
		w.Sleep(w.latency)
	}
	w.land()
	fault := None
	if w.counting {
		fault = w.plan(w.calls, name)
		w.calls++
		if this := (lastCall{w.process, time.Now(), fault}); w.keep {
			w.points = append(w.points, Point{name, w.last == lastCall{this.process, this.at, None}})
			w.last = this
		}
	}
	if fault != None {
		w.Faulted++
	}
	switch fault {
	case CrashBefore:
		panic(crash{})
	case CrashAfter:
		_ = w.effect(ctx, path, effect)
		panic(crash{})
	case Failed:
		return errInjected
	case LostReply:
		_ = w.effect(ctx, path, effect)
		return errInjected
	case Hang:
		return w.hang(ctx)
	case LateCrash:
		w.later(ctx, name, path, effect)
		panic(crash{})
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
	}
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
	first := w.process
	w.nested++
	defer func() { w.nested--; w.process = first }()
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

func (w *World) tick(process *orchestrator.Orchestrator) (next time.Time, crashed bool) {
	before := w.running
	w.running = process
	defer func() {
		w.running = before
		if fault := recover(); fault != nil {
			if _, is := fault.(crash); !is {
				panic(fault)
			}
			crashed = true
		}
	}()
	next, err := process.Tick(context.Background())
	if err != nil {
		next = w.Now().Add(time.Second)
	}
	return next, false
}

func (w *World) newRun() authority.RunID {
	w.runs++
	return authority.RunID(fmt.Sprintf("run-%d", w.runs))
}

// kind is what the secret's upstream can do.
func (s *Secret) kind() upstream.Kind { return s.Upstream.Kind() }
