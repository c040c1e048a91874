// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"

	"custody.dev/custody/internal/intent"
)

// Reload puts the newest estate in force if it lints and can be bound; else the one before stays, or the copy kept of
// it, and the reason is a finding. It reports whether the estate in force changed. While an older state is accepted it does
// nothing.
func (p *Platform) Reload() bool {
	if p.underAcceptance() {
		return false
	}
	_ = p.SettleRecovery(context.Background()) // Recovering says why that failed
	p.reloading.Lock()
	defer p.reloading.Unlock()
	regranted := p.Grants.Refresh(context.Background())
	estate, err := p.Load()
	current := p.Estate()
	if current != nil && regranted && (err != nil || current.Digest == estate.Digest) {
		if berr := p.use(current, false); berr != nil {
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
	case current != nil && current.Digest == estate.Digest:
		p.note("")
		p.keepLater()
		return false
	}
	if err := p.use(estate, true); err != nil {
		p.note(err.Error())
		return false
	}
	return true
}

func (p *Platform) underAcceptance() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepting != ""
}

// fallBack puts the copy of the last estate in force, if one is kept.
func (p *Platform) fallBack() (bool, error) {
	kept, err := p.Kept()
	if err != nil || kept == nil {
		return false, err
	}
	if err := p.use(kept, false); err != nil {
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

func (p *Platform) use(estate *intent.Estate, keep bool) error {
	secrets, err := p.Bind(estate)
	if err != nil {
		return err
	}
	p.mu.Lock()
	unkept := p.unkept
	p.mu.Unlock()
	if keep {
		unkept = p.keep(estate)
	}
	p.askConsumers(secrets)
	p.Orchestrator.CapTimed(estate.Platform.Spec.Rotation.MaxTimedRunsPerHour)
	p.Orchestrator.Use(secrets)
	p.Model.Declare(estate)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.estate, p.since, p.fault, p.unkept = estate, p.Now(), "", unkept
	p.fellBack = p.fellBack && !keep
	return nil
}

// keep keeps a copy of the estate and says why that failed, "" when it did not. It is for a later start alone: a disk that is
// full keeps nobody from using what was read.
func (p *Platform) keep(estate *intent.Estate) string {
	if err := p.Keep(estate); err != nil {
		return err.Error()
	}
	return ""
}

// keepLater tries again to keep the copy that could not be kept.
func (p *Platform) keepLater() {
	p.mu.Lock()
	owed := p.unkept != ""
	p.mu.Unlock()
	if !owed {
		return
	}
	unkept := p.keep(p.Estate())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unkept = unkept
}

// Estate in force, nil when none is.
func (p *Platform) Estate() *intent.Estate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.estate
}
