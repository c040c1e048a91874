// SPDX-License-Identifier: Apache-2.0

package recovery

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
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	askTimeout = 30 * time.Second
	atOnce     = 8
)

// examined is one secret's history, what was found about it, and what becomes of it.
type examined struct {
	entry     *journal.Entry
	document  *journal.Held // that entry is of
	declared  *Secret
	held      *authority.Versioned
	candidate secret.Value
	// prepared is the run that made the candidate.
	prepared  authority.RunID
	foreign   bool
	situation Situation
	decision  Decision
}

// examine loads every history, asks upstreams, and decides. With open, only about what is left to a person.
func (e *Engine) examine(ctx context.Context, secrets []Secret, open bool) ([]*examined, error) {
	entries, err := e.Journal.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range secrets { // one that has no history yet may have had one in the newer state
		if !slices.ContainsFunc(entries, func(known *journal.Entry) bool { return known.Path == s.Path }) && len(s.Inputs) == 0 {
			entries = append(entries, &journal.Entry{Schema: journal.Schema, Secret: s.Name, Path: s.Path})
		}
	}
	var cases []*examined
	for _, entry := range entries {
		if open && (entry.RecoveryNow() == nil || entry.Live != nil) { // a run that began since ends it
			continue
		}
		c := &examined{entry: entry}
		if at := slices.IndexFunc(secrets, func(s Secret) bool { return s.Path == entry.Path }); at >= 0 {
			c.declared = &secrets[at]
		}
		if open && c.declared == nil { // it waits on
			continue
		}
		if err := e.load(ctx, c); err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	var asking sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for _, c := range cases {
		asking.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			e.ask(ctx, c)
		})
	}
	asking.Wait()
	decide(cases)
	return cases, ctx.Err()
}

// load reads what the authority holds.
func (e *Engine) load(ctx context.Context, c *examined) error {
	if c.entry.Fault != nil {
		return nil
	}
	document, err := e.Journal.LoadHeld(ctx, c.entry.Path)
	if err != nil {
		return err
	}
	if document.Secret == "" {
		document.Secret = c.entry.Secret
	}
	c.document, c.entry = document, &document.Entry
	s := Situation{Secret: c.entry.Secret, HandedOver: c.entry.Tombstone != nil}
	if d := c.declared; d != nil {
		s.Secret, s.Declared, s.Derived = d.Name, true, len(d.Inputs) > 0
		s.Seeded, s.AllowInterruption, s.Admin, s.Newer, s.Held = d.Seeded, d.AllowInterruption, d.Admin, d.Newer, d.Held
	}
	if r := c.entry.RecoveryNow(); r != nil && s.Newer == "" {
		s.Newer = r.Newer
	}
	held, err := e.Authority.Read(ctx, c.entry.Path)
	switch {
	case errors.Is(err, authority.ErrNotFound):
	case err != nil:
		return err
	default:
		c.held, s.HasValue, s.Fields = &held, true, held.Value.Names()
		made := c.entry.Live != nil && held.ID.Run == c.entry.Live.ID
		c.foreign = !made && (c.entry.Current == nil || *c.entry.Current != held.ID)
	}
	c.situation = s
	c.loadCandidate()
	return nil
}

// loadCandidate takes what the run that was under way had prepared, or the one that an earlier acceptance gave up.
func (c *examined) loadCandidate() {
	values := c.document.Pending
	switch run := c.entry.Live; {
	case run != nil && run.Workflow == journal.Rotation:
		c.prepared = run.ID
	case run == nil && c.entry.RecoveryNow() != nil:
		c.prepared, values = c.entry.RecoveryNow().Pending, c.document.Kept
	}
	if values != nil && c.prepared != "" && values.Run == c.prepared {
		c.candidate = values.Candidate
	}
}

