// SPDX-License-Identifier: Apache-2.0

// Package recovery accepts an older state that was restored. Until a person does so, nothing is handed over, rotated or
// delivered, because what is in use outside may be newer than what the authority has.
//
// Guaranteed: accepting is one transaction of the authority. It begins a new incarnation, writes every value again
// under it, gives up the runs and requests of the older state, stores for each secret whether a person is needed, and
// keeps the events that are still missing in the record. After a crash at any point the platform is either still
// recovering or done; missing events are written at the next start. A consumer accepts a version of another
// incarnation, whatever its number. Not guaranteed: that a credential is the newest one, if no upstream can be asked
// about it.
//
// Cost: at most two sign-ins for each declared secret, eight secrets at a time, each limited to 30 s; one transaction.
package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	schema    = 1
	recordKey = "recovery"
	// stepAccepted is on record for the acceptance itself, and one step for each secret beside it.
	stepAccepted = "recovery-accepted"
)

// ErrNewer: something newer than the state showed while a part of it was accepted. Nothing was changed; accept it as a whole.
var ErrNewer = errors.New("nothing was accepted")

// Authority is what accepting needs of an authority. See authority.Store and authority.Renewer for what each promises.
type Authority interface {
	authority.Renewer
	Incarnation() authority.Incarnation
	Read(ctx context.Context, path authority.Path) (authority.Versioned, error)
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Record is the record of what was done, which may be older than checkpoints that are kept elsewhere.
type Record interface {
	Append(ctx context.Context, event audit.Event) error
	Ahead() []audit.Outside
	GiveUp(checkpoints ...[]byte)
	Size() uint64
}

// Secret is a declared one.
type Secret struct {
	Name     string
	Path     authority.Path
	Upstream upstream.Upstream
	// Server are the upstreams that fail together with this one, "" when it is alone. See outward.Call.
	Server string
	// Inputs are the paths of those that it is computed from.
	Inputs            []authority.Path
	Seeded            bool
	AllowInterruption bool
	Admin             bool
	// AdminSecret is the name of the secret that its upstream is opened with, "" for none.
	AdminSecret string
	// Newer says which consumer holds something newer, "" when none does.
	Newer string
	// Held says what it waits for that keeps its upstream and its consumers from being asked, "" when nothing does.
	Held string
}

// Config wires an Engine.
type Config struct {
	Authority Authority
	Journal   *journal.Journal
	Record    Record
	// Calls keeps calls to upstreams within bounds.
	Calls *outward.Calls
	// Check signs in with v at the upstream of s, as runs do and within what locks accounts out: Unknown with the reason
	// where one more refused sign-in would come too soon.
	Check  func(ctx context.Context, s Secret, v secret.Value) (upstream.Verdict, error)
	Now    func() time.Time
	NewRun func() authority.RunID
	// Requests is the prefix of the keys of requests, and Open tells those that are open.
	Requests string
	Open     func(authority.Document) bool
}

// Engine accepts. It keeps nothing in memory.
type Engine struct{ Config }

// New returns an engine.
func New(config Config) *Engine { return &Engine{config} }

// Accepted is the newest acceptance, as the authority keeps it.
type Accepted struct {
	Schema int             `json:"schema"`
	Run    authority.RunID `json:"run"`
	// Events is how many events the record had: what they say of later states is given up.
	Events uint64 `json:"events"`
	// Cut is when a record that was cut was gone on with, zero when none was: events of runs that began before may be missing.
	Cut time.Time `json:"cut,omitzero"`
	// GivenUp are the checkpoints of the newer state.
	GivenUp [][]byte `json:"givenUp,omitempty"`
	// Incarnations are those whose versions consumers were given, and which are given up.
	Incarnations []authority.Incarnation `json:"incarnations,omitempty"`
	// Owed are events that may not be on record yet.
	Owed []audit.Event `json:"owed,omitempty"`

	revision authority.Revision
}

// Last returns the newest acceptance; the zero one when there was none.
func Last(ctx context.Context, records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
}) (Accepted, error) {
	held, err := records.Get(ctx, recordKey)
	if errors.Is(err, authority.ErrNotFound) {
		return Accepted{}, nil
	}
	if err != nil {
		return Accepted{}, fmt.Errorf("reading what was accepted last: %w", err)
	}
	var last Accepted
	if err := json.Unmarshal(held.Data, &last); err != nil || last.Schema > schema {
		return Accepted{}, fmt.Errorf("reading what was accepted last: %w %q: it is of a newer custody, or damaged", journal.ErrUnreadable, recordKey)
	}
	last.revision = held.Revision
	return last, nil
}

