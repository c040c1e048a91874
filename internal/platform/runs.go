// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"slices"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
)

// Runs implements server.Service: newest first, put together from the record, and from the journal for live ones.
func (p *Platform) Runs(ctx context.Context, secretName string) ([]server.Run, error) {
	events, err := p.Audit(ctx, audit.Filter{Secret: secretName})
	if err != nil {
		return nil, err
	}
	entries, err := p.entriesOf(ctx, secretName)
	if err != nil {
		return nil, err
	}
	live := slices.DeleteFunc(entries, func(entry *journal.Entry) bool {
		return entry.Live == nil || secretName != "" && entry.Secret != secretName
	})
	return runsOf(events, live), nil
}

// entriesOf reads the one entry that may have a live run of a secret. All are read where the secret is not declared, or its history
// is not at its path.
func (p *Platform) entriesOf(ctx context.Context, secretName string) ([]*journal.Entry, error) {
	if estate, err := p.inForce(); err == nil {
		if declared, ok := estate.ByName(secretName); ok {
			if entry, err := p.Journal.Load(ctx, declared.Path); err == nil && entry.Secret == secretName {
				return []*journal.Entry{entry}, nil
			}
		}
	}
	return p.Journal.All(ctx)
}

// entriesOfRun reads the one entry that may have a run live, as the record has the run. All are read where it is not on record yet.
func (p *Platform) entriesOfRun(ctx context.Context, onRecord []server.Run) ([]*journal.Entry, error) {
	if len(onRecord) == 0 {
		return p.Journal.All(ctx)
	}
	entry, err := p.Journal.Load(ctx, onRecord[0].Path)
	if errors.Is(err, journal.ErrUnreadable) { // the status says so, and what is on record is known
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []*journal.Entry{entry}, nil
}

// runsOf puts runs together from their events, and from the journal of those that are live, newest first.
func runsOf(events []audit.Event, live []*journal.Entry) []server.Run {
	var runs []*server.Run
	byID := map[authority.RunID]*server.Run{}
	for _, event := range events {
		switch journal.Workflow(event.Workflow) {
		case journal.Handover, journal.Rotation, journal.Derivation, journal.Retirement:
		default:
			continue
		}
		run := byID[event.Run]
		if run == nil {
			run = &server.Run{
				ID: event.Run, Secret: event.Secret, Path: event.Path, Workflow: journal.Workflow(event.Workflow),
				By: event.By, Reason: event.Reason, Started: event.At, Result: "live",
			}
			byID[event.Run] = run
			runs = append(runs, run)
		}
		run.Step = event.Step
		if event.Detail != "" {
			run.Detail = event.Detail
		}
		run.Events = append(run.Events, event)
		switch journal.Step(event.Step) {
		case journal.Completed, journal.Consumed:
			run.Result, run.Ended = "completed", event.At
		case journal.Undone:
			run.Result, run.Ended = "undone", event.At
		case journal.Step(journal.ResultSuperseded):
			run.Result, run.Ended = "superseded", event.At
		}
	}
	runs = withLive(runs, byID, live)
	list := make([]server.Run, 0, len(runs))
	for _, run := range slices.Backward(runs) {
		list = append(list, *run)
	}
	return list
}

// withLive adds what the journal knows of the runs in hand: one that was just planned is not on record yet.
func withLive(runs []*server.Run, byID map[authority.RunID]*server.Run, entries []*journal.Entry) []*server.Run {
	for _, entry := range entries {
		live := entry.Live
		run := byID[live.ID]
		if run == nil {
			run = &server.Run{
				ID: live.ID, Secret: entry.Secret, Path: entry.Path, Workflow: live.Workflow, Step: string(live.Step),
				By: live.Trigger.By, Reason: live.Trigger.Reason, Started: live.Started,
			}
			runs = append(runs, run)
		}
		run.Result = "live"
		if live.Waiting != nil {
			run.Waiting = live.Waiting.Reason.Show()
		}
	}
	return runs
}

// Run implements server.Service. It costs a look-up in the record, and one entry of the journal; all entries where the run is not on
// record yet.
func (p *Platform) Run(ctx context.Context, id authority.RunID) (server.Run, error) {
	events, err := p.Audit(ctx, audit.Filter{Run: id})
	if err != nil {
		return server.Run{}, err
	}
	runs := runsOf(events, nil)
	entries, err := p.entriesOfRun(ctx, runs)
	if err != nil {
		return server.Run{}, err
	}
	live := slices.DeleteFunc(slices.Clone(entries), func(entry *journal.Entry) bool { return entry.Live == nil || entry.Live.ID != id })
	if runs = runsOf(events, live); len(runs) == 0 {
		return server.Run{}, missing("run", string(id))
	}
	for _, entry := range entries {
		if entry.Live != nil && entry.Live.ID == id || entry.Live == nil && entry.Last != nil && entry.Last.Run == id {
			runs[0].Compromise = entry.Replaces()
			runs[0].Revocation = entry.Replaces().Took()
		}
	}
	return runs[0], nil
}

// Abort implements server.Service.
func (p *Platform) Abort(ctx context.Context, by string, id authority.RunID, reason string) error {
	return p.onLive(ctx, id, "abort", by, reason, p.Orchestrator.Abort)
}

// Force implements server.Service.
func (p *Platform) Force(ctx context.Context, by string, id authority.RunID, reason string) (waived []string, err error) {
	err = p.onLive(ctx, id, "force", by, reason, func(ctx context.Context, path authority.Path, id authority.RunID, by, reason string) error {
		waived, err = p.Orchestrator.Force(ctx, path, id, by, reason)
		return err
	})
	return waived, err
}

// Supply implements server.Service.
func (p *Platform) Supply(ctx context.Context, by, secretName, reason string, v secret.Value) (run authority.RunID, err error) {
	estate, err := p.inForce()
	if err != nil {
		return "", err
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return "", missing("secret", secretName)
	}
	if bound, _ := p.Orchestrator.At(declared.Path); bound.Elsewhere {
		return "", elsewhere(declared)
	}
	err = p.onRecord(ctx, "supply", by, reason, declared.Name, declared.Path, func() error {
		run, err = p.Orchestrator.Supply(ctx, declared.Path, by, reason, v)
		return err
	})
	return run, err
}

// DecideForeign implements server.Service.
func (p *Platform) DecideForeign(ctx context.Context, by, secretName, choice, reason string) (run authority.RunID, err error) {
	estate, err := p.inForce()
	if err != nil {
		return "", err
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return "", missing("secret", secretName)
	}
	if bound, _ := p.Orchestrator.At(declared.Path); bound.Elsewhere {
		return "", elsewhere(declared)
	}
	err = p.onRecord(ctx, map[string]string{rotation.Adopted: "adopt-value", rotation.Reverted: "revert"}[choice], by, reason, declared.Name, declared.Path, func() error {
		run, err = p.Orchestrator.DecideForeign(ctx, declared.Path, choice, by, reason)
		return err
	})
	return run, err
}

// elsewhere refuses to change a secret that another platform or environment rotates.
func elsewhere(declared *intent.Secret) error {
	by := declared.Spec.Rotation.RotatedBy
	return &server.Problem{
		Class: server.Refused, Text: declared.Name + " is rotated by " + by + ", not here; nothing was done",
		Hint: "run the command on a machine of " + by + ", or change rotation.rotatedBy in the document",
	}
}

// Deliver implements server.Service.
func (p *Platform) Deliver(ctx context.Context, by, secretName, consumer string) (done []orchestrator.Delivery, err error) {
	estate, err := p.inForce()
	if err != nil {
		return nil, err
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return nil, missing("secret", secretName)
	}
	err = p.onRecord(ctx, "deliver", by, "asked for", declared.Name, declared.Path, func() error {
		done, err = p.Orchestrator.Deliver(ctx, declared.Path, consumer)
		return err
	})
	return done, err
}

// verb changes the live run id of the secret at path. Which run is live may change before it does.
type verb func(ctx context.Context, path authority.Path, id authority.RunID, by, reason string) error

func (p *Platform) onLive(ctx context.Context, id authority.RunID, name, by, reason string, do verb) error {
	events, err := p.Audit(ctx, audit.Filter{Run: id})
	if err != nil {
		return err
	}
	entries, err := p.entriesOfRun(ctx, runsOf(events, nil))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(entry *journal.Entry) bool { return entry.Live != nil && entry.Live.ID == id })
	if i < 0 {
		run, err := p.Run(ctx, id)
		if err != nil {
			return err
		}
		if _, err := p.Journal.Load(ctx, run.Path); errors.Is(err, journal.ErrUnreadable) { // whether it has ended is not known
			return err
		}
		return &server.Problem{Class: server.Refused, Text: "run " + string(id) + " has ended", Hint: "see how: " + next.ShowRun(id)}
	}
	entry := entries[i]
	return p.onRecord(ctx, name, by, reason, entry.Secret, entry.Path, func() error { return do(ctx, entry.Path, id, by, reason) })
}

