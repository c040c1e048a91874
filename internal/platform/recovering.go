// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/server"
)

// Behind says how an authority is older than the record of what was done with it, "" when it is not. A run's last
// transition is recorded before the journal closes it, so the last run that the record closes is, in a current
// authority, either the last outcome or still live. events are those that are to be compared: not those that tell of a state
// that a person gave up, nor those that the authority was found to know before. Of a record that was cut, the last run that it
// closes need not be the last: there a journal that has gone on since knows it.
func Behind(entries []*journal.Entry, events iter.Seq2[audit.Event, error], cut bool) (string, error) {
	closed := map[authority.Path]audit.Event{}
	for event, err := range events {
		if err != nil {
			return "", fmt.Errorf("comparing the authority with the record: %w", err)
		}
		switch journal.Step(event.Step) {
		case journal.Completed, journal.Consumed, journal.Undone:
			closed[event.Path] = event
		}
	}
	for _, entry := range entries {
		if entry.Fault != nil { // it says itself that it cannot be read; what it knows is not known
			delete(closed, entry.Path)
			continue
		}
		last, recorded := closed[entry.Path]
		known := entry.Live != nil && entry.Live.ID == last.Run || entry.Last != nil && entry.Last.Run == last.Run
		wentOn := entry.Live != nil && entry.Live.Started.After(last.At) || entry.Last != nil && entry.Last.Ended.After(last.At)
		if recorded && (known || cut && wentOn) {
			delete(closed, entry.Path)
		}
	}
	if len(closed) == 0 {
		return "", nil
	}
	var behind []string
	for path, last := range closed {
		behind = append(behind, fmt.Sprintf("%s (run %s)", path, last.Run))
	}
	slices.Sort(behind)
	return fmt.Sprintf("the authority does not know what the record says was done with %s: it is an older copy", few(behind)), nil
}

// untilAccepted ends every sentence that says why the platform is recovering.
var untilAccepted = "nothing is handed over, rotated or delivered until you restore the newest state, or continue with this one: " + next.AcceptRecovery()

// Recovering says why nothing may be seeded, rotated or delivered, "" when it may: something outside knows of a state newer
// than the authority's.
func (p *Platform) Recovering() string {
	if why := p.accepts(); why != "" {
		return why
	}
	reasons := p.recovering()
	if len(reasons) == 0 {
		return ""
	}
	const most = 3
	more := ""
	if len(reasons) > most {
		more = fmt.Sprintf("; and %d more", len(reasons)-most)
		reasons = reasons[:most]
	}
	return strings.Join(reasons, "; ") + more + "; " + untilAccepted
}

