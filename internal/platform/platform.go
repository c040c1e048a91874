// SPDX-License-Identifier: Apache-2.0

// Package platform answers questions and commands for one running estate: it has the estate in force, and combines what
// the orchestrator, the journal, the queue and the record know. It is the server's Service. Its only state is which
// estate is in force.
//
// Cost: with a running server, status, inventory, plan and the summary call nothing: they are computed from what
// earlier looks saw. Without a server they cost one listing of the journal, one read of each value and a check of each
// consumer's file. Runs and audit read the whole record; doctor signs in with each credential that it knows (at most
// three for each secret) and asks every consumer once.
package platform

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intake"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/model"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
)

// Authority is what the platform reads of the authority.
type Authority interface {
	Incarnation() authority.Incarnation
	Read(ctx context.Context, path authority.Path) (authority.Versioned, error)
	ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error)
}

// Record reads and keeps transitions; see audit.
type Record interface {
	Append(ctx context.Context, event audit.Event) error
	Events(ctx context.Context, filter audit.Filter) iter.Seq2[audit.Event, error]
	Findings() []audit.Finding
}

// Config wires a Platform.
type Config struct {
	Name, Environment string
	AuthorityType     string
	Authority         Authority
	Journal           journal.Listing
	Queue             *trigger.Queue
	Clock             *trigger.Clock
	Record            Record
	Orchestrator      *orchestrator.Orchestrator
	// Model is what is known of each secret. Whoever gives one has it told of every entry that Journal reads or writes; nil makes
	// one, which is told.
	Model  *model.Model
	Now    func() time.Time
	NewRun func() authority.RunID
	// Grants are what the operator granted.
	Grants Grants
	// Load reads the estate that is to be in force after current, which is nil before the first, and Bind makes what acting on
	// it needs.
	Load func(current *intent.Estate) (*intent.Estate, error)
	Bind func(*intent.Estate) ([]orchestrator.Secret, error)
	// SavedEstate returns the last estate that was in force, nil when none was saved; SaveEstate saves one that is.
	SavedEstate func() (*intent.Estate, error)
	SaveEstate  func(*intent.Estate) error
	// Readable tries to decrypt a secret's bootstrap document; nil when it can.
	Readable func(ctx context.Context, secretName string) error
	// Identity reports whether a bootstrap identity is at hand, and Seeds makes one.
	Identity func() bool
	Seeds    Seeds
	// Initialised: the authority was made.
	Initialised bool
	// Source is where the estate is fetched from; nil where it is read from a folder.
	Source Source
	// Leftovers are files that hold values of this authority and that nobody is to read any more; nil when there are no files.
	Leftovers Leftovers
	// Recovery accepts an older state that was restored, and Behind says how the authority is older than the record, "" when
	// it is not. Restored says from which backup the state was put back, "" when it was not or that was accepted.
	Recovery *recovery.Engine
	Behind   string
	Restored string
	// Later reports whether an incarnation began after the present one; see authority.Renewer.
	Later func(authority.Incarnation) bool
	// Machine, when set, says what a person should know of the machine's own files.
	Machine func() []string
	// Broken says why nothing can be done until the process starts again, "" when that is not so.
	Broken func() string
	// Notifier tells owners of findings; nil where the host file names no targets.
	Notifier *notify.Notifier
	// Backups makes backups; nil where there is no authority yet.
	Backups Backups
	// Intake takes values that were sealed for this platform.
	Intake *intake.Book
	// Fleet are the agents of other machines; nil where the host file has none.
	Fleet Fleet
	// Unanswered, when set, says which part that everything needs holds up a call now or is not in its place, "" when all is well.
	Unanswered func() string
}

// Platform is one running estate.
type Platform struct {
	Config

	woken   chan struct{}
	summary atomic.Pointer[Summary]
	// Reading, when set, is told how far a question that reads every secret has come.
	Reading func(done, of int)

	// reloading is held while an estate is put in force, acceptance while an older state is accepted, and enrolling while a bootstrap
	// identity is made.
	reloading  *outward.Gate
	acceptance sync.Mutex
	enrolling  sync.Mutex

	mu      sync.Mutex
	estate  *intent.Estate
	since   time.Time
	fault   string
	serving bool
	// behind is Config.Behind until that state was accepted, and restored Config.Restored; newer says, by secret, which consumer was
	// given a version that the authority does not know.
	behind, restored string
	// accepting says what an acceptance of an older state that is under way does, "" when none is; owed says why what was
	// accepted is not on record yet. Nothing is seeded, rotated or delivered while there is one of the two.
	accepting, owed string
	// fellBack: the estate in force is the kept copy, or in part, because the newest could not be used when the process began.
	fellBack bool
	// unsaved says why no copy of the estate in force is kept, "" when one is.
	unsaved string
	newer   map[authority.Path]newer
	// clearAt is when ClearLeft is due.
	clearAt time.Time
}

