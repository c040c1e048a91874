// SPDX-License-Identifier: Apache-2.0

// Package orchestrator decides what happens to each secret, and when: the handover, then rotations, then keeping
// consumers on the current version. It is the only caller of handover and rotation. decide.go says what comes next, and
// holds.go what stands before a run, from what is known and without effects; act.go and begin.go do it.
//
// It stores nothing: in memory it only has the time of the next look at each secret. If that is lost, each secret is
// looked at once more. A tick costs one listing of open requests with a read for each, and one journal read for each
// secret that is due; the first tick after Use costs one more listing of the journal. Between runs, the current value
// is tested at its upstream every verifyEvery of its policy: one sign-in, one read and one write to the journal each
// time.
package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
)

// Secret is one declared secret with everything that acting on it needs.
type Secret struct {
	rotation.Subject
	// Handover is set when the first value comes from an encrypted document in Git.
	Handover *handover.Subject
	// Derived is set when the value is computed from others.
	Derived *derivation.Subject
	// First: Custody makes the first value.
	First bool
	// Stagger keeps its runs apart from those of others; nil when nothing does.
	Stagger *Stagger
	// Elsewhere: another platform or environment rotates it; here it is only delivered.
	Elsewhere bool
	// Broken says why this machine cannot act on it, none when it can.
	Broken reason.Reason
	// Former are the names it had before.
	Former []string
	// Leaving: the estate no longer declares it, and this is how it was declared last.
	Leaving bool
	// SentTo is the name of the upstream that its values are sent to, "" for none. Allowed: a grant says that they may be,
	// whichever upstream its history names.
	SentTo  string
	Allowed bool
	// Places are noted in its history before its values are first given to anybody; nil notes nothing. See grant.Places.
	Places []string
	// ExpiresAt is when the issuer ends the value, as declared; zero for no such time.
	ExpiresAt time.Time
	// Digest is of all that acting on it is made of: two secrets with the same need not be told apart. "" is like no other.
	Digest string
	// Reads are the paths of other secrets whose values are used when this one is acted on: inputs, and the admin
	// credential of its upstream.
	Reads []authority.Path
	// Watched: somebody who watches its consumers, see Watching, sees all that a look at them would.
	Watched bool
}

// Values reads the value of record.
type Values interface {
	Read(ctx context.Context, path authority.Path) (authority.Versioned, error)
}

// Queue is the durable queue of requests; see trigger.
type Queue interface {
	Open(ctx context.Context) ([]trigger.Request, error)
	Close(ctx context.Context, id string, run authority.RunID) error
	Prune(ctx context.Context) error
}

// Config wires an Orchestrator.
type Config struct {
	Journal  journal.Listing
	Values   Values
	Queue    Queue
	Clock    rotation.Clock
	Record   audit.Recorder
	Handover *handover.Engine
	Rotation *rotation.Engine
	// Derivation may be nil where no secret is derived.
	Derivation *derivation.Engine
	Now        func() time.Time
	NewRun     func() authority.RunID
	// MaxTimedPerHour caps what the clock alone starts; see CapTimed. 0 means 100.
	MaxTimedPerHour int
	// Reconcile is how often consumers are looked at when nothing else happens: each secret's at a time of its own. 0 means 10
	// minutes.
	Reconcile time.Duration
	// Calm is the same for secrets that are Watched, while somebody watches. 0 means one hour.
	Calm time.Duration
	// Workers act on different secrets at once; those who wait for something outside are not counted. 0 means 1, in order
	// of path.
	Workers int
	// Finished, when set, is told whenever a look has ended.
	Finished func()
	// Looked, when set, is told what a look that has ended saw, unless the secret is no longer declared.
	Looked func(State)
	// Stopping, when set, says that the process is to end: no other secret is begun.
	Stopping func() bool
	// Barred, when set, says why nothing may be seeded, rotated or delivered (the authority is recovering). It may end.
	Barred func() string
}

