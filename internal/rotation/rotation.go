// SPDX-License-Identifier: Apache-2.0

// Package rotation decides when a secret is due, and carries out its run from planned to completed.
//
// Guaranteed, whatever crashes, hangs or runs at the same time: the journal names an effect before the effect happens.
// The old credential is revoked only after every declared consumer has proved the new version at the level that it
// needs, the settle time has passed, and the upstream has accepted the new credential right before. A value at a
// secret's path is one that its upstream accepted at most promoteWithin before it was written there. A second engine
// loses every compare-and-set and stops. Not guaranteed: that a call has no effect after its deadline, at an upstream that does not enforce deadlines; the
// upstream's page says so.
//
// If the upstream or a consumer can tell how far a run has come, nothing is written. So a timed run without problems
// writes the journal four times: staged (with the candidate and the old value), verified (from here on it only goes
// forward), before revoking, and completed (without the values). With the promoted value and the destroyed one that is
// six writes to the authority. Planning takes a write of its own if the upstream creates the credential, if the group
// or stagger set waits, or if the run cannot be staged at once; a credential that the upstream created takes one more.
// In addition: two changes and four sign-ins at the upstream (one more before the old one is revoked, because what was
// verified may have been lost since), and one read of the marker, if accounts have one; one delivery and three proofs
// for each consumer; eight events. Tests here and in internal/sim count them.
package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Authority is what a run needs of the authority that holds the values.
type Authority interface {
	authority.Values
	// DigestKey is authority.Store's.
	DigestKey(ctx context.Context, path authority.Path) ([]byte, error)
}

// Journal is one document per secret under compare-and-set. LoadHeld and SaveHeld are Load and Save with the values of the run.
type Journal interface {
	journal.Entries
	LoadHeld(ctx context.Context, path authority.Path) (*journal.Held, error)
	SaveHeld(ctx context.Context, held *journal.Held) error
}

// Escrow holds candidates, encrypted to the root, outside the authority. Deposit is durable before it returns and
// idempotent by run. Only candidates of admin credentials need it.
type Escrow interface {
	Deposit(ctx context.Context, path authority.Path, run authority.RunID, candidate secret.Value) error
}

// Clock says "" while the wall clock can be believed, else what happened to it; see trigger.Clock.
type Clock interface {
	Check(ctx context.Context) (string, error)
}

// Consumer is a declared consumer and the proof level that revocation needs of it.
type Consumer struct {
	materialize.Consumer
	Needs materialize.Level
	// Group are the consumers that fail together, as a folder and a reload; see outward.Call.
	Group string
}

// Subject is one secret with everything a run of it touches.
type Subject struct {
	Secret string
	Path   authority.Path
	// Upstream is nil when nothing can make a successor; such a secret is only delivered.
	Upstream upstream.Upstream
	// Server are the upstreams that fail together; see outward.Call.
	Server    string
	Consumers []Consumer
	Policy    journal.Policy
	// AllowInterruption must be set for overwrite kinds.
	AllowInterruption bool
	// Escrow is set for admin credentials.
	Escrow Escrow
	// Admin is the name of the secret that its upstream is opened with, "" where that is not one of the estate's.
	Admin string
	// Opens asks whether a value opens what the secret is the admin credential of; nil where that cannot be asked. It changes
	// nothing.
	Opens func(ctx context.Context, v secret.Value) (upstream.Verdict, error)
	// Suspended: no new run is planned.
	Suspended bool
	// PlanOnly: Plan asks the upstream nothing, which was found ready, and does not stage the run as well: others wait until it has
	// planned.
	PlanOnly bool
	// Group is set for secrets that rotate as one.
	Group *Group
}

// Explained is an error of the secret's upstream with the operator's next move, and with the names that the upstream does
// not know.
func (s Subject) Explained(err error) string {
	return upstream.Named(upstream.Explained(err), s.Secret, s.Admin)
}

