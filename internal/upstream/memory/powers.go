// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// use is one sign-in by somebody other than Custody.
type use struct {
	value secret.Value
	who   string
	at    time.Time
}

// maxUses bounds how many sign-ins are remembered.
const maxUses = 256

// Decoy returns a key that was never made.
func (u *Upstream) Decoy(v secret.Value) (secret.Value, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.draw(v, Key)
}

// Stranger reads the marker; without EnforcesRun there is none.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("reading the marker: %w", err)
	}
	switch {
	case u.down:
		return "", errors.New("reading the marker: the upstream is down")
	case u.foreign:
		return "", fmt.Errorf("reading the marker: %w: it carries a foreign claim", upstream.ErrSuperseded)
	case u.marker == "" || slices.Contains(known, u.marker):
		return "", nil
	}
	return string(u.marker), nil
}

// Whose goes by the name in v. Keys have none.
func (u *Upstream) Whose(_ context.Context, v secret.Value) (name string, own bool, err error) {
	name = v.ExposeText(Username)
	if name == "" {
		return "", false, errors.New("asking whose it is: it names no account")
	}
	return "account " + name, name == "account" || name == "account-a" || name == "account-b", nil
}

// List names every live key that was issued.
func (u *Upstream) List(ctx context.Context) ([]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.reachable(ctx, u.config.Clock()); err != nil {
		return nil, err
	}
	var names []string
	for _, c := range u.credentials {
		if c.to.IsZero() && c.name != "" {
			names = append(names, c.name)
		}
	}
	return names, nil
}

// Delete ends a key by its name, as a person does in the upstream's own pages.
func (u *Upstream) Delete(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.credentials {
		if c := &u.credentials[i]; c.name == name && c.to.IsZero() {
			c.to = u.config.Clock()
		}
	}
}

// Hand issues a key to a person, as the upstream's own pages do.
func (u *Upstream) Hand(current secret.Value) (secret.Value, error) {
	return u.Apply(context.Background(), byHand, current, secret.Value{})
}

// byHand is the run of a person, who needs no key to make one.
const byHand authority.RunID = "by-hand"

// SignIn is a sign-in by somebody other than Custody, and reports whether it succeeded.
func (u *Upstream) SignIn(who string, v secret.Value) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.config.Clock()
	if !u.honoured(v, now) {
		return false
	}
	u.uses = append(u.uses, use{v, who, now})
	u.uses = u.uses[max(0, len(u.uses)-maxUses):]
	return true
}

// Uses returns the sign-ins with old since then, as far as they show already.
func (u *Upstream) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.config.Clock()
	if u.down || ctx.Err() != nil {
		return nil, errors.New("asking for uses: the upstream is down")
	}
	if !u.config.Witnesses {
		return nil, errors.New("asking for uses: this upstream keeps no count")
	}
	var uses []upstream.Use
	for _, one := range u.uses {
		if !u.same(one.value, old) || one.at.Before(since) || now.Sub(one.at) < u.config.Late {
			continue
		}
		i := slices.IndexFunc(uses, func(seen upstream.Use) bool { return seen.Who == one.who })
		if i < 0 {
			uses = append(uses, upstream.Use{Who: one.who, Last: one.at})
			continue
		}
		uses[i].Last = one.at
	}
	return uses, nil
}

// Open begins a session with v, if that is honoured, which lasts until it is ended.
func (u *Upstream) Open(v secret.Value) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.down || !u.honoured(v, u.config.Clock()) {
		return false
	}
	u.sessions = append(u.sessions, v)
	return true
}

// Sessions counts the open sessions that began with v.
func (u *Upstream) Sessions(v secret.Value) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	count := 0
	for _, began := range u.sessions {
		if u.same(began, v) {
			count++
		}
	}
	return count
}

// EndSessions ends the open sessions of the key or of the account of old.
func (u *Upstream) EndSessions(ctx context.Context, old secret.Value) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.reachable(ctx, u.config.Clock()); err != nil {
		return 0, err
	}
	field, before := u.identity()[0], len(u.sessions)
	u.sessions = slices.DeleteFunc(u.sessions, func(began secret.Value) bool { return began.ExposeText(field) == old.ExposeText(field) })
	return before - len(u.sessions), nil
}