// State is what the orchestrator last saw of one secret.
type State struct {
	Secret string         `json:"secret"`
	Path   authority.Path `json:"path"`
	// Waiting says why the secret waits, none when it does not.
	Waiting reason.Reason `json:"waiting,omitzero"`
	// Drift says which consumer was found to have left the version that it held, none when none did. It was given it again.
	Drift reason.Reason `json:"drift,omitzero"`
	// Looked is when it was last looked at, Again when it will be. Regular says that Again is no more than the next of the looks that
	// each secret gets now and then: nothing is known to come by then.
	Looked  time.Time `json:"looked,omitzero"`
	Again   time.Time `json:"again,omitzero"`
	Regular bool      `json:"-"`

	handedOver bool
	failures   int
	reconciled time.Time         // when consumers were last found to hold the version of record, zero when that is not known
	sweep      time.Time         // when they are looked at next, unless something happens
	drifted    map[string]string // how consumers were found to differ at the last look
	owed       []audit.Event     // what is to go on record and could not yet
	asked      map[string]bool   // the open requests that the last look knew of
	stood      string            // the live run of a member of a group and its step, as the others were told last
	checkAgain time.Time         // a sign-in decided nothing; none is tried before
	checkAt    time.Time         // when the next sign-in between runs is due, zero when none is
	unknowns   int               // how many did not, in a row
	rank       outward.Rank      // of what it is in the middle of
	woken      bool              // somebody wants it looked at again, though a look may be under way
	doubted    bool              // its consumers are to be looked at again, however lately they were found right
	declared   int               // the declaration that it is of: a look that began under another tells nothing of consumers
	pinned     int               // the declaration whose upstream the journal is known to name
}

// hold notes why the secret waits, and when it is looked at again; zero leaves that to what holds it.
func (s *State) hold(why reason.Reason, again time.Time) {
	s.Waiting, s.Again, s.Regular = why, again, false
}

// holdUntilSwept is hold for what no time ends: the next regular look will do.
func (o *Orchestrator) holdUntilSwept(s *State, why reason.Reason) {
	s.Waiting, s.Again, s.Regular = why, o.sweepAfter(s.Path, o.Now()), true
}

// unsettle has consumers looked at again: they may not hold what is of record now.
func (s *State) unsettle() { s.reconciled = time.Time{} }

// reasonOf is why an error of what was done with s has it wait.
func (s Secret) reasonOf(err error) reason.Reason {
	why := reason.Of(err)
	switch {
	case errors.Is(err, outward.ErrChanged):
		return reason.New(reason.EstateChanged, nil)
	case why.None():
		return reason.New(reason.LookFailed, nil).Because(s.Explained(err))
	}
	why.Cause = upstream.Named(why.Cause, s.Subject.Secret, s.Admin)
	return why
}

// Orchestrator drives all secrets of one estate.
type Orchestrator struct {
	Config

	mu      sync.Mutex
	secrets map[authority.Path]Secret
	sets    map[string]map[authority.Path]bool // those of each stagger set
	states  map[authority.Path]*State
	queue   queue
	began   time.Time   // what the queue's places are counted from
	timed   []time.Time // starts of timed runs within the last hour
	primed  bool
	pruned  time.Time // when requests that were closed long ago were forgotten last
	uses    int       // counts Use
	// wants says why members of groups want their leader to begin. They are found again after a crash.
	wants map[authority.Path]want
	busy  map[authority.Path]Secret    // those that somebody looks at now, as they were declared
	since map[authority.Path]time.Time // of looks under way, when they began; see Unended
	// misplaced says why declared secrets are not the ones that the history at their paths is of; see place. placed is the
	// use that it was found for.
	misplaced map[authority.Path]reason.Reason
	// moved says the same of those whose history names another upstream.
	moved  map[authority.Path]reason.Reason
	placed int
	// confirmed is the use for which no history that there is was missed, and written is what a listing must show to
	// confirm the use writtenFor.
	confirmed, writtenFor int
	written               *journal.Entry
	comparing             *outward.Gate // see oneAtATime
	looks                 sync.WaitGroup
	places                *outward.Gate
	watching              bool // see Watching
	// planning lets one of each stagger set plan its run at once.
	planning map[string]*outward.Gate
	pausing
}

