// SPDX-License-Identifier: Apache-2.0

// Package exec is an upstream behind a program that the host file names, for systems that Custody has no adapter for.
//
// Each call is one process: no shell, a fixed environment, one JSON request on standard input, one JSON answer on
// standard output. The program says what it can do in its answer to the method kind, which is called once; Custody
// compares this with the mode in the document.
//
// Guaranteed: a call whose context is done starts nothing. A program that could not be started counts as not applied;
// without a well-formed answer the result is ambiguous, or unknown for a sign-in. The program is killed at the
// deadline, and when Custody dies; however it ends, the processes in its process group are then killed. No value
// reaches an argument, the environment, an error or a log, and a text from the program that contains a value of the
// call is not shown. Admin credentials are passed only to methods that change or list. Not guaranteed: anything that
// the program promises, above all that nothing takes effect after its deadline, that its kind is true, and that it does
// not pass on what it gets. `custody upstream check` runs the suite that every adapter passes. A call costs a process.
package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

const (
	// DefaultTimeout bounds a call where the host's configuration does not.
	DefaultTimeout = 30 * time.Second
	// kindTimeout bounds the question what the program can do, which Kind asks without a context.
	kindTimeout = 10 * time.Second
)

// Config is one account behind one program.
type Config struct {
	// Argv is the program, as an absolute path, and its arguments.
	Argv []string
	// Timeout bounds every call. Default DefaultTimeout.
	Timeout time.Duration
	// Mode is what the document declares; "" is dual. The program's kind must agree.
	Mode upstream.Capability
	// Parameters are of the upstream, Account of the account; the program is given both as they are.
	Parameters, Account map[string]string
	// Claim names the owner of the account: platform, environment and secret.
	Claim string
	// Admin returns the admin credentials to try, in order; nil when there are none.
	Admin func(context.Context) ([]secret.Value, error)
	// NewPassword makes a password by the secret's own rule; the program may use it when it proposes.
	NewPassword func(io.Reader) (string, error)
	// Random is what NewPassword draws from.
	Random io.Reader
	// Errors takes what the program writes to standard error, which may hold values; nil counts it and throws it away.
	Errors io.Writer
	// Lost reports that the answer of a process that ended is to be thrown away, for the conformance suite; nil: never.
	Lost func() bool
}

// Upstream is one account. It is safe for concurrent use.
type Upstream struct {
	config Config

	mu   sync.Mutex
	kind *upstream.Kind
	can  []string
	mute error
}

var (
	_ upstream.Upstream  = (*Upstream)(nil)
	_ upstream.Collector = (*Upstream)(nil)
	_ upstream.Lister    = (*Upstream)(nil)
	_ upstream.Decoyer   = (*Upstream)(nil)
	_ upstream.Witness   = (*Upstream)(nil)
	_ upstream.Readier   = (*Upstream)(nil)
)

// New checks config. The program is first started when somebody asks for its kind.
func New(config Config) (*Upstream, error) {
	if len(config.Argv) == 0 || !filepath.IsAbs(config.Argv[0]) {
		return nil, errors.New("making exec upstream: the program must be an absolute path")
	}
	if config.NewPassword == nil || config.Random == nil {
		return nil, errors.New("making exec upstream: a rule for passwords and a source of randomness are needed")
	}
	if config.Mode == "" {
		config.Mode = upstream.Dual
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	config.Argv = slices.Clone(config.Argv)
	config.Parameters, config.Account = maps.Clone(config.Parameters), maps.Clone(config.Account)
	return &Upstream{config: config}, nil
}

// Kind is what the program says that it can do. It is asked here if it never was; after a bad answer, or none, Ready alone
// asks again, and after a good one nobody does. Until then, which Ready tells, the kind is one that nothing can be done with, and every call fails with what was wrong
// with the answer.
func (u *Upstream) Kind() upstream.Kind {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.mute != nil || u.learn(context.Background()) != nil {
		return upstream.Kind{
			Name: typeName, Capability: u.config.Mode, Undo: upstream.Impossible, LostReply: upstream.Person, Verifies: true,
			CallDeadline: u.config.Timeout,
		}
	}
	kind := *u.kind
	return kind
}

// Ready asks for the kind where it is not known yet.
func (u *Upstream) Ready(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.learn(ctx)
}

// learn asks for the kind until it is known. u.mu is held.
func (u *Upstream) learn(ctx context.Context) error {
	if u.kind != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(u.config.Timeout, kindTimeout))
	defer cancel()
	answer, err := u.ask(ctx, &call{request: request{Method: methodKind}})
	if err == nil {
		u.kind, u.can, err = answer.Kind.read(u.config)
	}
	u.mute = err
	return err
}

// begin returns what the program said that it can do, or why nothing can be asked of it.
func (u *Upstream) begin(method string) (upstream.Kind, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	failure := upstream.NotApplied(asking(method), "")
	switch {
	case u.kind == nil && u.mute != nil:
		failure.Detail, failure.Cause = "the program did not say well what it can do", u.mute
	case u.kind == nil:
		failure.Detail = "the program was not asked yet what it can do"
	case !slices.Contains(u.can, method):
		failure.Detail = "the program does not offer it"
	default:
		return *u.kind, nil
	}
	return upstream.Kind{}, failure
}