// unfit is the first consumer that v can never be delivered to, and why.
func (s Subject) unfit(v secret.Value) (consumer string, err error) {
	for _, c := range s.Consumers {
		if err := c.Fits(v); err != nil {
			return c.Name(), err
		}
	}
	return "", nil
}

// Config wires an Engine.
type Config struct {
	Authority Authority
	Journal   Journal
	Record    audit.Recorder
	Now       func() time.Time
	NewRun    func() authority.RunID
	// Observe, when set, is told of each step as a process begins it: for logs and metrics, never for decisions.
	Observe func(secret string, run authority.RunID, step journal.Step, resumed bool)
	// Stopping, when set, says that the process is to end: the step in hand is finished and no other begun.
	Stopping func() bool
	// Clock guards what is dated by upstreams; nil means that Now can always be believed.
	Clock Clock
	// Calls bounds what is asked of parts outside; nil means by themselves. All engines of a process share them.
	Calls *outward.Calls
}

// Engine takes runs forward. It keeps no values beyond the run in hand and can be lost at any moment.
type Engine struct {
	Config

	mu   sync.Mutex
	runs map[authority.RunID]*evidence
	// touched are the runs that a person changed while a look at them may have been under way.
	touched map[authority.RunID]bool
	// wrong is when a sign-in to a path's upstream was refused last. One that this process has not seen is taken to be as
	// late as its start.
	wrong map[authority.Path]time.Time
	began time.Time
	// cleaned are the last runs whose spent values this process has seen destroyed.
	cleaned map[authority.Path]authority.RunID
}

// New returns an engine.
func New(config Config) *Engine {
	if config.Calls == nil {
		config.Calls = outward.New(config.Now)
	}
	return &Engine{
		Config: config, runs: map[authority.RunID]*evidence{}, touched: map[authority.RunID]bool{}, wrong: map[authority.Path]time.Time{}, began: config.Now(),
		cleaned: map[authority.Path]authority.RunID{},
	}
}

// Outlook is where a run stands after Advance.
type Outlook struct {
	// Run is "" when the secret has no live rotation.
	Run authority.RunID
	// Ended is how the run ended when this call closed it, "" when it did not.
	Ended journal.Result
	// Waiting says why the run waits, and Again when looking again is worth it.
	Waiting reason.Reason
	Again   time.Time
	// Rank is how soon others should let it go on.
	Rank outward.Rank
}

// Errors of Plan. Each says that nothing was changed.
var (
	// ErrNotNow: a run may be planned later; the message says why.
	ErrNotNow = errors.New("not now")
	// ErrNotAllowed: this secret cannot be rotated as declared.
	ErrNotAllowed = errors.New("not allowed")
)

// Plan opens a run and returns its id. It fails with ErrNotNow while another run is live or a dead one's call may
// still land, and with journal.ErrSuperseded when another engine was quicker. Of a group, only the leader's run is
// planned; the others Join it.
func (e *Engine) Plan(ctx context.Context, s Subject, trigger journal.Trigger) (authority.RunID, error) {
	if s.Group != nil && s.Path != s.Group.Leader {
		return "", fmt.Errorf("planning run of %s: it begins with its group %s: %w", s.Secret, s.Group.Name, ErrNotNow)
	}
	if err := s.reversible(); err != nil {
		return "", err
	}
	return e.plan(ctx, s, trigger, nil)
}

// Join opens the run of a member of a group whose leader's run is led. It fails as Plan does.
func (e *Engine) Join(ctx context.Context, s Subject, trigger journal.Trigger, led *journal.Run) (authority.RunID, error) {
	return e.plan(ctx, s, trigger, led)
}

