// SPDX-License-Identifier: Apache-2.0

// Package handover moves one secret from its encrypted document in Git to the authority (secrets store), once. Its
// steps: read the value, check that it is complete, sign in with it if it has an upstream, plan, write, read back,
// write the tombstone, complete.
//
// Guaranteed: if it fails before the write, Git stays the authority and nothing was changed. After the write a run only
// goes forward. After the tombstone, this package never writes to the secret's path again, whatever Git, a restart or a
// deleted value says. If wrong sign-ins can lock the account, two of its own are never closer together than the
// upstream requires, even after crashes. Cost: one decryption, one sign-in, one value written and read back, three
// journal writes, and one more if wrong sign-ins can lock the account.
package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Authority is what handover needs of the authority; see authority.Store for each method's promise.
type Authority interface {
	Read(ctx context.Context, path authority.Path) (authority.Versioned, error)
	Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error)
	DigestKey(ctx context.Context, path authority.Path) ([]byte, error)
}

// Source decrypts a secret's bootstrap document in memory. It changes nothing and may be called again.
type Source interface {
	Value(ctx context.Context, secretName string) (secret.Value, error)
}

// Verifier signs in with a credential; see upstream.Upstream.
type Verifier interface {
	Kind() upstream.Kind
	Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error)
}

// Subject is one secret to hand over.
type Subject struct {
	Secret   string
	Path     authority.Path
	Document string
	// Upstream is nil, or one that does not verify, when nothing outside checks the value.
	Upstream Verifier
	// Server are the upstreams that fail together; see outward.Call.
	Server string
	Policy journal.Policy
	// Demands are the fields without which the value is of no use to those that read it: it is not handed over without them,
	// since what the document says later counts no more.
	Demands []upstream.Demand
}

// Config wires an Engine.
type Config struct {
	Authority Authority
	Journal   journal.Entries
	Record    audit.Recorder
	Source    Source
	Now       func() time.Time
	NewRun    func() authority.RunID
	// Calls bounds what is asked of parts outside; nil means by themselves. All engines of a process share them.
	Calls *outward.Calls
}

// Engine hands secrets over.
type Engine struct {
	Config

	mu    sync.Mutex
	wrong map[authority.Path]refusal
}

// refusal is a sign-in that counts as a wrong one: when, and with the value of which digest, nil when that is not known.
type refusal struct {
	at     time.Time
	digest []byte
}

// New returns an engine.
func New(config Config) *Engine {
	if config.Calls == nil {
		config.Calls = outward.New(config.Now)
	}
	return &Engine{Config: config, wrong: map[authority.Path]refusal{}}
}

var (
	// ErrOccupied: a value that no handover wrote stands at the path; a person decides which is right.
	ErrOccupied = errors.New("the authority already holds a value that no handover wrote")
	// ErrIncomplete: the bootstrap value lacks fields that are demanded of it; Git stays authoritative.
	ErrIncomplete = errors.New("the bootstrap value is incomplete")
	// ErrRefused: the upstream refuses the bootstrap value; Git stays authoritative.
	ErrRefused = errors.New("the upstream refuses the bootstrap value")
	// ErrUndecided: the upstream could not say whether it honours the bootstrap value; try again later.
	ErrUndecided = errors.New("the upstream cannot say whether it honours the bootstrap value")
	// ErrTooSoon: another sign-in, which may be refused, is too close to the last; an upstream.Later says for how long.
	ErrTooSoon = errors.New("one more wrong sign-in could lock the account out")
	// ErrInFlight: the document changed while an earlier write of it may still land; try again within a minute.
	ErrInFlight = errors.New("the document changed while its earlier value may still be on its way to the authority")
)

const askTimeout = 30 * time.Second

// Run hands s over, or resumes, or does nothing when the tombstone stands. It returns nil once the secret is handed
// over. Any error leaves a state from which calling it again is safe.
func (e *Engine) Run(ctx context.Context, s Subject) error {
	entry, err := e.Journal.Load(ctx, s.Path)
	if err != nil {
		return err
	}
	if entry.Tombstone == nil {
		if err := e.place(ctx, s, entry); err != nil {
			return fmt.Errorf("handing over %s: %w", s.Secret, explained(err))
		}
	}
	if entry.Live == nil || entry.Live.Workflow != journal.Handover {
		return nil
	}
	return e.consume(ctx, s, entry)
}

// explained gives err its reason, where the catalogue has one.
func explained(err error) error {
	var why reason.Reason
	switch {
	case !reason.Of(err).None():
		return err
	case errors.Is(err, ErrOccupied):
		why = reason.New(reason.PathOccupied, nil)
	case errors.Is(err, ErrTooSoon):
		why = reason.New(reason.LockoutPause, nil)
	case errors.Is(err, ErrInFlight):
		why = reason.New(reason.BootstrapInFlight, nil)
	default:
		return err
	}
	return &reason.Error{Reason: why, Class: err}
}