// Settle puts on record what is owed of the newest acceptance, and lets checkpoints of the newer state be replaced. It may be
// called at any time.
func (e *Engine) Settle(ctx context.Context) error {
	last, err := Last(ctx, e.Authority)
	if err != nil || last.Schema == 0 {
		return err
	}
	e.Record.GiveUp(last.GivenUp...)
	if len(last.Owed) == 0 {
		return nil
	}
	for _, event := range last.Owed {
		if err := e.Record.Append(ctx, event); err != nil {
			return fmt.Errorf("recording what was accepted: %w", err)
		}
	}
	last.Owed = nil
	data, err := json.Marshal(last)
	if err != nil {
		return fmt.Errorf("encoding what was accepted: %w", err)
	}
	_, err = e.Authority.Put(ctx, recordKey, last.revision, data)
	return err
}

// Outcome is what becomes of one secret.
type Outcome struct {
	Secret string         `json:"secret"`
	Path   authority.Path `json:"path"`
	Action Action         `json:"action"`
	Why    string         `json:"why"`
	// Next is the command with which a person goes on, "" when none is needed.
	Next string `json:"next,omitempty"`
	// GaveUp is the run that was under way in the older state.
	GaveUp authority.RunID `json:"gaveUp,omitempty"`
}

// How says how an older state is accepted.
type How struct {
	// Open limits it to the secrets that an earlier acceptance left to a person.
	Open bool
	// Dry changes nothing.
	Dry bool
	// Estate says why the estate in force may not declare all that a newer one does, "" when it does. KeptEstate: a person
	// takes that upon themselves.
	Estate     string
	KeptEstate bool
	// RecordAlone: only the record is older. Nothing is tried and no run is given up.
	RecordAlone bool
	// Grants are what people granted that may have been revoked in the newer state.
	Grants []string
	// Incarnations are those of what consumers were given and this state does not know: it is given up.
	Incarnations []authority.Incarnation
}

// Report is what accepting does, or did.
type Report struct {
	// Was is why the platform was recovering.
	Was []string `json:"was,omitempty"`
	// Gap says which events the record goes on without, "" where it lacks none that is known of.
	Gap string `json:"gap,omitempty"`
	// RecordAlone: only the record was older, and nothing else changes.
	RecordAlone bool `json:"recordAlone,omitempty"`
	// Estate says why the estate in force may not declare all that a newer one does.
	Estate string `json:"estate,omitempty"`
	// Grants are what people granted in the older state, with the command that revokes each.
	Grants  []string  `json:"grants,omitempty"`
	Secrets []Outcome `json:"secrets"`
	// Requests is how many open requests of the older state are dropped.
	Requests int `json:"requests,omitempty"`
	// Incarnation is the new one, or the one that goes on where the record alone was older; "" while nothing was accepted.
	Incarnation authority.Incarnation `json:"incarnation,omitempty"`
}