// ask signs in with the version of record, and where that is refused with the candidate of a run that was under way, unless
// one more refused sign-in could lock the account out, or a call may still change what is accepted. An upstream that never answers keeps no other from being asked.
func (e *Engine) ask(ctx context.Context, c *examined) {
	if c.declared == nil {
		return
	}
	if c.declared.Held != "" {
		c.situation.Kind, c.situation.Record, c.situation.Doubt = &upstream.Kind{Verifies: true}, upstream.Unknown, "it is held: "+c.declared.Held
		return
	}
	if c.declared.Upstream == nil {
		return
	}
	u := c.declared.Upstream
	if readier, able := u.(upstream.Readier); able {
		if _, err := outward.Do(ctx, e.Calls, c.call(), func(ctx context.Context) (struct{}, error) { return struct{}{}, readier.Ready(ctx) }); err != nil {
			c.situation.Kind, c.situation.Record, c.situation.Doubt = &upstream.Kind{Verifies: true}, upstream.Unknown, err.Error()
			return
		}
	}
	kind := u.Kind()
	c.situation.Kind = &kind
	if !kind.Verifies || c.held == nil {
		return
	}
	c.situation.HasCandidate = !c.candidate.Empty()
	if lands := c.lands(); lands.After(e.Now()) {
		c.situation.Record, c.situation.Doubt = upstream.Unknown, "a call that was begun may take effect until "+lands.UTC().Format(time.RFC3339)
		return
	}
	if r := c.entry.RecoveryNow(); r != nil && r.Refused && c.situation.HasCandidate && kind.WrongEvery > 0 {
		c.situation.Record = upstream.Refused // it was tried the time before, and is not tried before the candidate
	} else {
		c.situation.Record, c.situation.Doubt = e.verify(ctx, c, c.held.Value)
	}
	if c.situation.Record == upstream.Refused && c.situation.HasCandidate {
		c.situation.Candidate, c.situation.Doubt = e.verify(ctx, c, c.candidate)
	}
	if c.situation.Record != upstream.Unknown {
		c.situation.Stranger = e.stranger(ctx, c)
	}
}

// stranger is the run that changed the account last, as its marker has it, where the older state does not know it; "" where it
// does, or that cannot be told: then a run asks again before its first change.
func (e *Engine) stranger(ctx context.Context, c *examined) string {
	marked, able := c.declared.Upstream.(upstream.Marked)
	if !able {
		return ""
	}
	run, err := outward.Do(ctx, e.Calls, c.call(), func(ctx context.Context) (string, error) {
		return marked.Stranger(ctx, c.entry.Runs())
	})
	if err != nil || slices.Contains(c.entry.Taken, run) {
		return ""
	}
	return run
}

// call is one to the secret's upstream.
func (c *examined) call() outward.Call {
	return outward.Call{Part: outward.Account(string(c.entry.Path)), Group: c.declared.Server, Limit: askTimeout}
}

// lands is until when a call of a run of this state may take effect, be it under way or given up.
func (c *examined) lands() time.Time {
	if live := c.entry.Live; live != nil && live.CallBy.After(c.entry.QuietUntil) {
		return live.CallBy
	}
	return c.entry.QuietUntil
}

func (e *Engine) verify(ctx context.Context, c *examined, v secret.Value) (upstream.Verdict, string) {
	verdict, err := e.Check(ctx, *c.declared, v)
	if verdict == upstream.Accepted || verdict == upstream.Refused {
		return verdict, ""
	}
	if err == nil {
		return upstream.Unknown, ""
	}
	doubt := upstream.Named(upstream.Explained(err), c.declared.Name, c.declared.AdminSecret)
	if later, says := errors.AsType[*upstream.Later](err); says {
		doubt += "; it is tried from " + e.Now().Add(later.After).UTC().Format(time.RFC3339) + " on"
	}
	return upstream.Unknown, doubt
}

// decide says what becomes of each, of derived ones last: they follow what they are computed from.
func decide(cases []*examined) {
	at := map[authority.Path]*examined{}
	for _, c := range cases {
		at[c.entry.Path] = c
		switch {
		case c.entry.Fault != nil:
			c.decision = Decision{Person, "what is known of it cannot be read: " + c.entry.Fault.Error(), explains(string(c.entry.Path))}
		case c.foreign:
			c.decision = Decision{Person, "somebody else wrote over the current version", explains(c.situation.Secret)}
		case !c.situation.Derived:
			c.decision = Decide(c.situation)
		}
	}
	for range cases { // one may be computed from another that is
		for _, c := range cases {
			if c.decision.Action != "" && !c.situation.Derived || c.entry.Fault != nil || c.foreign {
				continue
			}
			for _, input := range c.declared.Inputs {
				if from := at[input]; from != nil && from.recovers() {
					c.situation.Blocked = from.situation.Secret
				}
			}
			c.decision = Decide(c.situation)
		}
	}
}