// refusal is why something is not done with a secret; explain says where that stands.
type refusal struct {
	error

	secret string
}

func (r refusal) Unwrap() error { return r.error }

// Hint is the next command.
func (r refusal) Hint() string { return "see where it stands: " + next.Explain(r.secret) }

// explained adds the next command to a refusal that names none.
func explained(err error, secretName string) error {
	hinted, has := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if has && hinted.Hint() != "" || !errors.Is(err, rotation.ErrNotAllowed) && !errors.Is(err, rotation.ErrNotNow) {
		return err
	}
	return refusal{err, secretName}
}

// onRecord does what a person asked for once that is on record; if it does not happen, so is that.
func (p *Platform) onRecord(ctx context.Context, name, by, reason, secretName string, path authority.Path, do func() error) error {
	return p.recorded(ctx, audit.Event{Step: name, Secret: secretName, Path: path, By: by, Reason: reason}, do)
}

// recorded is onRecord for an event that says more.
func (p *Platform) recorded(ctx context.Context, asked audit.Event, do func() error) error {
	if err := p.refuseWhileRecovering(); err != nil {
		return err
	}
	asked.Run, asked.Workflow, asked.Result, asked.At = p.NewRun(), audit.Operation, audit.OK, p.Now()
	if err := p.Record.Append(ctx, asked); err != nil {
		return err
	}
	defer p.wake(asked.Path)
	err := do()
	if err == nil {
		return nil
	}
	refused := asked
	refused.Run, refused.Step, refused.Result, refused.At = p.NewRun(), asked.Step+"-refused", audit.Failed, p.Now()
	if refused.Detail != "" {
		refused.Detail += ": "
	}
	refused.Detail += err.Error()
	return errors.Join(explained(err, asked.Secret), p.Record.Append(ctx, refused))
}