// place brings the value to the authority and sets the tombstone.
func (e *Engine) place(ctx context.Context, s Subject, entry *journal.Entry) error {
	held, err := e.Authority.Read(ctx, s.Path)
	occupied := err == nil
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	key, err := e.Authority.DigestKey(ctx, s.Path)
	if err != nil {
		return err
	}
	resumed := entry.Live != nil && occupied && held.ID.Number == 1 && held.ID.Run == entry.Live.ID &&
		slices.Equal(held.Value.Digest(key), entry.Live.Digest)
	if occupied && !resumed {
		return ErrOccupied
	}
	if !resumed {
		if held, err = e.write(ctx, s, entry, key); err != nil {
			return err
		}
	}
	for _, step := range []journal.Step{journal.Planned, journal.Verified, journal.Written, journal.ReadBack} {
		if err := e.audit(ctx, s, entry.Live, step, held.ID); err != nil {
			return err
		}
	}
	entry.Tombstone = &journal.Tombstone{Run: entry.Live.ID, Document: s.Document, At: e.Now()}
	entry.Rotated, entry.Current, entry.Live.Step = held.Created, &held.ID, journal.Tombstoned
	return e.Journal.Save(ctx, entry)
}

// write reads the document, journals the intent, writes the value and reads it back.
func (e *Engine) write(ctx context.Context, s Subject, entry *journal.Entry, key []byte) (authority.Versioned, error) {
	value, err := e.Source.Value(ctx, s.Secret)
	if err != nil {
		return authority.Versioned{}, err
	}
	if unmet := upstream.Unmet(s.Demands, value.Names()); len(unmet) > 0 {
		return authority.Versioned{}, incomplete(s.Secret, unmet)
	}
	digest := value.Digest(key)
	if err := e.verify(ctx, s, entry, value, digest); errors.Is(err, ErrRefused) {
		return authority.Versioned{}, &reason.Error{Reason: reason.New(reason.BootstrapRefused, reason.Args{"seal": s.Secret, "field": named(value)}), Class: err}
	} else if err != nil {
		return authority.Versioned{}, err
	}
	if err := e.plan(ctx, s, entry, digest); err != nil {
		return authority.Versioned{}, err
	}
	left := entry.Live.CallBy.Sub(e.Now())
	if left <= 0 { // journaling took that long
		return authority.Versioned{}, fmt.Errorf("writing the value: %w", context.DeadlineExceeded)
	}
	bounded, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	if _, err := e.Authority.Write(bounded, s.Path, 0, entry.Live.ID, value); err != nil {
		return authority.Versioned{}, err
	}
	held, err := e.Authority.Read(ctx, s.Path)
	if err != nil {
		return authority.Versioned{}, err
	}
	if held.ID.Run != entry.Live.ID || !held.Value.Equal(value) {
		return authority.Versioned{}, fmt.Errorf("reading back: %w", ErrOccupied)
	}
	return held, nil
}

func (e *Engine) verify(ctx context.Context, s Subject, entry *journal.Entry, value secret.Value, digest []byte) error {
	if s.Upstream == nil {
		return nil
	}
	if readier, able := s.Upstream.(upstream.Readier); able {
		if _, err := ask(ctx, e, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, readier.Ready(ctx) }); err != nil {
			return undecided(err)
		}
	}
	if !s.Upstream.Kind().Verifies {
		return nil
	}
	if err := e.spare(ctx, s, entry, digest); err != nil {
		return err
	}
	verdict, err := ask(ctx, e, s, func(ctx context.Context) (upstream.Verdict, error) { return s.Upstream.Verify(ctx, value) })
	e.mu.Lock()
	defer e.mu.Unlock()
	if verdict == upstream.Refused {
		e.wrong[s.Path] = refusal{e.Now(), digest}
	} else if outward.GoesOn(err) { // and may be refused yet
		e.wrong[s.Path] = refusal{at: e.Now()}
	} else if _, seen := e.wrong[s.Path]; !seen {
		e.wrong[s.Path] = refusal{} // this process saw how it ended
	}
	switch {
	case verdict == upstream.Accepted:
		entry.Tried = false // saved with the plan
		return nil
	case verdict == upstream.Refused:
		return ErrRefused
	case err != nil:
		return undecided(err)
	default:
		return &reason.Error{Reason: reason.New(reason.BootstrapUndecided, nil), Class: ErrUndecided}
	}
}

// undecided is the error of an upstream that gave err for an answer.
func undecided(err error) error {
	why := reason.New(reason.BootstrapUndecided, nil).Because(upstream.Explained(err))
	return &reason.Error{Reason: why, Class: fmt.Errorf("%w: %w", ErrUndecided, err)}
}