func (p *Platform) recovering() []string {
	var reasons []string
	if p.Recovery != nil {
		for _, ahead := range p.Recovery.Record.Ahead() {
			has := p.Recovery.Record.Size()
			counted := fmt.Sprintf("the record has %d", has)
			if missing := ahead.Missing(has); missing != "" {
				counted += "; " + missing
			}
			reasons = append(reasons, fmt.Sprintf("%s (%s)", ahead, counted))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, why := range []string{p.restored, p.behind} {
		if why != "" {
			reasons = append(reasons, why)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(p.newer)) {
		reasons = append(reasons, p.newer[path].secret+": "+p.newer[path].text)
	}
	return reasons
}

// recordAlone reports whether all that the platform is recovering from is a record that lacks events: the authority knows of them,
// and nothing outside knows of more.
func (p *Platform) recordAlone() bool {
	p.mu.Lock()
	older := p.restored != "" || p.behind != "" || len(p.newer) > 0
	p.mu.Unlock()
	ahead := p.Recovery.Record.Ahead()
	return !older && len(ahead) > 0 && !slices.ContainsFunc(ahead, func(o audit.Outside) bool { return !o.Cut })
}

// olderGrants are what people granted in a state that something outside is newer than, each with the command that revokes it:
// only people know whether it was revoked since. What the record says of that the grants follow by themselves, and a grants
// file is the newest there is.
func (p *Platform) olderGrants() []reason.Reason {
	p.mu.Lock()
	older := p.restored != "" || len(p.newer) > 0
	p.mu.Unlock()
	if !older && (p.Recovery == nil || !slices.ContainsFunc(p.Recovery.Record.Ahead(), func(o audit.Outside) bool { return !o.Cut })) {
		return nil
	}
	entries, _ := p.Grants.Entries()
	var found []reason.Reason
	for _, entry := range entries {
		if !entry.File {
			found = append(found, reason.New(reason.OlderGrant, reason.Args{
				"grant": entry.Grant.String(), "by": entry.By, "revoke": next.Revoked(entry.Kind, entry.Of, entry.To),
			}))
		}
	}
	return found
}

// newerFindings are about the secrets of which a consumer was given a version that the authority does not know, by name.
func (p *Platform) newerFindings() map[string]server.Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[string]server.Finding{}
	for _, newer := range p.newer {
		found[newer.secret] = server.NewFinding(newer.secret, reason.New(reason.ConsumerNewer, nil).Because(newer.text))
	}
	return found
}

// said are the texts of reasons.
func said(reasons []reason.Reason) (texts []string) {
	for _, why := range reasons {
		texts = append(texts, why.Text())
	}
	return texts
}

// refuseWhileRecovering refuses what would change anything.
func (p *Platform) refuseWhileRecovering() error {
	why := p.Recovering()
	if why == "" {
		return nil
	}
	hint := "see what would be done: custody recover accept --dry-run --reason TEXT"
	if p.accepts() != "" {
		hint = "try again once `custody status` no longer says so"
	}
	return &server.Problem{Class: server.Refused, Text: "recovering: " + why, Hint: hint}
}

// newerIncarnations are those of the versions that consumers were given and the authority does not know.
func (p *Platform) newerIncarnations() []authority.Incarnation {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []authority.Incarnation
	for _, one := range p.newer {
		found = append(found, one.in)
	}
	return found
}

// newer says which consumer of a secret was given a version that the authority does not know, and of which incarnation.
type newer struct {
	secret, text string
	in           authority.Incarnation
}

// askConsumers notes which consumers hold a version that the authority does not know, by secret. Only what was delivered
// under the present incarnation, or under one that began after it, compares; to an authority that has delivered nothing yet,
// also what another one delivered. A consumer that does not answer in time says nothing.
func (p *Platform) askConsumers(secrets []orchestrator.Secret) {
	if p.Recovery == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	type answer struct {
		path authority.Path
		newer
	}
	answers := make(chan answer)
	asked := 0
	givenUp := sync.OnceValue(func() func(authority.Incarnation) bool { return p.givenUp(ctx, secrets) })
	for _, s := range secrets {
		for _, consumer := range s.Consumers {
			remembers, able := consumer.Consumer.(materialize.Rememberer)
			if !able {
				continue
			}
			asked++
			go func() {
				select {
				case answers <- answer{s.Path, p.newerAt(ctx, s, consumer.Name(), remembers, givenUp)}:
				case <-ctx.Done():
				}
			}()
		}
	}
	found := map[authority.Path]newer{}
	for range asked {
		select {
		case <-ctx.Done():
		case answer := <-answers:
			if answer.text != "" {
				found[answer.path] = answer.newer
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(found, p.newer) // a consumer that does not answer now takes no evidence back
	p.newer = found
}

// givenUp says of which incarnations nothing that a consumer was given counts, to one that is neither this authority's own nor
// later: of all, once it has delivered something; before, of those that a person gave up. A first start with another state
// folder, or without the mount that it lies on, would else begin anew over what is in use.
func (p *Platform) givenUp(ctx context.Context, secrets []orchestrator.Secret) func(authority.Incarnation) bool {
	all := func(authority.Incarnation) bool { return true }
	for _, s := range secrets {
		if len(s.Consumers) == 0 {
			continue
		}
		entry, err := p.Journal.Load(ctx, s.Path)
		if err != nil || entry.Last != nil && entry.Last.Result == journal.ResultCompleted {
			return all
		}
	}
	last, err := recovery.Last(ctx, p.Recovery.Authority)
	if err != nil {
		return all
	}
	return func(i authority.Incarnation) bool { return slices.Contains(last.Incarnations, i) }
}

// newerAt asks the consumer before the authority: a version is written before it is delivered.
func (p *Platform) newerAt(ctx context.Context, s orchestrator.Secret, consumer string, remembers materialize.Rememberer,
	givenUp func() func(authority.Incarnation) bool,
) newer {
	found := newer{secret: s.Subject.Secret}
	given, known, err := remembers.Given(ctx, s.Path)
	if err != nil || !known {
		return found
	}
	found.in = given.Incarnation
	switch own := p.Authority.Incarnation(); {
	case given.Incarnation == own:
	case p.Later(given.Incarnation):
		found.text = fmt.Sprintf("consumer %s was given version %d of incarnation %s, which began after the authority's own, %s", consumer, given.Number, given.Incarnation, own)
		return found
	case givenUp()(given.Incarnation):
		return found
	default:
		found.text = fmt.Sprintf("consumer %s was given version %d by another authority (incarnation %s), and this one has delivered nothing yet: "+
			"the state folder may not be the platform's own; check `state` in the host file, and that the right disk is mounted", consumer, given.Number, given.Incarnation)
		return found
	}
	held, err := p.Authority.Read(ctx, s.Path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return found
	}
	if given.Number >= held.ID.Number && given != held.ID {
		found.text = fmt.Sprintf("consumer %s was given version %d, and the authority knows of %d", consumer, given.Number, held.ID.Number)
	}
	return found
}

// few are the first of many, and how many more there are.
func few(of []string) string {
	const most = 3
	if len(of) <= most {
		return strings.Join(of, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(of[:most], ", "), len(of)-most)
}
