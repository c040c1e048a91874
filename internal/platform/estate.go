// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"slices"
	"time"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/outward"
)

// Reload puts the newest estate in force as far as it lints, if it can be bound; what does not lint stays as it was, or as it
// is in the copy kept, and the reason is a finding. It reports whether the estate in force changed. While an older state is accepted it does
// nothing.
func (p *Platform) Reload() bool {
	if p.underAcceptance() {
		return false
	}
	_ = p.SettleRecovery(context.Background())                 // Recovering says why that failed
	_ = p.reloading.Enter(context.Background(), outward.First) // what never ends has no error
	defer p.reloading.Leave()
	regranted := p.Grants.Refresh(context.Background())
	current := p.Estate()
	estate, err := p.Load(current)
	if current != nil && regranted && (err != nil || current.Same(estate)) {
		if berr := p.use(current, true, false); berr != nil {
			p.note(berr.Error())
			return false
		}
	}
	switch {
	case err != nil && current == nil:
		changed, kerr := p.fallBack()
		p.note(errors.Join(err, kerr).Error())
		return changed
	case err != nil:
		p.note(err.Error())
		return false
	case current != nil && current.Same(estate):
		p.note("")
		p.retell(estate)
		p.saveEstateLater()
		return false
	}
	p.mu.Lock()
	fellBack := (current == nil || p.fellBack) && slices.ContainsFunc(estate.Older, func(o intent.Older) bool { return o.InForce })
	p.mu.Unlock()
	if err := p.use(estate, false, true); err != nil {
		p.note(err.Error())
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fellBack = fellBack
	return true
}

// retell takes up what is said of an estate that declares the same as the one in force, and keeps it.
func (p *Platform) retell(estate *intent.Estate) {
	if slices.Equal(p.Estate().Older, estate.Older) {
		return
	}
	unsaved := p.saveEstate(estate)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.estate, p.unsaved = estate, unsaved
	p.fellBack = p.fellBack && len(estate.Older) > 0
}

func (p *Platform) underAcceptance() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepting != ""
}

// fallBack puts the copy of the last estate in force, if one is kept.
func (p *Platform) fallBack() (bool, error) {
	kept, err := p.SavedEstate()
	if err != nil || kept == nil {
		return false, err
	}
	if err := p.use(kept, false, false); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fellBack = true
	return true, nil
}

func (p *Platform) note(fault string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// use binds an estate and puts it in force. Of one that was in force before, what did not change is left alone, unless all is
// to be looked at.
func (p *Platform) use(estate *intent.Estate, all, save bool) error {
	secrets, err := p.Bind(estate)
	if err != nil {
		return err
	}
	changed, declare := p.Orchestrator.Changed(secrets), p.Orchestrator.Change
	if all {
		changed, declare = secrets, p.Orchestrator.Use
	}
	p.mu.Lock()
	unsaved := p.unsaved
	p.mu.Unlock()
	if save {
		unsaved = p.saveEstate(estate)
	}
	p.askConsumers(changed)
	p.Orchestrator.CapTimed(estate.Platform.Spec.Rotation.MaxTimedRunsPerHour)
	declare(secrets)
	p.Model.Declare(estate)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.estate, p.since, p.fault, p.unsaved, p.clearAt = estate, p.Now(), "", unsaved, time.Time{}
	p.fellBack = p.fellBack && !save
	return nil
}

// saveEstate saves a copy of the estate and says why that failed, "" when it did not. It is for a later start alone: a disk that is
// full keeps nobody from using what was read.
func (p *Platform) saveEstate(estate *intent.Estate) string {
	if err := p.SaveEstate(estate); err != nil {
		return err.Error()
	}
	return ""
}

// saveEstateLater tries again to save the copy that could not be saved.
func (p *Platform) saveEstateLater() {
	p.mu.Lock()
	owed := p.unsaved != ""
	p.mu.Unlock()
	if !owed {
		return
	}
	unsaved := p.saveEstate(p.Estate())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsaved = unsaved
}

// Estate in force, nil when none is.
func (p *Platform) Estate() *intent.Estate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.estate
}

// Fault says why the newest estate is not in force, "" when it is.
func (p *Platform) Fault() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// Older says which documents of the newest estate are not in force, and why.
func (p *Platform) Older() []string { return said(olderForms(p.Estate())) }