// incomplete says which fields are missing, who needs each, and the command that seals the first.
func incomplete(secretName string, unmet []upstream.Demand) error {
	var fields []string
	who := map[string][]string{}
	for _, demand := range unmet {
		field := strings.Join(demand.Field, " or ")
		if who[field] == nil {
			fields = append(fields, field)
		}
		who[field] = append(who[field], demand.By)
	}
	for i, field := range fields {
		fields[i] = fmt.Sprintf("%s (needed by %s)", field, strings.Join(who[field], "; "))
	}
	args := reason.Args{"fields": strings.Join(fields, ", "), "seal": secretName, "field": unmet[0].Field[0]}
	return &reason.Error{Reason: reason.New(reason.BootstrapIncomplete, args), Class: ErrIncomplete}
}

// named is the field of a value that a person seals anew: its only one, else one that they choose.
func named(value secret.Value) string {
	if names := value.Names(); len(names) == 1 {
		return names[0]
	}
	return "FIELD"
}

// ask calls the upstream, which changes nothing there.
func ask[T any](ctx context.Context, e *Engine, s Subject, fn func(context.Context) (T, error)) (T, error) {
	call := outward.Call{Part: outward.Account(string(s.Path)), Group: s.Server, Limit: askTimeout}
	return outward.Do(ctx, e.Calls, call, fn)
}

// spare keeps sign-ins that may be wrong apart, where they lock the account out. The journal says that one was begun: a
// process that has not seen how it ended takes it for one that was refused just now.
func (e *Engine) spare(ctx context.Context, s Subject, entry *journal.Entry, digest []byte) error {
	every := s.Upstream.Kind().WrongEvery
	if every <= 0 {
		return nil
	}
	now := e.Now()
	e.mu.Lock()
	last, seen := e.wrong[s.Path]
	if entry.Tried && !seen || last.at.After(now) { // or the clock was set back
		last.at = now
		e.wrong[s.Path] = last
	}
	e.mu.Unlock()
	if left := last.at.Add(every).Sub(now); left > 0 {
		why := ErrTooSoon
		if slices.Equal(last.digest, digest) {
			why = ErrRefused // and nothing has changed since
		}
		return &upstream.Later{After: left, Err: why}
	}
	if entry.Tried {
		return nil
	}
	entry.Rename(s.Secret)
	entry.Tried = true
	return e.Journal.Save(ctx, entry)
}

// plan journals that this value is about to be written, and until when that may land. A document that changed before its
// write is planned anew, but not while the write of the earlier value may still land.
func (e *Engine) plan(ctx context.Context, s Subject, entry *journal.Entry, digest []byte) error {
	now := e.Now()
	switch {
	case entry.Live != nil && slices.Equal(entry.Live.Digest, digest):
		entry.Live.CallBy = now.Add(askTimeout)
		return e.Journal.Save(ctx, entry)
	case entry.Live != nil && entry.Live.CallBy.After(now.Add(askTimeout)): // the clock was set back
		entry.Live.CallBy = now.Add(askTimeout)
		return errors.Join(ErrInFlight, e.Journal.Save(ctx, entry))
	case entry.Live != nil && !now.After(entry.Live.CallBy):
		return ErrInFlight
	}
	policy := s.Policy
	entry.Rename(s.Secret)
	entry.Policy = &policy
	entry.Live = &journal.Run{
		ID: e.NewRun(), Workflow: journal.Handover, Step: journal.Planned, Started: now, Policy: policy, Digest: digest,
		CallBy:  now.Add(askTimeout),
		Trigger: journal.Trigger{Kind: "handover", By: "estate", Reason: "declared in " + s.Document},
	}
	return e.Journal.Save(ctx, entry)
}

// consume records the tombstone and closes the run.
func (e *Engine) consume(ctx context.Context, s Subject, entry *journal.Entry) error {
	run := entry.Live
	for _, step := range []journal.Step{journal.Tombstoned, journal.Consumed} {
		if err := e.audit(ctx, s, run, step, *entry.Current); err != nil {
			return err
		}
	}
	entry.Last = &journal.Outcome{
		Run: run.ID, Workflow: run.Workflow, Result: journal.ResultCompleted, Trigger: run.Trigger, Started: run.Started, Ended: e.Now(),
	}
	entry.Live = nil
	return e.Journal.Save(ctx, entry)
}

func (e *Engine) audit(ctx context.Context, s Subject, run *journal.Run, step journal.Step, version authority.VersionID) error {
	event := audit.Event{
		Run: run.ID, Step: string(step), Workflow: audit.Workflow(run.Workflow), Secret: s.Secret, Path: s.Path, Version: &version,
		By: run.Trigger.By, Reason: run.Trigger.Reason, Result: audit.OK, At: e.Now(),
	}
	if err := e.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("recording step %s of run %s: %w", step, run.ID, err)
	}
	return nil
}