var _ server.Service = (*Platform)(nil)

// New returns a platform with no estate in force; Reload puts one in force.
func New(config Config) *Platform {
	if config.Model == nil {
		config.Model = model.New()
		if config.Journal != nil {
			config.Journal = told{config.Journal, config.Model.Saw}
		}
	}
	if config.Orchestrator != nil {
		config.Orchestrator.Looked = config.Model.Looked
	}
	return &Platform{Config: config, woken: make(chan struct{}, 1), reloading: outward.NewGate(1, 0), behind: config.Behind, restored: config.Restored}
}

// Woken yields when somebody asked for something that a tick should look at.
func (p *Platform) Woken() <-chan struct{} { return p.woken }

func (p *Platform) wake(path authority.Path) {
	p.Orchestrator.Wake(path)
	p.Nudge()
}

// Nudge makes Woken yield.
func (p *Platform) Nudge() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// Serving marks that a server answers for the platform, and that ticks look at every secret from now on.
func (p *Platform) Serving() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving = true
	p.Model.Serve()
}

// Served reports whether a server answers for the platform.
func (p *Platform) Served() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serving
}

func (p *Platform) inForce() (*intent.Estate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.estate == nil {
		return nil, &server.Problem{Class: server.Refused, Text: "no estate is in force: " + p.fault, Hint: "run `custody lint` and fix the faults that it lists"}
	}
	return p.estate, nil
}

// Rotate implements server.Service.
func (p *Platform) Rotate(ctx context.Context, by string, ask server.RotateRequest) (trigger.Request, error) {
	kind := trigger.Manual
	if ask.Compromised {
		kind = trigger.Compromise
	}
	return p.Request(ctx, trigger.Request{ID: ask.ID, Secret: ask.Secret, Kind: kind, By: by, Reason: ask.Reason})
}

// Request stores a request for a rotation, whoever makes it; what it lacks is filled in. The one that was stored before under the same
// id is returned as it was. The report of a compromise is taken even while the secret is held: it stays open until then.
func (p *Platform) Request(ctx context.Context, ask trigger.Request) (trigger.Request, error) {
	estate, err := p.inForce()
	if err != nil {
		return trigger.Request{}, err
	}
	declared, ok := estate.ByName(ask.Secret)
	if !ok {
		return trigger.Request{}, missing("secret", ask.Secret)
	}
	if err := p.refuseWhileRecovering(); err != nil {
		return trigger.Request{}, err
	}
	bound, _ := p.Orchestrator.At(declared.Path)
	switch {
	case bound.Elsewhere:
		return trigger.Request{}, elsewhere(declared)
	case bound.Suspended:
		return trigger.Request{}, &server.Problem{Class: server.Refused, Text: declared.Name + " is suspended", Hint: "take suspend out of its document first"}
	case bound.Derived != nil:
		inputs := inventory.Inputs(declared)
		return trigger.Request{}, &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("%s is computed from %s, and is computed again when one of them has a new version", declared.Name, strings.Join(inputs, ", ")),
			Hint: "rotate what is to change, for example: " + next.Rotate(inputs[0]),
		}
	case bound.Upstream == nil && bound.Broken.None():
		return trigger.Request{}, &server.Problem{
			Class: server.Refused, Text: declared.Name + " has no upstream and is not generated, so nothing can make a successor",
			Hint: "supply a new value that you created: " + next.Supply(declared.Name) + "; or declare rotation.upstreamRef",
		}
	}
	held, err := p.Orchestrator.Held(ctx, bound)
	if err != nil {
		return trigger.Request{}, err
	}
	if !held.None() && ask.Kind != trigger.Compromise {
		return trigger.Request{}, &server.Problem{Class: server.Refused, Text: declared.Name + ": " + held.Text(), Hint: "see where it stands: " + next.Explain(declared.Name)}
	}
	ask.Path, ask.Secret = declared.Path, declared.Name
	request, err := p.Queue.Submit(ctx, ask)
	if err == nil {
		p.wake(declared.Path)
	}
	return request, err
}