func (e *Engine) plan(ctx context.Context, s Subject, trigger journal.Trigger, led *journal.Run) (authority.RunID, error) {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return "", err
	}
	entry := &held.Entry
	if s.Upstream != nil && !s.PlanOnly {
		if err := e.Ready(ctx, s); err != nil {
			return "", s.refuse(reason.New(reason.UpstreamNotReady, nil).Because(s.Explained(err)), ErrNotNow)
		}
	}
	now := e.Now()
	handedIn := trigger.Kind == Supplied
	switch {
	case s.Upstream == nil && !handedIn:
		return "", s.refuse(reason.New(reason.NoSuccessor, reason.Args{"supply": s.Secret}), ErrNotAllowed)
	case entry.Live != nil:
		return "", fmt.Errorf("planning run of %s: run %s is live: %w", s.Secret, entry.Live.ID, ErrNotNow)
	case now.Before(entry.QuietUntil):
		if err := e.Quieten(ctx, s, entry); err != nil {
			return "", err
		}
		return "", s.refuse(reason.New(reason.LastRunCallPending, nil).Till(entry.QuietUntil), ErrNotNow)
	case s.Suspended:
		return "", fmt.Errorf("planning run of %s: suspended: %w", s.Secret, ErrNotAllowed)
	case !handedIn && s.Upstream.Kind().Capability == upstream.Overwrite && !s.AllowInterruption:
		return "", s.refuse(reason.New(reason.InterruptionNotAllowed, reason.Args{"kind": s.Upstream.Kind().Name}), ErrNotAllowed)
	}
	_ = e.Clean(ctx, entry) // what fails stays owed; see close
	base := authority.Version(0)
	switch record, err := e.Authority.Read(ctx, s.Path); {
	case err == nil && entry.Current != nil && *entry.Current != record.ID:
		return "", s.refuse(reason.New(reason.ValueOverwritten, reason.Args{"found": record.ID.String(), "version": entry.Current.String()}), ErrNotAllowed)
	case err == nil && entry.Current == nil && entry.Gone != nil && record.ID.Number <= entry.Gone.Number: // it was destroyed
		return "", fmt.Errorf("planning run of %s: %w", s.Secret, journal.ErrBehind)
	case err == nil:
		base = record.ID.Number
	case !errors.Is(err, authority.ErrNotFound):
		return "", err
	case entry.Current != nil:
		return "", s.refuse(reason.New(reason.ValueGone, reason.Args{"version": entry.Current.String()}), ErrNotAllowed)
	}
	entry.Rename(s.Secret)
	policy := s.Policy
	entry.Policy = &policy
	entry.Live = &journal.Run{
		ID: e.NewRun(), Workflow: journal.Rotation, Step: journal.Planned, Trigger: trigger,
		Started: now, Policy: policy, Base: base,
	}
	compromised(entry.Live, trigger)
	if entry.Gone != nil && base == 0 { // it begins anew after what was destroyed
		entry.Live.Over = entry.Gone.Number
	}
	if entry.Last != nil {
		entry.Live.Older = entry.Last.Older
	}
	switch run := entry.Live; {
	case led != nil:
		run.Group, run.Leader, run.Members = led.Group, led.Leader, led.Members
	case s.Group != nil && !handedIn:
		run.Group, run.Leader = run.ID, s.Path
		for _, member := range s.Group.Members {
			run.Members = append(run.Members, member.Path)
		}
	}
	if err := e.open(ctx, s, held); err != nil {
		return "", err
	}
	return entry.Live.ID, nil
}

// refuse says why no run of s is planned.
func (s Subject) refuse(why reason.Reason, class error) error {
	return &reason.Error{Doing: "planning run of " + s.Secret, Reason: why, Class: class}
}

