// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/phase"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
)

// refresh has the model know what there is to know of the secret at only, or of all with "". Where a server runs, looks do that and
// nobody is asked. Else nobody looked: the journal, the values and the consumers' files are read.
func (p *Platform) refresh(ctx context.Context, only authority.Path) error {
	if p.Served() {
		return nil
	}
	if _, err := p.Journal.All(ctx); err != nil {
		return err
	}
	paths := p.Model.Unlooked()
	for i, path := range paths {
		s, bound := p.Orchestrator.At(path)
		if !bound || only != "" && path != only {
			continue
		}
		if p.Reading != nil && only == "" {
			p.Reading(i, len(paths))
		}
		ask, cancel := context.WithTimeout(ctx, askTimeout)
		seen, err := p.Orchestrator.Glimpse(ask, s)
		cancel()
		if err != nil {
			return err
		}
		p.Model.Looked(seen)
	}
	return nil
}

// rows are those of the secrets that the filter takes.
func (p *Platform) rows(ctx context.Context, filter server.Filter) (iter.Seq[inventory.Row], error) {
	if err := p.refresh(ctx, p.pathOf(filter.Secret)); err != nil {
		return nil, err
	}
	now := p.Now()
	rows := p.Model.Rows(now, func(declared *intent.Secret) bool {
		return declared == nil && filter.Owner == "" || declared != nil && filter.May(declared.Name, declared.Spec.Owner.Team)
	})
	return func(yield func(inventory.Row) bool) {
		for row := range rows {
			if filter.Takes(row, findings(row, now), now) && !yield(row) {
				return
			}
		}
	}, nil
}

// pathOf is the path of the secret that has or had a name; a name that is not declared may be a path. "" is that of none.
func (p *Platform) pathOf(secretName string) authority.Path {
	if estate := p.Estate(); estate != nil {
		if s, ok := estate.ByName(secretName); ok {
			return s.Path
		}
	}
	return authority.Path(secretName)
}

// Inventory implements server.Service.
func (p *Platform) Inventory(ctx context.Context, filter server.Filter) (iter.Seq[inventory.Row], error) {
	return p.rows(ctx, filter)
}

// Status implements server.Service.
func (p *Platform) Status(ctx context.Context, filter server.Filter) (server.Status, error) {
	var rows []inventory.Row
	now := p.Now()
	status, err := p.survey(ctx, func(row inventory.Row, found []server.Finding) bool {
		taken := filter.Takes(row, found, now)
		if taken {
			rows = append(rows, row)
		}
		return taken
	})
	status.Secrets = rows
	return status, err
}

// everything takes every row.
func everything(inventory.Row, []server.Finding) bool { return true }

// survey is the status without its rows, each of which take is told of with the findings about it; those of a row that it does not
// take are left out.
func (p *Platform) survey(ctx context.Context, take func(inventory.Row, []server.Finding) bool) (server.Status, error) {
	if err := p.refresh(ctx, ""); err != nil {
		return server.Status{}, err
	}
	p.mu.Lock()
	status := server.Status{
		Platform: p.Name, Environment: p.Environment, Authority: p.AuthorityType,
		Incarnation: string(p.Authority.Incarnation()), Serving: p.serving,
	}
	if p.serving { // else it was read just now, and nobody knows since when it is as it is
		status.EstateSince = p.since
	}
	fault, estate, unsaved := p.fault, p.estate, p.unsaved
	p.mu.Unlock()
	facts := phase.Facts{
		EstateFault: fault, BootstrapIdentity: p.Identity(), Initialised: p.Initialised, Unsealed: p.Initialised, Recovering: p.Recovering(),
	}
	if estate != nil {
		status.Estate, facts.EstateDigest = estate.Digest, estate.Digest
		facts.RootRecipients, facts.Documents = len(estate.Platform.Spec.RootRecipients), len(estate.Bootstrap)
	}
	now, newer := p.Now(), p.newerFindings()
	for row := range p.Model.Rows(now, nil) {
		p.gather(ctx, row, &facts)
		if status.Serving {
			age(&status, row)
		}
		found := findings(row, now)
		if one, is := newer[row.Secret]; is {
			found = append(found, one)
		}
		if take(row, found) {
			status.Findings = append(status.Findings, found...)
		}
	}
	if p.Source != nil {
		standing := p.Source.Standing()
		status.Source = &standing
	}
	status.Standing = phase.Of(facts)
	for _, why := range p.ofPlatform(facts.Recovering, unsaved, fault, estate) {
		status.Findings = append(status.Findings, server.NewFinding("", why))
	}
	ungranted, err := p.ungranted(ctx, estate)
	status.Findings = append(status.Findings, ungranted...)
	status.Findings = append(status.Findings, p.awayAgents(estate, now)...)
	for _, fault := range p.Queue.Faults() {
		status.Findings = append(status.Findings, server.NewFinding("", reason.New(reason.RequestUnreadable, nil).Because(fault)))
	}
	if jump := p.jump(ctx); jump != "" {
		status.Findings = append(status.Findings, server.NewFinding("", reason.New(reason.ClockJumped, nil).Because(jump)))
	}
	return status, err
}