const (
	// idle: what comes by itself later than this is left to a server.
	idle = 2 * time.Minute
	// patience is for what somebody else must do: mostly a process that takes a value up, or an upstream that comes back.
	patience = 10 * time.Second
)

// Settle implements server.Service. It ends when done says so, or once nothing is new and nothing is left to look at soon:
// within idle since the last news where only time is needed, else within patience. Nudge has it ask done at once.
func (p *Platform) Settle(ctx context.Context, done func() bool) error {
	known, since := map[string]bool{}, p.Now()
	for !done() {
		next, err := p.Orchestrator.Tick(ctx)
		if err != nil {
			return err
		}
		news, err := p.news(ctx, known)
		if err != nil {
			return err
		}
		if news {
			since = p.Now()
		}
		wait := next.Sub(p.Now())
		if done() || wait > idle || !p.soon(wait <= 0, since) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.woken:
		case <-p.after(max(wait, time.Millisecond)):
		}
	}
	return nil
}

// news adds where each run stands, and what time alone brings, to what is known, and reports whether any of that is new.
// There is no end of what is tried and refused, and it is no news.
func (p *Platform) news(ctx context.Context, known map[string]bool) (bool, error) {
	entries, err := p.Journal.All(ctx)
	if err != nil {
		return false, err
	}
	before := len(known)
	for _, entry := range entries {
		if entry.Live != nil {
			known[fmt.Sprintf("run %s %s", entry.Live.ID, entry.Live.Step)] = true
		}
		if entry.Last != nil {
			known[fmt.Sprintf("run %s %s", entry.Last.Run, entry.Last.Result)] = true
		}
	}
	for path, state := range p.Orchestrator.States() {
		if why := state.Waiting; !why.None() && why.ByDesign() { // until when may differ from look to look
			known[fmt.Sprintf("wait %s %s %v %s", path, why.Code, why.Args, why.Cause)] = true
		}
	}
	return len(known) > before, nil
}

// soon reports whether there is something to look at that is worth waiting for, when the last news was at since. due says
// that it is time for a look already.
func (p *Platform) soon(due bool, since time.Time) bool {
	if due {
		return !p.Now().After(since.Add(idle))
	}
	for _, state := range p.Orchestrator.States() {
		limit := patience
		if state.Waiting.ByDesign() && !state.Waiting.None() {
			limit = idle
		}
		if !state.Regular && !state.Again.IsZero() && !state.Again.After(since.Add(limit)) {
			return true
		}
	}
	return false
}

func (p *Platform) after(d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// Ready implements server.Service. It asks nothing outside and waits for no disk.
func (p *Platform) Ready(context.Context) string {
	if why := p.Broken(); why != "" {
		return why + "; the process has to start again"
	}
	if why := p.unanswered(); why != "" {
		return why
	}
	if why := p.Recovering(); why != "" {
		return "recovering: " + why
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.Initialised:
		return "the authority was never initialised"
	case p.estate == nil:
		return "no estate is in force"
	}
	return ""
}

func (p *Platform) unanswered() string {
	if p.Unanswered == nil {
		return ""
	}
	return p.Unanswered()
}

// ConfirmClock implements server.Service.
func (p *Platform) ConfirmClock(ctx context.Context, by string) error {
	if err := p.refuseWhileRecovering(); err != nil {
		return err
	}
	if err := p.Clock.Confirm(ctx); err != nil {
		return err
	}
	defer func() {
		p.Orchestrator.WakeAll()
		p.Nudge()
	}()
	return errors.Join(p.operation(ctx, "clock-confirmed", by, "the time shown is right", "", ""), p.redate(ctx, by))
}

func (p *Platform) operation(ctx context.Context, step, by, reason, secretName string, path authority.Path) error {
	return p.Record.Append(ctx, audit.Event{
		Run: p.NewRun(), Step: step, Workflow: audit.Operation, Secret: secretName, Path: path, By: by, Reason: reason, Result: audit.OK, At: p.Now(),
	})
}

// Audit implements server.Service.
func (p *Platform) Audit(ctx context.Context, filter audit.Filter) ([]audit.Event, error) {
	var events []audit.Event
	for event, err := range p.Record.Events(ctx, filter) {
		if err != nil {
			return nil, errors.Join(errors.New("reading the record"), err)
		}
		events = append(events, event)
	}
	return events, nil
}
