// SPDX-License-Identifier: Apache-2.0

// Package memory is an upstream in memory, for tests and the simulator.
//
// It can take every form that the port allows (dual, alternate, overwrite, issued, listed, rotated) and behaves like
// real ones at their worst: changes take effect late, wrong sign-ins lock the account, sign-ins are rate-limited,
// candidates are refused by a rule, and a call that arrives after its deadline has no effect (or, with
// IgnoresDeadlines, has one). It is deterministic: time and randomness come only from Config. It stores nothing outside
// the process. A call costs a mutex and a walk over the few credentials that are or recently were valid.
package memory

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Shape chooses how old and new credentials overlap, and who makes them.
type Shape string

const (
	// Dual honours any number of keys (or Config.Limit of them), made by Custody.
	Dual Shape = "dual"
	// Alternate has two accounts that take turns.
	Alternate Shape = "alternate"
	// Overwrite has one account with one password.
	Overwrite Shape = "overwrite"
	// Issued is dual, but the upstream makes the keys and tags them with the run.
	Issued Shape = "issued"
	// Listed is Issued without tags: keys can be listed, and nothing tells whose they are.
	Listed Shape = "listed"
	// Rotated has one key, made by the upstream, which ends the one before it.
	Rotated Shape = "rotated"
)

// issues reports whether the upstream makes the keys.
func (s Shape) issues() bool { return s == Issued || s == Listed || s == Rotated }

// Fields of the values. Accounts have the first two, keys the last.
const (
	Username = "username"
	Password = "password"
	Key      = "key"
)

// maxPast bounds how many superseded runs are remembered.
const maxPast = 64

// Config describes one upstream account (or pair).
type Config struct {
	Shape  Shape
	Clock  func() time.Time
	Random io.Reader
	// CallDeadline is Kind.CallDeadline. Default 20 s.
	CallDeadline time.Duration
	// Propagation is how long after a change sign-ins still see the state before it. It is Kind.Settle.
	Propagation time.Duration
	// VagueWhilePropagating answers Unknown during Propagation, instead of the state before the change.
	VagueWhilePropagating bool
	// LockoutAfter wrong sign-ins in a row, everything is Unknown for LockoutFor. 0: never.
	LockoutAfter int
	LockoutFor   time.Duration
	// More than RateLimit sign-ins within RateWindow are Unknown. 0: no limit.
	RateLimit  int
	RateWindow time.Duration
	// Limit is how many keys a dual or issued upstream holds at once. 0: any number.
	Limit int
	// Refuses says which candidates break the upstream's rule. It is not asked for Issued.
	Refuses func(candidate secret.Value) bool
	// EnforcesRun keeps a marker of the current run, and refuses runs that came before it.
	EnforcesRun bool
	// IgnoresDeadlines lets calls that arrive after their deadline take effect.
	IgnoresDeadlines bool
	// TrustsAll accepts every sign-in, as a server that asks for no password does.
	TrustsAll bool
	// Witnesses tells who uses a credential; a use shows after Late. See SignIn.
	Witnesses bool
	Late      time.Duration
}

// Upstream is one account. It is safe for concurrent use.
type Upstream struct {
	config Config

	mu          sync.Mutex
	credentials []credential
	marker      authority.RunID
	past        []authority.RunID
	down        bool
	foreign     bool
	wrong       int
	issued      int // keys ever made
	uses        []use
	sessions    []secret.Value // that are open, by what they began with
	lockedUntil time.Time
	signIns     []time.Time
}

// credential is honoured from from until to; a zero to is still to come.
type credential struct {
	value    secret.Value
	run      authority.RunID
	from, to time.Time
	name     string // of a key that was issued
}

var (
	_ upstream.Upstream  = (*Upstream)(nil)
	_ upstream.Collector = (*Upstream)(nil)
	_ upstream.Lister    = (*Upstream)(nil)
	_ upstream.Decoyer   = (*Upstream)(nil)
	_ upstream.Witness   = (*Upstream)(nil)
	_ upstream.Marked    = (*Upstream)(nil)
	_ upstream.Owner     = (*Upstream)(nil)

	_ upstream.SessionEnder = (*Upstream)(nil)
)