// Accept asks each credential's upstream and goes on with the state that is there.
func (e *Engine) Accept(ctx context.Context, by, reason string, was []string, secrets []Secret, how How) (Report, error) {
	if how.RecordAlone {
		return e.acceptRecord(ctx, by, reason, was, how.Dry)
	}
	from := e.Authority.Incarnation()
	cases, err := e.examine(ctx, secrets, how.Open)
	if err != nil {
		return Report{}, err
	}
	requests, err := e.requests(ctx, how.Open)
	if err != nil {
		return Report{}, err
	}
	report := Report{Was: was, Gap: e.gap(), Estate: how.Estate, Grants: how.Grants, Requests: len(requests), Secrets: []Outcome{}}
	for _, c := range cases {
		report.Secrets = append(report.Secrets, c.outcome())
	}
	if how.Dry {
		return report, nil
	}
	restored, err := e.restored(ctx)
	if err != nil {
		return Report{}, err
	}
	ahead := e.Record.Ahead()
	if how.Open && len(ahead) > 0 { // it showed while upstreams were asked about a part of the secrets
		return Report{}, fmt.Errorf("%s keeps a checkpoint of a newer state, which showed meanwhile: %w", ahead[0].From, ErrNewer)
	}
	last, err := Last(ctx, e.Authority)
	if err != nil {
		return Report{}, err
	}
	accepted := Accepted{
		Schema: schema, Run: e.NewRun(), Events: e.Record.Size(), Cut: last.Cut, GivenUp: last.GivenUp, Incarnations: slices.Concat(last.Incarnations, how.Incarnations, []authority.Incarnation{from}),
		revision: last.revision, Owed: last.Owed,
	}
	slices.Sort(accepted.Incarnations)
	accepted.Incarnations = slices.Compact(accepted.Incarnations)
	e.giveUp(&accepted, ahead, by, reason)
	report.Incarnation, err = e.Authority.Renew(ctx, from, func(next authority.Incarnation) (authority.Renewal, error) {
		return e.renewal(cases, accepted, next, by, reason, slices.Concat(was, how.Grants), requests, restored)
	})
	if err != nil {
		err = fmt.Errorf("accepting the state that was restored: %w", err)
		if outward.GoesOn(err) {
			err = mayLand{err}
		}
		return Report{}, err
	}
	return report, e.Settle(context.WithoutCancel(ctx)) // what was accepted is put on record though its caller has gone
}

// mayLand is the error of an acceptance that the authority did not answer.
type mayLand struct{ error }

func (m mayLand) Error() string {
	return m.error.Error() + "; it may still take effect, as a whole or not at all, and nothing else is done before that is known"
}

func (m mayLand) Unwrap() error { return m.error }

// Hint is the next move.
func (mayLand) Hint() string {
	return "fix the disk of the authority, then run the same command again: it continues from the state that was stored last"
}

// requests are the keys of the open requests: what was asked of the newer state is not asked again.
func (e *Engine) requests(ctx context.Context, open bool) ([]string, error) {
	if open {
		return nil, nil
	}
	var keys []string
	for key, err := range e.Authority.Keys(ctx, e.Requests) {
		if err != nil {
			return nil, fmt.Errorf("listing requests: %w", err)
		}
		switch held, err := e.Authority.Get(ctx, key); {
		case errors.Is(err, authority.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("listing requests: %w", err)
		case e.Open(held):
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (e *Engine) renewal(cases []*examined, accepted Accepted, next authority.Incarnation, by, reason string, was, requests, gone []string) (authority.Renewal, error) {
	change := authority.Renewal{Gone: append(slices.Clone(requests), gone...)}
	now := e.Now()
	event := audit.Event{
		Run: accepted.Run, Step: stepAccepted, Workflow: audit.Operation, By: by, Reason: reason, Result: audit.OK, At: now,
		Detail: fmt.Sprintf("incarnation %s; %s", next, joined(was)),
	}
	accepted.Owed = append(slices.Clone(accepted.Owed), event)
	for _, c := range cases {
		if c.entry.Fault != nil || c.foreign {
			continue
		}
		if c.held != nil {
			change.Values = append(change.Values, authority.NewVersion{Path: c.entry.Path, Base: c.held.ID.Number, Run: accepted.Run, Value: c.value()})
		}
		accepted.Owed = append(accepted.Owed, c.renew(accepted.Run, next, by, reason, now)...)
		document, err := journal.Document(c.document)
		if err != nil {
			return change, err
		}
		change.Documents = append(change.Documents, document)
	}
	data, err := json.Marshal(accepted)
	if err != nil {
		return change, fmt.Errorf("encoding what is accepted: %w", err)
	}
	change.Documents = append(change.Documents, authority.Document{Key: recordKey, Revision: accepted.revision, Data: data})
	return change, nil
}

func joined(was []string) string {
	if len(was) == 0 {
		return "secrets that an earlier acceptance left to a person"
	}
	text := was[0]
	for _, more := range was[1:] {
		text += "; " + more
	}
	return text
}