// ofPlatform are the reasons to look at what is about no secret.
func (p *Platform) ofPlatform(recovering, unsaved, fault string, estate *intent.Estate) (found []reason.Reason) {
	if recovering != "" {
		found = append(append(found, reason.New(reason.Recovering, nil).Because(recovering)), p.olderGrants()...)
	}
	if p.Machine != nil {
		for _, text := range p.Machine() {
			found = append(found, reason.New(reason.MachineFile, nil).Because(text))
		}
	}
	if names, since := p.unended(); len(names) > 0 {
		found = append(found, reason.New(reason.LooksUnended, reason.Args{"secrets": few(names), "since": since.UTC().Format(time.RFC3339)}))
	}
	if unsaved != "" {
		found = append(found, reason.New(reason.EstateNotKept, nil).Because(unsaved))
	}
	if fault != "" {
		found = append(found, reason.New(reason.EstateNotInForce, nil).Because(fault))
	}
	if p.Source != nil {
		found = append(found, p.Source.Findings()...)
	}
	found = append(found, olderForms(estate)...)
	if p.Notifier != nil {
		found = append(found, p.Notifier.Reasons()...)
	}
	if p.Backups != nil {
		found = append(found, p.Backups.Reasons()...)
	}
	for _, finding := range p.Record.Findings() {
		found = append(found, reason.New(reason.RecordDoubtful, nil).Because(finding.String()))
	}
	return found
}

// unendedAfter is longer than a look takes that waits for a few parts, each for as long as it may.
const unendedAfter = 15 * time.Minute

func (p *Platform) unended() (names []string, since time.Time) {
	if p.Orchestrator == nil {
		return nil, time.Time{}
	}
	return p.Orchestrator.Unended(unendedAfter)
}

// age notes how old what is known of a declared secret is.
func age(status *server.Status, row inventory.Row) {
	switch {
	case row.Authority == "undeclared":
	case row.Looked.IsZero():
		status.Unlooked++
	case status.Oldest.IsZero() || row.Looked.Before(status.Oldest):
		status.Oldest = row.Looked
	}
}

// jump is what happened to the clock, "" when it can be believed.
func (p *Platform) jump(ctx context.Context) string {
	if p.Served() {
		return p.Clock.Told()
	}
	jump, err := p.Clock.Check(ctx)
	if err != nil {
		return ""
	}
	return jump
}

// Summary is what the metrics say of a status.
type Summary struct {
	// At is when it was put together.
	At       time.Time
	Phase    phase.Phase
	Findings int
	// States counts secrets by state, and Reasons waits and findings by code.
	States  map[string]int
	Reasons map[reason.Code]int
	Ends    []Lifetime
	// Revoked is how long the last compromise of each secret took, from the report until the old credential was refused; Compromised
	// is since when a report waits for that.
	Revoked     map[string]time.Duration
	Compromised map[string]time.Time
	// Seen are the findings, with whose each is.
	Seen notify.Seen
}