// New returns an orchestrator without secrets; Use gives it some.
func New(config Config) *Orchestrator {
	config.MaxTimedPerHour = cmp.Or(config.MaxTimedPerHour, defaultTimedPerHour)
	if config.Reconcile == 0 {
		config.Reconcile = 10 * time.Minute
	}
	config.Calm = max(cmp.Or(config.Calm, time.Hour), config.Reconcile)
	if config.Barred == nil {
		config.Barred = func() string { return "" }
	}
	return &Orchestrator{
		Config: config, busy: map[authority.Path]Secret{}, since: map[authority.Path]time.Time{}, places: outward.NewGate(config.Workers, 0), comparing: outward.NewGate(1, 0), planning: map[string]*outward.Gate{},
		secrets: map[authority.Path]Secret{}, sets: map[string]map[authority.Path]bool{}, states: map[authority.Path]*State{}, wants: map[authority.Path]want{},
	}
}

// CapTimed sets how many timed runs may begin within an hour, as the estate says. 0 means 100.
func (o *Orchestrator) CapTimed(perHour int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.MaxTimedPerHour = cmp.Or(perHour, defaultTimedPerHour)
}

const (
	defaultTimedPerHour = 100
	// pruneEvery is how often requests that were closed long ago are forgotten.
	pruneEvery = 24 * time.Hour
)

// Secrets returns the declared secrets, in no order.
func (o *Orchestrator) Secrets() []Secret {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.secrets))
}

// Abort asks for the live run id of the secret at path to be taken back; see rotation.Engine.Abort.
func (o *Orchestrator) Abort(ctx context.Context, path authority.Path, id authority.RunID, by, why string) error {
	return o.onLive(ctx, path, func(s Secret) error { return o.Rotation.Abort(ctx, s.Subject, id, by, why) })
}

// Force waives what the live run id of the secret at path is missing now, and says what; see rotation.Engine.Force.
func (o *Orchestrator) Force(ctx context.Context, path authority.Path, id authority.RunID, by, reason string) (waived []string, err error) {
	err = o.onLive(ctx, path, func(s Secret) error {
		waived, err = o.Rotation.Force(ctx, s.Subject, id, by, reason)
		return err
	})
	return waived, err
}

// Supply hands in a value for the secret at path, to the live run that waits for it or to one that begins with it; see
// rotation.Engine.Supply. It returns the run. What is derived, or still to be handed over, takes none.
func (o *Orchestrator) Supply(ctx context.Context, path authority.Path, by, reason string, v secret.Value) (run authority.RunID, err error) {
	err = o.onLive(ctx, path, func(s Secret) error {
		if s.Derived != nil {
			return fmt.Errorf("supplying a value to %s: it is computed from others; supply those: %w", s.Secret, rotation.ErrNotAllowed)
		}
		if s.Handover != nil {
			entry, err := o.Journal.Load(ctx, path)
			if err != nil {
				return err
			}
			if entry.Tombstone == nil {
				return fmt.Errorf("supplying a value to %s: it is still to be handed over from Git; seal it instead: %s: %w", s.Secret, next.Seal(s.Secret, "FIELD"), rotation.ErrNotNow)
			}
		}
		run, err = o.Rotation.Supply(ctx, s.Subject, by, reason, v)
		return err
	})
	return run, err
}