// call makes one call of a method that the program offers, within the kind's deadline.
func (u *Upstream) call(ctx context.Context, c *call) (answer, error) {
	kind, err := u.begin(c.Method)
	if err != nil {
		return answer{}, err
	}
	if c.administers() && u.config.Admin != nil {
		admins, err := upstream.Admins(ctx, asking(c.Method), u.config.Admin)
		if err != nil {
			return answer{}, err
		}
		for _, admin := range admins {
			c.Admin = append(c.Admin, c.holds(admin))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(u.config.Timeout, kind.CallDeadline))
	defer cancel()
	return u.ask(ctx, c)
}

// Propose has the program make a candidate. It is offered a password that follows the secret's own rule.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if kind := u.Kind(); kind.Issues {
		return secret.Value{}, errors.New("proposing candidate: this upstream issues its credentials")
	}
	password, err := u.config.NewPassword(u.config.Random)
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing candidate: %w", err)
	}
	c := &call{request: request{Method: methodPropose, Password: password}}
	c.secrets = append(c.secrets, password)
	c.Current = c.holds(current)
	answer, err := u.call(ctx, c)
	if err != nil {
		return secret.Value{}, err
	}
	return c.value(answer)
}

// Apply has the program make the upstream honour candidate, or issue a credential that carries run.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if kind, err := u.begin(methodApply); err == nil && kind.Issues != candidate.Empty() {
		return secret.Value{}, upstream.NotApplied("applying", "a candidate is for programs that do not issue, and only for them")
	}
	c := &call{request: request{Method: methodApply, Run: string(run)}}
	c.Current, c.Candidate = c.holds(current), c.holds(candidate)
	answer, err := u.call(ctx, c)
	if err != nil {
		return secret.Value{}, err
	}
	if !candidate.Empty() {
		return candidate, nil
	}
	return c.value(answer)
}

// Verify has the program sign in. Whatever is no verdict is Unknown.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	if kind, err := u.begin(methodApply); err == nil && !kind.Verifies {
		return upstream.Accepted, nil
	}
	if v.Empty() {
		return upstream.Unknown, errors.New("signing in: a credential without fields")
	}
	c := &call{request: request{Method: methodVerify}}
	c.Value = c.holds(v)
	answer, err := u.call(ctx, c)
	if err != nil {
		return upstream.Unknown, upstream.Classless(err) // a sign-in never changes anything
	}
	switch answer.Verdict {
	case upstream.Accepted, upstream.Refused:
		return answer.Verdict, nil
	case upstream.Unknown:
		return upstream.Unknown, fmt.Errorf("signing in: %s", c.shown(answer.Reason))
	}
	return upstream.Unknown, errors.New("signing in: the program gives no verdict: want accepted, refused or unknown")
}

// Revoke has the program make the upstream refuse old. For overwrite kinds nothing is asked.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	if u.config.Mode == upstream.Overwrite {
		return nil
	}
	c := &call{request: request{Method: methodRevoke, Run: string(run)}}
	c.Old, c.Successor = c.holds(old), c.holds(successor)
	_, err := u.call(ctx, c)
	return err
}

// Collect has the program remove whatever carries run.
func (u *Upstream) Collect(ctx context.Context, run authority.RunID) error {
	_, err := u.call(ctx, &call{request: request{Method: methodCollect, Run: string(run)}})
	return err
}

// List has the program name what exists. Names are compared with those of another time, so none is altered in a way that
// makes two of them one; a list by which credentials cannot be told apart, or that may be no list of names, is an error.
func (u *Upstream) List(ctx context.Context) ([]string, error) {
	c := &call{request: request{Method: methodList}}
	answer, err := u.call(ctx, c)
	if err != nil {
		return nil, err
	}
	if answer.Credentials == nil {
		return nil, errors.New("listing credentials: the answer has no list")
	}
	names := make([]string, len(*answer.Credentials))
	for i, name := range *answer.Credentials {
		switch {
		case name == "":
			return nil, &upstream.Error{Doing: asking(methodList), Detail: "its list has a credential without a name", Next: nextNames}
		case c.quotes(name):
			return nil, &upstream.Error{Doing: asking(methodList), Detail: "a name in its list quotes a value of the admin credential", Next: nextNames}
		case slices.Contains((*answer.Credentials)[:i], name):
			return nil, &upstream.Error{Doing: asking(methodList), Detail: "its list has one name twice: " + plain(name), Next: nextNames}
		}
		names[i] = identity(name)
	}
	return names, nil
}

// Decoy has the program make a credential that was never given to anybody, from nothing but v.
func (u *Upstream) Decoy(v secret.Value) (secret.Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), min(u.config.Timeout, kindTimeout))
	defer cancel()
	c := &call{request: request{Method: methodDecoy}}
	c.Value = c.holds(v)
	answer, err := u.call(ctx, c)
	if err != nil {
		return secret.Value{}, err
	}
	return c.value(answer)
}

// Uses has the program say who used old since then.
func (u *Upstream) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	c := &call{request: request{Method: methodUses, Since: since.UTC().Format(time.RFC3339)}}
	c.Old = c.holds(old)
	answer, err := u.call(ctx, c)
	if err != nil {
		return nil, err
	}
	if answer.Uses == nil {
		return nil, errors.New("asking for uses: the answer has no list, and silence is no proof")
	}
	var uses []upstream.Use
	for _, use := range *answer.Uses {
		if use.Last.IsZero() {
			return nil, errors.New("asking for uses: a use has no time, last, and could be one of now")
		}
		if !use.Last.Before(since) {
			uses = append(uses, upstream.Use{Who: c.shown(use.Who), Last: use.Last})
		}
	}
	return uses, nil
}