// Lifetime is that of one secret's version of record; zero times are not known.
type Lifetime struct {
	Secret           string
	Rotated, Expires time.Time
	// Ending: its owner is warned.
	Ending bool
}

// Summarise puts a summary together; see Summary. It costs what Status does.
func (p *Platform) Summarise(ctx context.Context) error {
	summary := &Summary{At: p.Now(), States: map[string]int{}, Reasons: map[reason.Code]int{}, Revoked: map[string]time.Duration{}, Compromised: map[string]time.Time{}}
	sight := newSight()
	status, err := p.survey(ctx, func(row inventory.Row, _ []server.Finding) bool {
		sight.row(row)
		summary.States[row.State]++
		if row.Waiting != nil && row.Waiting.ByDesign {
			summary.Reasons[row.Waiting.Code]++ // others are findings
		}
		if c := compromise(row); c.Took() > 0 {
			summary.Revoked[row.Secret] = c.Took()
		} else if c != nil && row.Live != nil {
			summary.Compromised[row.Secret] = c.At
		}
		if !row.Expires.IsZero() || !row.Rotated.IsZero() {
			summary.Ends = append(summary.Ends, Lifetime{row.Secret, row.Rotated, row.Expires, row.Ending})
		}
		return true
	})
	if err == nil {
		summary.Phase, summary.Findings = status.Standing.Phase, len(status.Findings)
		for _, finding := range status.Findings {
			summary.Reasons[finding.Code]++
		}
		summary.Seen = sight.seen(p, status.Findings)
		p.summary.Store(summary)
	}
	return err
}

// Summary returns the newest summary, nil before the first. It asks nothing.
func (p *Platform) Summary() *Summary { return p.summary.Load() }

func (p *Platform) gather(ctx context.Context, row inventory.Row, facts *phase.Facts) {
	if row.State == "undeclared" {
		return
	}
	facts.Declared++
	switch row.Authority {
	case "git":
		facts.ToHandOver = append(facts.ToHandOver, row.Secret)
		if p.Readable(ctx, row.Secret) != nil {
			facts.Unreadable = append(facts.Unreadable, row.Secret)
		}
	case "nobody":
		facts.ToIssue = append(facts.ToIssue, row.Secret)
	default:
		facts.Issued++
		if strings.HasPrefix(row.Origin, "bootstrap ") {
			facts.HandedOver++
		}
		if row.Waiting.Is(reason.FirstLook) {
			facts.Unlooked++
		}
		if (row.State == "waiting" && row.Held() || row.State == "handing-over" || row.State == "held") && len(row.Consumers) > 0 {
			facts.ToMaterialize = append(facts.ToMaterialize, row.Secret)
		}
	}
}

// Explain implements server.Service.
func (p *Platform) Explain(ctx context.Context, secretName string) (server.Explanation, error) {
	if err := p.refresh(ctx, p.pathOf(secretName)); err != nil {
		return server.Explanation{}, err
	}
	row, known := p.Model.Row(secretName, p.Now())
	if !known {
		return server.Explanation{}, missing("secret", secretName)
	}
	explanation := server.Explanation{Row: row, Next: inventory.Next(row, p.Now())}
	if row.State == "held" {
		return explanation, nil // what lies at its path may be another secret's
	}
	entry, err := p.Journal.Load(ctx, authority.Path(row.Path))
	if err != nil {
		return server.Explanation{}, err
	}
	explanation.Enforced, explanation.Adopted = entry.Policy, entry.Adopted()
	if held, err := p.Authority.Read(ctx, entry.Path); err == nil {
		explanation.Fields = held.Value.Names()
	}
	run := authority.RunID("")
	if entry.Last != nil {
		run = entry.Last.Run
	}
	if entry.Live != nil {
		run = entry.Live.ID
	}
	if run != "" {
		explanation.Events, err = p.Audit(ctx, audit.Filter{Run: run})
	}
	return explanation, err
}