// onLive repeats a change of a journal entry that a tick may be changing too, and has the secret looked at.
func (o *Orchestrator) onLive(ctx context.Context, path authority.Path, change func(Secret) error) error {
	s, err := o.enter(path)
	if err != nil {
		return err
	}
	defer o.leave(path)
	held, err := o.Held(ctx, s)
	if err == nil && held.None() {
		held, err = o.admit(ctx, s)
	}
	if err != nil {
		return err
	}
	if !held.None() {
		return &reason.Error{Doing: "changing " + s.Secret, Reason: held, Class: rotation.ErrNotAllowed}
	}
	for range 5 {
		if err = change(s); !errors.Is(err, journal.ErrSuperseded) {
			break
		}
	}
	o.Wake(path)
	return err
}

// Wake has the secret looked at on the next tick.
func (o *Orchestrator) Wake(path authority.Path) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state := o.states[path]; state != nil {
		state.woken = true
		o.schedule(path)
	}
}

// Doubt has the consumers of the secret looked at on the next tick, however lately they were found right.
func (o *Orchestrator) Doubt(path authority.Path) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state := o.states[path]; state != nil {
		state.woken, state.doubted = true, true
		o.schedule(path)
	}
}

// WakeAll has every secret looked at on the next tick, its consumers included.
func (o *Orchestrator) WakeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.uses++ // a look that is under way tells nothing of consumers
	for path, state := range o.states {
		state.woken, state.reconciled, state.checkAgain, state.declared = true, time.Time{}, time.Time{}, o.uses
		o.schedule(path)
	}
}

// States returns what was last seen of each secret, by path.
func (o *Orchestrator) States() map[authority.Path]State {
	o.mu.Lock()
	defer o.mu.Unlock()
	states := make(map[authority.Path]State, len(o.states))
	for path, state := range o.states {
		states[path] = *state
	}
	return states
}

// Tick looks at every secret whose time has come, waits until all those looks have ended, and returns when the next
// secret's time comes. Faults of one secret are kept in its State and never stop the others; the error is of what all
// need: the queue, the journal, the clock.
func (o *Orchestrator) Tick(ctx context.Context) (time.Time, error) {
	next, err := o.Begin(ctx)
	o.Wait()
	if err != nil || o.Barred() != "" {
		return next, err
	}
	return o.next(), ctx.Err()
}

// Begin is Tick without the wait: where there are several workers, a secret whose upstream hangs holds up no other one.
// Finished is told of each look that ends, after which Begin is worth calling again.
func (o *Orchestrator) Begin(ctx context.Context) (time.Time, error) {
	later := o.Now().Add(o.Reconcile)
	if o.Barred() != "" {
		return later, nil
	}
	if err := errors.Join(o.prime(ctx), o.place(ctx)); err != nil {
		return later, err
	}
	jumped, err := o.Clock.Check(ctx)
	if err != nil {
		return later, err
	}
	open, err := o.Queue.Open(ctx)
	if err != nil {
		return later, err
	}
	pruning := o.prune(ctx)
	requests := map[authority.Path][]trigger.Request{}
	for _, request := range open {
		requests[request.Path] = append(requests[request.Path], request)
	}
	for _, s := range o.ready(requests) {
		turn := func(ctx context.Context) {
			defer o.finish(s.Path)
			if o.begins() {
				o.look(ctx, s, requests[s.Path], jumped)
			}
		}
		if o.Workers <= 1 {
			turn(ctx)
			continue
		}
		rank := o.rankOf(s.Path)
		o.looks.Go(func() {
			if o.places.Enter(ctx, rank) != nil {
				o.finish(s.Path)
				return
			}
			defer o.places.Leave()
			turn(outward.AtPlace(ctx, o.places, rank))
		})
	}
	return o.next(), errors.Join(pruning, ctx.Err())
}

