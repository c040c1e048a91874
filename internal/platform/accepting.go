// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/server"
)

// endsWithin bounds how long accepting an older state waits for what was begun before that state showed.
const endsWithin = 2 * time.Minute

// accepts says what keeps everything from being acted on though the older state is being accepted, or was: "" when nothing.
func (p *Platform) accepts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.accepting != "":
		return "an older state is being accepted: " + p.accepting + "; nothing else is done until that has ended"
	case p.owed != "":
		return "an older state was accepted, and that is not on record yet: " + p.owed + "; it is tried again every few seconds, and nothing else is done before it is"
	}
	return ""
}

// AcceptRecovery implements server.Service.
func (p *Platform) AcceptRecovery(ctx context.Context, by, reason string, how recovery.How) (recovery.Report, error) {
	if err := p.SettleRecovery(ctx); err != nil {
		return recovery.Report{}, err
	}
	was := p.recovering()
	how.Open = len(was) == 0
	if how.Open {
		if left, err := p.leftToAPerson(ctx); err != nil {
			return recovery.Report{}, err
		} else if !left {
			return recovery.Report{}, &server.Problem{Class: server.Refused, Text: "the platform is not recovering, and no secret waits because of an earlier recovery: there is nothing to accept", Hint: "see what secrets wait for: `custody status`"}
		}
	}
	how.RecordAlone = p.recordAlone()
	how.Estate, how.Grants, how.Incarnations = p.olderEstate(), said(p.olderGrants()), p.newerIncarnations()
	if how.RecordAlone { // the kept copy of the estate is as new as the authority
		how.Estate = ""
	}
	if how.Estate != "" && !how.Open && !how.Dry && !how.KeptEstate {
		return recovery.Report{}, &server.Problem{
			Class: server.Refused, Text: how.Estate + ", so secrets that only a newer estate declares would be kept without being tried",
			Hint: "run `custody lint` and fix the faults that it lists; or, if that estate is right: custody recover accept --kept-estate --reason TEXT",
		}
	}
	if how.Dry {
		return p.accept(ctx, by, reason, was, how)
	}
	if !p.acceptance.TryLock() {
		return recovery.Report{}, &server.Problem{Class: server.Refused, Text: "an older state is already being accepted", Hint: "see its progress: `custody status`"}
	}
	defer p.acceptance.Unlock()
	if how.Open { // the platform goes on beside it
		return p.accept(ctx, by, reason, was, how)
	}
	resume, err := p.alone(ctx)
	if err != nil {
		return recovery.Report{}, err
	}
	defer resume()
	return p.accept(ctx, by, reason, was, how)
}

// olderEstate says that the estate in force came with the state that was put back, "" when it was read from its source.
func (p *Platform) olderEstate() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fellBack {
		return ""
	}
	return "the estate in force is the copy that came with the older state (the newest is not in force: " + cmp.Or(p.fault, strings.Join(said(olderForms(p.estate)), "; ")) + ")"
}

// alone waits until nothing that was begun is under way, and until resume is called lets nothing begin and no other estate
// come into force.
func (p *Platform) alone(ctx context.Context) (resume func(), err error) {
	p.doing("waiting up to " + endsWithin.String() + " for what was begun before it showed to end")
	limited, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	if p.reloading.Enter(limited, outward.First) != nil {
		p.doing("")
		return nil, &server.Problem{
			Class: server.Unavailable, Text: "nothing was accepted: waited " + endsWithin.String() + ", but a check of the estate has not ended",
			Hint: "check what hangs, usually the folder of the estate; if the check never ends, restart custody",
		}
	}
	again, err := p.Orchestrator.Pause(limited)
	if err != nil {
		p.doing("")
		p.reloading.Leave()
		return nil, &server.Problem{
			Class: server.Unavailable, Text: "nothing was accepted: waited " + endsWithin.String() + ", and " + err.Error(),
			Hint: "nothing new begins while the platform is recovering; try again once they have ended",
		}
	}
	p.doing("trying each credential at its upstream")
	return func() {
		again()
		p.doing("")
		p.reloading.Leave()
		p.Orchestrator.WakeAll()
		p.Nudge()
	}, nil
}

func (p *Platform) doing(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepting = what
}

func (p *Platform) accept(ctx context.Context, by, reason string, was []string, how recovery.How) (recovery.Report, error) {
	estate, err := p.inForce()
	if err != nil {
		return recovery.Report{}, err
	}
	var secrets []recovery.Secret
	for _, name := range estate.SecretNames() {
		if how.RecordAlone {
			break
		}
		bound, ok := p.Orchestrator.At(estate.Secrets[name].Path)
		if !ok {
			continue
		}
		declared := p.toRecover(bound)
		held, err := p.Orchestrator.Held(ctx, bound)
		if err != nil {
			return recovery.Report{}, err
		}
		declared.Held = held.Text()
		secrets = append(secrets, declared)
	}
	report, err := p.Recovery.Accept(ctx, by, reason, was, secrets, how)
	if report.Incarnation == "" {
		return report, err
	}
	p.mu.Lock()
	p.restored, p.behind, p.newer = "", "", nil
	if err != nil {
		p.owed = err.Error()
	}
	p.mu.Unlock()
	p.Orchestrator.WakeAll()
	p.Nudge()
	return report, err
}

// SettleRecovery puts on record what is owed of an acceptance. Until that is done nothing is acted on: an event of it that
// came after a newer one of the same secret would make the authority look like an older copy. It may be called at any time.
func (p *Platform) SettleRecovery(ctx context.Context) error {
	p.mu.Lock()
	owed := p.owed != ""
	p.mu.Unlock()
	if !owed {
		return nil
	}
	err := p.Recovery.Settle(ctx)
	p.mu.Lock()
	p.owed = ""
	if err != nil {
		p.owed = err.Error()
	}
	p.mu.Unlock()
	if err == nil {
		p.Orchestrator.WakeAll()
		p.Nudge()
	}
	return err
}

func (p *Platform) leftToAPerson(ctx context.Context) (bool, error) {
	entries, err := p.Journal.All(ctx)
	return slices.ContainsFunc(entries, func(e *journal.Entry) bool { return e.RecoveryNow() != nil }), err
}

func (p *Platform) toRecover(bound orchestrator.Secret) recovery.Secret {
	s := recovery.Secret{
		Name: bound.Subject.Secret, Path: bound.Path, Upstream: bound.Upstream, Server: bound.Server, Seeded: bound.Handover != nil,
		AllowInterruption: bound.AllowInterruption, Admin: bound.Escrow != nil, AdminSecret: bound.Admin,
	}
	if bound.Derived != nil {
		for _, input := range bound.Derived.Inputs {
			s.Inputs = append(s.Inputs, input.Path)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Newer = p.newer[bound.Path].text
	return s
}