// open stores the run that was just planned. Where nothing is issued and nobody waits it is staged with the same write,
// unless its first questions have no answer yet: then Advance asks them again.
func (e *Engine) open(ctx context.Context, s Subject, held *journal.Held) error {
	a := &attempt{Engine: e, s: s, document: held, entry: &held.Entry}
	a.attach(&evidence{begun: true, recorded: map[journal.Step]bool{}})
	staged := false
	if a.run.Group == "" && a.run.Trigger.Kind != Supplied && !a.kind.Issues && !s.PlanOnly {
		a.opening = true
		stop, err := a.prepare(ctx)
		a.opening = false
		if ctx.Err() != nil {
			return ctx.Err()
		}
		staged = stop == nil && err == nil
	}
	if err := a.Journal.SaveHeld(ctx, held); err != nil {
		return err
	}
	if staged {
		a.observe(journal.Planned)
		a.reach(journal.Staged)
		a.seen.begun, a.seen.settled = false, a.run.CallBy // no call was made yet
	} else {
		a.seen.fresh, a.seen.polls = false, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[a.run.ID] = a.seen
	return nil
}

// Clean destroys the values of the versions that the last run replaced. It may be called at any time, by any process; one
// that saw it done does nothing.
func (e *Engine) Clean(ctx context.Context, entry *journal.Entry) error {
	last := entry.Last
	if last == nil || len(last.Spent) == 0 {
		return nil
	}
	e.mu.Lock()
	done := e.cleaned[entry.Path] == last.Run
	e.mu.Unlock()
	if done {
		return nil
	}
	for _, number := range last.Spent {
		if err := e.Authority.Destroy(ctx, entry.Path, number); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cleaned[entry.Path] = last.Run
	return nil
}

// undestroyed are the versions that the last run replaced and that this process has not seen destroyed.
func (e *Engine) undestroyed(entry *journal.Entry) []authority.Version {
	e.mu.Lock()
	defer e.mu.Unlock()
	if entry.Last == nil || e.cleaned[entry.Path] == entry.Last.Run {
		return nil
	}
	return slices.Clone(entry.Last.Spent)
}

// Candidate is what the live run of the secret at path is to promote, empty before it has one.
func (e *Engine) Candidate(ctx context.Context, path authority.Path) (secret.Value, error) {
	held, err := e.Journal.LoadHeld(ctx, path)
	if err != nil || held.Pending == nil || held.Live == nil || held.Live.ID != held.Pending.Run {
		return secret.Value{}, err
	}
	return held.Pending.Candidate, nil
}

// Quieten shortens the time in which a call of the last run of s may still land to what one can take: where it was longer,
// the clock was set back. Where it is not known what the upstream can do, it stays as long.
func (e *Engine) Quieten(ctx context.Context, s Subject, entry *journal.Entry) error {
	if !s.PlanOnly && e.Ready(ctx, s) != nil {
		return nil
	}
	longest := e.Now().Add(deadlineOf(s))
	if !entry.QuietUntil.After(longest) {
		return nil
	}
	entry.QuietUntil = longest
	return e.Journal.Save(ctx, entry)
}

// Abort asks for the live run id to be taken back, with the requests that it took; only a person starts another, also where
// it was being taken back already. Once its candidate was verified a run only goes forward, and where the upstream cannot
// undo as soon as a call may have landed: ErrNotAllowed.
func (e *Engine) Abort(ctx context.Context, s Subject, id authority.RunID, by, why string) error {
	held, run, err := e.live(ctx, s, id)
	if err != nil {
		return err
	}
	switch run.Step {
	case journal.Undoing: // by itself, or aborted before
		if run.Aborted {
			return nil
		}
		run.Undo, run.Aborted = fmt.Sprintf("%s; aborted by %s: %s", run.Undo, by, why), true
		return e.Journal.SaveHeld(ctx, held)
	case journal.Planned:
	case journal.Staged:
		if s.Upstream != nil && s.Upstream.Kind().Undo == upstream.Impossible {
			return fmt.Errorf("aborting run %s: %s cannot undo what a call of it may have done, so it only goes forward: %w", run.ID, s.Upstream.Kind().Name, ErrNotAllowed)
		}
	case journal.Applied:
		if run.Group != run.ID {
			return fmt.Errorf("aborting run %s: its group counts on it; abort the run of %s, which leads: %w", run.ID, s.member(run.Leader).Secret, ErrNotAllowed)
		}
	default:
		return fmt.Errorf("aborting run %s: its candidate was verified, so it only goes forward: %w", run.ID, ErrNotAllowed)
	}
	run.Step, run.Undo, run.Aborted = journal.Undoing, fmt.Sprintf("aborted by %s: %s", by, why), true
	run.Forced, run.Waived = "", nil // it was for going forward
	return e.Journal.SaveHeld(ctx, held)
}

// live loads the live rotation, which must be run id: a person means the one that they have seen.
func (e *Engine) live(ctx context.Context, s Subject, id authority.RunID) (*journal.Held, *journal.Run, error) {
	entry, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return nil, nil, err
	}
	if entry.Live == nil || entry.Live.Workflow != journal.Rotation {
		return nil, nil, fmt.Errorf("%s has no live rotation: %w", s.Secret, ErrNotAllowed)
	}
	if entry.Live.ID != id {
		return nil, nil, fmt.Errorf("run %s is over; %s is live: %w", id, entry.Live.ID, ErrNotAllowed)
	}
	return entry, entry.Live, nil
}

// Advance takes the live run as far as it will go now. It is safe to call at any time, from any process: a run that
// another engine moved on comes back as journal.ErrSuperseded.
func (e *Engine) Advance(ctx context.Context, s Subject) (Outlook, error) {
	held, err := e.Journal.LoadHeld(ctx, s.Path)
	if err != nil {
		return Outlook{}, err
	}
	entry := &held.Entry
	if entry.Live == nil || entry.Live.Workflow != journal.Rotation {
		return Outlook{}, nil
	}
	a := &attempt{Engine: e, s: s, document: held, entry: entry}
	if a.attach(e.remember(entry.Live)); a.s.Upstream == nil {
		return Outlook{}, fmt.Errorf("advancing run %s: the estate no longer declares the upstream of %s: %w", entry.Live.ID, s.Secret, ErrNotAllowed)
	}
	outlook := Outlook{Run: a.run.ID}
	var stop *pause
	if err = a.ready(ctx, a.s, a.rank()); err != nil {
		stop, err = a.stuck(reason.UpstreamNotReady, err), nil
	} else if err = a.tighten(ctx); err == nil {
		stop, err = a.forward(ctx)
	}
	switch {
	case err != nil:
		e.doubt(a.run.ID) // nothing in memory is believed after an error; the parts are asked again
		return outlook, err
	case stop == nil:
		e.forget(a.run.ID)
		outlook.Ended = a.entry.Last.Result
		return outlook, nil
	}
	outlook.Rank = a.rank()
	outlook.Waiting, outlook.Again = stop.reason, e.Now().Add(stop.after)
	if err := a.tell(ctx, stop); err != nil {
		e.doubt(a.run.ID)
		return outlook, err
	}
	return outlook, nil
}

// attach makes the attempt one at the entry's live run.
func (a *attempt) attach(p *evidence) {
	a.run, a.seen = a.entry.Live, p
	a.secret, a.path, a.verifyEvery = a.s.Secret, a.s.Path, a.s.Policy.VerifyEvery
	a.deposits, a.clocked = a.s.Escrow != nil, a.Clock != nil
	if kind := a.run.Trigger.Kind; a.s.Upstream == nil && (kind == Supplied || kind == Adopted || kind == Reverted) {
		a.s.Upstream = supplied{}
	}
	if a.s.Upstream != nil {
		a.kind = a.s.Upstream.Kind()
		_, a.witness = a.s.Upstream.(upstream.Witness)
	}
}

// deadlineOf is the longest that a call of s can still land after it began.
func deadlineOf(s Subject) time.Duration {
	if s.Upstream == nil {
		return supplied{}.Kind().CallDeadline
	}
	return s.Upstream.Kind().CallDeadline
}

// hasPromoted reports whether what stands at path is the candidate of run.
func (e *Engine) hasPromoted(ctx context.Context, path authority.Path, run *journal.Run) (bool, error) {
	if len(run.Digest) == 0 {
		return false, nil
	}
	held, err := e.Authority.Read(ctx, path)
	if errors.Is(err, authority.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key, err := e.Authority.DigestKey(ctx, path)
	if err != nil {
		return false, err
	}
	return held.ID.Number == run.Follows()+1 && held.ID.Run == run.ID && slices.Equal(held.Value.Digest(key), run.Digest), nil
}