// begins reports whether a look may begin, which may have waited long for its turn. One that may not is due at once when looks begin
// again.
func (o *Orchestrator) begins() bool {
	if o.Stopping != nil && o.Stopping() || o.Barred() != "" {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pauses == 0
}

// prune forgets requests that were closed long ago, now and then. A fault of that holds up no secret.
func (o *Orchestrator) prune(ctx context.Context) error {
	o.mu.Lock()
	pruned := o.pruned
	o.mu.Unlock()
	if o.Now().Sub(pruned) < pruneEvery {
		return nil
	}
	if err := o.Queue.Prune(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pruned = o.Now()
	return nil
}

// Wait returns once no look is under way.
func (o *Orchestrator) Wait() { o.looks.Wait() }

// rankOf is that of what the last look at path was in the middle of.
func (o *Orchestrator) rankOf(path authority.Path) outward.Rank {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state := o.states[path]; state != nil {
		return state.rank
	}
	return outward.First
}

func (o *Orchestrator) finish(path authority.Path) {
	o.mu.Lock()
	delete(o.busy, path)
	delete(o.since, path)
	o.schedule(path)
	o.endedOne()
	o.mu.Unlock()
	if o.Finished != nil {
		o.Finished()
	}
}

// prime learns from the journal what earlier processes left: the timed runs that they started within the last hour, and
// which runs are under way.
func (o *Orchestrator) prime(ctx context.Context) error {
	o.mu.Lock()
	primed := o.primed
	o.mu.Unlock()
	if primed {
		return nil
	}
	entries, err := o.Journal.All(ctx)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, entry := range entries {
		if entry.Live != nil && entry.Live.Trigger.Kind == trigger.Time {
			o.timed = append(o.timed, entry.Live.Started)
		}
		if state := o.states[entry.Path]; state != nil && entry.Live != nil && entry.Live.Step != journal.Planned {
			state.rank = outward.Begun // what it has changed outside the first look finds out
		}
		if entry.Last != nil && entry.Last.Trigger.Kind == trigger.Time {
			o.timed = append(o.timed, entry.Last.Started)
		}
	}
	o.primed = true
	return nil
}

// declaredAt reports whether the secret at path is still bound as the declaration of that number said. One that is declared no
// more is: what was begun of it is finished.
func (o *Orchestrator) declaredAt(path authority.Path, declaration int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.states[path]
	return state == nil || state.declared == declaration
}

// look does what one secret needs now and notes when to look again.
func (o *Orchestrator) look(ctx context.Context, s Secret, requests []trigger.Request, jumped string) {
	o.mu.Lock()
	state, declared := o.states[s.Path]
	if !declared {
		o.mu.Unlock()
		return
	}
	seen := *state
	state.woken, state.doubted = false, false
	seen.Looked = o.Now()
	o.since[s.Path] = seen.Looked
	o.mu.Unlock()

	seen.hold(reason.Reason{}, time.Time{})
	seen.asked = nil
	for _, request := range requests {
		if seen.asked == nil {
			seen.asked = make(map[string]bool, len(requests))
		}
		seen.asked[request.ID] = true
	}
	err := o.act(outward.While(ctx, func() bool { return o.declaredAt(s.Path, seen.declared) }), s, requests, jumped, &seen)
	switch {
	case errors.Is(err, journal.ErrSuperseded), errors.Is(err, journal.ErrBehind): // look again soon, nothing is wrong
		seen.Again, seen.Regular = o.Now().Add(time.Second), false
	case err != nil:
		seen.failures++
		after := min(5*time.Minute, time.Second<<min(seen.failures, 9))
		if later, says := errors.AsType[*upstream.Later](err); says {
			after = max(after, later.After)
		}
		seen.hold(s.reasonOf(err), o.Now().Add(after))
	default:
		seen.failures = 0
	}
	if o.note(s.Path, &seen) && o.Looked != nil {
		o.Looked(seen)
	}
}

// note keeps what a look saw, and reports whether the secret is still declared.
func (o *Orchestrator) note(path authority.Path, seen *State) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.states[path]
	if state == nil {
		return false
	}
	if state.declared != seen.declared {
		seen.Secret, seen.declared, seen.reconciled = state.Secret, state.declared, time.Time{}
	}
	seen.woken, seen.doubted = state.woken, seen.doubted || state.doubted
	*state = *seen
	return true
}