// New checks config and returns an upstream that honours nothing yet.
func New(config Config) (*Upstream, error) {
	switch config.Shape {
	case Dual, Alternate, Overwrite, Issued, Listed, Rotated:
	default:
		return nil, fmt.Errorf("making memory upstream: shape %q: want dual, alternate, overwrite, issued, listed or rotated", config.Shape)
	}
	if config.Clock == nil || config.Random == nil {
		return nil, errors.New("making memory upstream: a clock and a source of randomness are needed")
	}
	if config.CallDeadline == 0 {
		config.CallDeadline = 20 * time.Second
	}
	return &Upstream{config: config}, nil
}

// Kind describes the configured shape.
func (u *Upstream) Kind() upstream.Kind {
	kind := upstream.Kind{
		Name: "memory", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: u.config.CallDeadline, Settle: u.config.Propagation,
		Fences: u.config.EnforcesRun,
	}
	switch u.config.Shape {
	case Alternate:
		kind.Capability, kind.Whose = upstream.Alternate, Username
	case Overwrite:
		kind.Capability, kind.Undo, kind.Whose = upstream.Overwrite, upstream.Reapply, Username
	case Issued:
		kind.Issues, kind.LostReply = true, upstream.Reissue
	case Listed:
		kind.Issues, kind.LostReply = true, upstream.Person
	case Rotated:
		kind.Issues, kind.LostReply = true, upstream.Person
		kind.Capability, kind.Undo = upstream.Overwrite, upstream.Impossible
	}
	if u.config.LockoutAfter > 1 {
		kind.WrongEvery = u.config.LockoutFor / time.Duration(u.config.LockoutAfter-1)
	}
	if u.config.Witnesses {
		kind.Evidence = &upstream.Evidence{Source: "sign-ins", Late: u.config.Late, Names: true}
	}
	return kind
}

// Propose draws a candidate. For Issued it errors: the port never calls it there.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("proposing candidate: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch u.config.Shape {
	case Issued, Listed, Rotated:
		return secret.Value{}, errors.New("proposing candidate: this upstream issues its credentials")
	case Dual:
		return u.draw(current, Key)
	case Overwrite:
		return u.account(current, "account")
	}
	if current.ExposeText(Username) == "account-a" {
		return u.account(current, "account-b")
	}
	return u.account(current, "account-a")
}

func (u *Upstream) account(current secret.Value, name string) (secret.Value, error) {
	v, err := current.With(Username, []byte(name))
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing candidate: %w", err)
	}
	return u.draw(v, Password)
}

func (u *Upstream) draw(v secret.Value, field string) (secret.Value, error) {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(u.config.Random, raw); err != nil {
		return secret.Value{}, fmt.Errorf("reading randomness: %w", err)
	}
	return v.With(field, []byte(hex.EncodeToString(raw)))
}

// Apply makes the upstream honour candidate, or issues a key that carries run.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.config.Clock()
	if err := u.reachable(ctx, now); err != nil {
		return secret.Value{}, err
	}
	if !u.config.Shape.issues() {
		if err := u.wellFormed(candidate); err != nil {
			return secret.Value{}, err
		}
		if u.config.Refuses != nil && u.config.Refuses(candidate) {
			return secret.Value{}, fmt.Errorf("applying candidate: %w: it breaks the upstream's rule", upstream.ErrRefusedCandidate)
		}
	}
	if err := u.claim(run); err != nil {
		return secret.Value{}, err
	}
	u.forget(now)
	if u.config.Shape == Rotated && run != byHand && len(u.credentials) > 0 && !u.live(current) {
		return secret.Value{}, fmt.Errorf("applying candidate: %w: a key is rotated by itself, and the current one has ended", upstream.ErrNotApplied)
	}
	name := ""
	if u.config.Shape.issues() {
		issued, err := u.draw(current, Key)
		if err != nil {
			return secret.Value{}, fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
		}
		candidate, name = issued, fmt.Sprintf("key-%d", u.issued+1)
	}
	if u.live(candidate) {
		return candidate, nil
	}
	if err := u.room(candidate, now); err != nil {
		return secret.Value{}, err
	}
	if name != "" {
		u.issued++
	}
	u.credentials = append(u.credentials, credential{value: candidate, run: run, from: now, name: name})
	return candidate, nil
}

// room ends what candidate replaces, and errors where keys are limited and none is replaced.
func (u *Upstream) room(candidate secret.Value, now time.Time) error {
	live := 0
	for i := range u.credentials {
		c := &u.credentials[i]
		if !c.to.IsZero() {
			continue
		}
		switch u.config.Shape {
		case Overwrite, Rotated:
			c.to = now
		case Alternate:
			if c.value.ExposeText(Username) == candidate.ExposeText(Username) {
				c.to = now
			}
		default:
			live++
		}
	}
	if u.config.Limit > 0 && live >= u.config.Limit {
		return fmt.Errorf("applying candidate: %w: %d keys exist, which is the limit", upstream.ErrNotApplied, live)
	}
	return nil
}