// explains is for what does not fit its history.
func explains(secret string) reason.Reason {
	return reason.New(reason.RecoveryExplains, reason.Args{"explain": secret})
}

func (c *examined) recovers() bool {
	return c.decision.Action == Person || c.decision.Action == Rotates
}

func (c *examined) outcome() Outcome {
	o := Outcome{Secret: c.situation.Secret, Path: c.entry.Path, Action: c.decision.Action, Why: c.decision.Why, Next: c.decision.Next()}
	if o.Secret == "" {
		o.Secret = c.entry.Secret
	}
	if c.entry.Live != nil {
		o.GaveUp = c.entry.Live.ID
	}
	return o
}

// value is what is written under the new incarnation.
func (c *examined) value() secret.Value {
	if c.decision.Action == KeepsCandidate {
		return c.candidate
	}
	return c.held.Value
}

// renew brings the history up to the new incarnation, and returns what is to go on record of it.
func (c *examined) renew(run authority.RunID, next authority.Incarnation, by, why string, now time.Time) []audit.Event {
	entry := c.entry
	var events []audit.Event
	if live := entry.Live; live != nil {
		event := audit.Event{
			Run: live.ID, Step: string(journal.Planned), Workflow: audit.Workflow(live.Workflow), Secret: entry.Secret, Path: entry.Path,
			By: live.Trigger.By, Reason: live.Trigger.Reason, Result: audit.OK, At: now,
		}
		undone := event
		undone.Step, undone.Result, undone.Detail = string(journal.Undone), audit.Failed, "given up: an older state was restored"
		events = append(events, event, undone)
		entry.Last = &journal.Outcome{
			Run: live.ID, Workflow: live.Workflow, Result: journal.ResultUndone, Trigger: live.Trigger, Detail: undone.Detail,
			Aborted: true, Group: live.Group, Started: live.Started, Ended: now,
		}
		if live.CallBy.After(entry.QuietUntil) {
			entry.QuietUntil = live.CallBy
		}
		entry.Live = nil
	}
	entry.Retry, entry.Checked, entry.Recovery = nil, nil, nil
	if entry.Current != nil { // the account's marker may name the run that made it
		entry.Changes(entry.Current.Run)
	}
	if c.held != nil {
		if x := entry.Expiry; x != nil && entry.Current != nil && x.Version != nil && *x.Version == *entry.Current {
			entry.Expiry = &journal.Expiry{At: x.At} // the same value under another number
		}
		entry.Current = &authority.VersionID{Incarnation: next, Run: run, Number: c.held.ID.Number + 1}
		if entry.Rotated.IsZero() || c.decision.Action == KeepsCandidate {
			entry.Rotated = now
		}
	}
	if entry.Tombstone == nil && c.situation.Seeded && c.decision.Action != Begins {
		entry.Tombstone = &journal.Tombstone{Run: run, Document: "an older state that was restored", At: now}
	}
	if c.recovers() && c.situation.Record == upstream.Refused && c.situation.Stranger != "" { // who accepts this was told whose change it was
		entry.Takes(c.situation.Stranger)
	}
	if c.recovers() {
		entry.Recovery = &journal.Recovery{Run: run, Version: entry.Current, Reason: c.decision.Waits.Because(c.decision.Why), Newer: c.situation.Newer,
			Refused: c.situation.Record == upstream.Refused}
		if !c.candidate.Empty() {
			entry.Recovery.Pending = c.prepared
			c.document.Kept = &journal.Pending{Run: c.prepared, Candidate: c.candidate}
		}
	}
	return append(events, audit.Event{
		Run: run, Step: "recovered " + string(entry.Path), Workflow: audit.Operation, Secret: entry.Secret, Path: entry.Path, Version: entry.Current,
		By: by, Reason: why, Result: audit.OK, Detail: fmt.Sprintf("%s: %s", c.decision.Action, c.decision.Why), At: now,
	})
}