func missing(what, name string) error {
	return &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("no %s is called %q", what, name), Hint: "see what there is with `custody inventory` and `custody run list`"}
}

// open are the open requests, the first of each secret. Where a server runs nobody is asked.
func (p *Platform) open(ctx context.Context) (map[string]trigger.Request, error) {
	requests := p.Queue.Known()
	if !p.Served() {
		var err error
		if requests, err = p.Queue.Open(ctx); err != nil {
			return nil, err
		}
	}
	first := map[string]trigger.Request{}
	for _, request := range slices.Backward(requests) {
		first[string(request.Path)] = request
	}
	return first, nil
}

// Plan implements server.Service: what would happen now, and the next thing the clock would start for each secret.
func (p *Platform) Plan(ctx context.Context, filter server.Filter) ([]server.Step, error) {
	rows, err := p.rows(ctx, filter)
	if err != nil {
		return nil, err
	}
	open, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	steps := olderSteps(p.Estate())
	for row := range rows {
		request, asked := open[row.Path]
		if step, comes := p.step(row, request, asked); comes {
			steps = append(steps, step)
		}
	}
	slices.SortStableFunc(steps, func(a, b server.Step) int { return a.When.Compare(b.When) })
	return steps, nil
}

// step is what would happen next with a secret, false when nothing would.
func (p *Platform) step(row inventory.Row, request trigger.Request, asked bool) (server.Step, bool) {
	bound, _ := p.Orchestrator.At(authority.Path(row.Path))
	step := server.Step{Secret: row.Secret, Held: cmp.Or(row.Waiting, bound.Broken.Show())}
	switch {
	case row.State == "undeclared", row.State == "suspended", row.State == "unreadable":
		return step, false
	case row.State == "held":
		step.What, step.Why = "nothing", "its document does not fit its history"
	case row.Authority == "git":
		step.What, step.Why = "hand over", "declared as "+row.Origin
	case row.Live != nil:
		step.What, step.Why = "continue run "+string(row.Live.ID)+" from "+string(row.Live.Step), row.Live.Trigger.Reason
	case row.Authority == "nobody":
		step.What, step.Why = "make the first value", "never issued"
	case asked:
		step.What, step.Why = "rotate", "asked for by "+request.By+": "+request.Reason
	case !row.Due.IsZero():
		step.What = "rotate"
		timed(&step, &bound.Policy, row, p.Now())
	case row.Held():
		step.What, step.Why = "go on", "it waits"
	case row.Refused != nil:
		step.What, step.Why = "nothing", row.Refused.Text
	default:
		return step, false
	}
	return step, true
}

// timed says when the clock alone begins a rotation, and why then: the end of the lifetime, the share of jitter, the maintenance window,
// the cap.
func timed(step *server.Step, policy *journal.Policy, row inventory.Row, now time.Time) {
	step.When, step.Due, step.Jitter = row.Due, row.Due, rotation.Share(authority.Path(row.Path), policy.Jitter)
	step.Why = "policy " + row.Policy
	if step.Jitter > 0 {
		step.Why += ", due " + step.Due.UTC().Format(time.RFC3339) + ", " + duration.Format(step.Jitter.Round(time.Second)) + " early by jitter"
	}
	earliest := row.Due
	if earliest.Before(now) {
		earliest = now
	}
	if begins := policy.Begins(earliest); begins.After(earliest) {
		step.When, step.Window = begins, begins
		step.Why += ", in the window that opens " + begins.UTC().Format(time.RFC3339)
	}
	if held := step.Held; held != nil && held.Is(reason.TimedRunsCapped) && held.Until.After(step.When) {
		step.When = held.Until
	}
}