// Verify signs in, within the lockout and rate limit.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.config.Clock()
	if err := ctx.Err(); err != nil {
		return upstream.Unknown, fmt.Errorf("signing in: %w", err)
	}
	if u.down {
		return upstream.Unknown, errors.New("signing in: the upstream is down")
	}
	if now.Before(u.lockedUntil) {
		return upstream.Unknown, fmt.Errorf("signing in: the account is locked until %s", u.lockedUntil.UTC().Format(time.RFC3339))
	}
	if u.config.RateLimit > 0 {
		u.signIns = slices.DeleteFunc(u.signIns, func(at time.Time) bool { return now.Sub(at) >= u.config.RateWindow })
		if len(u.signIns) >= u.config.RateLimit {
			return upstream.Unknown, errors.New("signing in: too many sign-ins, try later")
		}
		u.signIns = append(u.signIns, now)
	}
	if u.config.VagueWhilePropagating && u.changing(v, now) {
		return upstream.Unknown, errors.New("signing in: a change to this credential is still propagating")
	}
	if u.honoured(v, now) {
		u.wrong = 0
		return upstream.Accepted, nil
	}
	u.wrong++
	if u.config.LockoutAfter > 0 && u.wrong >= u.config.LockoutAfter {
		u.wrong, u.lockedUntil = 0, now.Add(u.config.LockoutFor)
	}
	return upstream.Refused, nil
}

// Revoke ends old. Keys are ended by their identity; of a pair, the account of old is disabled whatever its password,
// unless it is successor's.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.config.Clock()
	if err := u.reachable(ctx, now); err != nil {
		return err
	}
	if u.config.Shape == Overwrite || u.config.Shape == Rotated {
		return nil
	}
	if !successor.Empty() && u.same(old, successor) {
		return errors.New("revoking: old and successor are the same credential")
	}
	if err := u.claim(run); err != nil {
		return err
	}
	u.forget(now)
	account := old.ExposeText(Username)
	if u.config.Shape == Alternate && account == successor.ExposeText(Username) {
		return nil // applying the successor replaced it
	}
	for i := range u.credentials {
		c := &u.credentials[i]
		match := u.same(c.value, old)
		if u.config.Shape == Alternate {
			match = c.value.ExposeText(Username) == account
		}
		if match && c.to.IsZero() {
			c.to = now
		}
	}
	return nil
}

// Collect claims the account for run and ends every key that carries it. It does nothing for shapes whose credentials
// Custody makes.
func (u *Upstream) Collect(ctx context.Context, run authority.RunID) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.config.Clock()
	if err := u.reachable(ctx, now); err != nil {
		return err
	}
	if u.config.Shape != Issued {
		return nil
	}
	if err := u.claim(run); err != nil {
		return err
	}
	for i := range u.credentials {
		if c := &u.credentials[i]; c.run == run && c.to.IsZero() {
			c.to = now
		}
	}
	return nil
}

// reachable is the front door: a server that is down, and deadlines as a server enforces them.
func (u *Upstream) reachable(ctx context.Context, now time.Time) error {
	if u.down {
		return fmt.Errorf("calling upstream: %w: it is down", upstream.ErrNotApplied)
	}
	if u.config.IgnoresDeadlines {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("calling upstream: %w: %w", upstream.ErrNotApplied, err)
	}
	if deadline, ok := ctx.Deadline(); ok && !now.Before(deadline) {
		return fmt.Errorf("calling upstream: %w: the call arrived after its deadline", upstream.ErrNotApplied)
	}
	return nil
}

// claim makes run the current one, unless a later one already was.
func (u *Upstream) claim(run authority.RunID) error {
	if u.foreign {
		return fmt.Errorf("claiming account: %w: it carries a foreign claim", upstream.ErrSuperseded)
	}
	if !u.config.EnforcesRun || run == u.marker || run == byHand {
		return nil
	}
	if slices.Contains(u.past, run) {
		return fmt.Errorf("claiming account: %w: a later run has begun", upstream.ErrSuperseded)
	}
	if u.marker != "" {
		u.past = append(u.past, u.marker)
		u.past = u.past[max(0, len(u.past)-maxPast):]
	}
	u.marker = run
	return nil
}
