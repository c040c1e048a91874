// SPDX-License-Identifier: Apache-2.0

// Package http rotates the credentials of any HTTP API by a recipe: internal/recipe says what to request and what an
// answer means, and this package makes the calls.
//
// # Guaranteed
//
// Requests go only to the configured addresses: the next page of a list must be below the same address, redirects are
// not followed, and nothing is taken from the environment except a proxy (see transport.HTTP). Only the admin's way to
// sign in can use the admin credential. The size of answers is limited; no error contains anything from the body of an
// answer. A reply that neither a rule of the recipe nor a rule of HTTP decides is unknown. Nothing is removed except
// what the value names, or what has the tag of the run in question; the successor is never removed.
//
// # Not guaranteed
//
// A recipe can be wrong; `custody upstream try` tests one on the real service, without keeping anything. A request that
// was sent may take effect after its deadline, because HTTP cannot recall it. Kind.CallDeadline includes the settle
// time, so that what a lost request created is in the lists before anything is collected, and the time that a recipe
// allows for late requests. Calls of superseded runs are not refused. A time of last use also counts Custody's own
// sign-ins: those of this process are ignored, and hide earlier ones.
//
// # What the admin needs
//
// The page of each recipe says it.
//
// # Cost
//
// Each step is one request on its own connection, and so is each further page of a list; OAuth 2 costs one more request
// for each operation. No connection is kept open between calls.
package http

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// Config describes one account on one upstream.
type Config struct {
	Recipe *recipe.Compiled
	// URL is the base address, Endpoints those that the recipe has beside it and that are not its defaults.
	URL       string
	Endpoints map[string]string
	// CACertificate is PEM; default the system's authorities.
	CACertificate string
	// Parameters by name, as documents hold them: texts, whole numbers, truth values, lists.
	Parameters map[string]any
	// Admin returns the admin's credentials in order of preference. The next is tried only when the upstream refuses one.
	// It may be nil when the recipe has no admin.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// Claim is who rotates this account: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	Clock func() time.Time
	// Wait passes d or ends with ctx. The default needs no clock but the context's.
	Wait func(ctx context.Context, d time.Duration) error
	// Random is drawn from for candidates, decoys and tags. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one account. It is safe for concurrent use. Powers gives what the engine asks for more.
type Upstream struct {
	Config
	r         *recipe.Compiled
	kind      upstream.Kind
	endpoints map[string]*url.URL
	params    recipe.Values
	transport *http.Transport
	watch     func(Trial) // of each request; nil but in Try

	mu  sync.Mutex
	key []byte
	own map[string]span
}

// span is when this process signed in with a value, by the upstream's clock.
type span struct{ first, last time.Time }

var _ upstream.Upstream = (*Upstream)(nil)

// New checks config. It does not connect.
func New(config Config) (*Upstream, error) {
	u := &Upstream{Config: config, r: config.Recipe, endpoints: map[string]*url.URL{}, own: map[string]span{}}
	if err := u.configure(); err != nil {
		return nil, fmt.Errorf("configuring http upstream: %w", err)
	}
	return u, nil
}

func (u *Upstream) configure() (err error) {
	switch {
	case u.r == nil || u.Clock == nil:
		return errors.New("a recipe and a clock are needed")
	case u.Claim == "" || len(u.Claim) > 512:
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET, 512 bytes at most")
	case u.r.Admin != nil && u.Config.Admin == nil:
		return errors.New("the recipe needs an admin credential: name one with adminRef")
	}
	if u.Random == nil {
		u.Random = rand.Reader
	}
	if u.Wait == nil {
		u.Wait = wait
	}
	u.key = make([]byte, 32)
	if _, err := io.ReadFull(u.Random, u.key); err != nil {
		return fmt.Errorf("drawing a key: %w", err)
	}
	if u.endpoints, err = u.r.Bases(u.URL, u.Config.Endpoints); err != nil {
		return err
	}
	if u.params, err = u.r.Parameters(u.Config.Parameters); err != nil {
		return err
	}
	u.kind = u.r.Kind(u.known())
	verified, err := transport.Verified("", u.CACertificate) // each request names its host
	if err != nil {
		return err
	}
	u.transport = newTransport(verified)
	return nil
}

// known is what every place of the recipe sees.
func (u *Upstream) known() recipe.Values {
	return recipe.Values{"claim": u.Claim, "now": u.Clock().UTC()}.With(u.params)
}

// Kind is what the recipe says of these parameters.
func (u *Upstream) Kind() upstream.Kind { return u.kind }

// Propose makes a candidate as the recipe says.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	const doing = "proposing credential"
	if err := ctx.Err(); err != nil {
		return secret.Value{}, &upstream.Error{Doing: doing, Cause: err}
	}
	v, err := u.r.Candidate(u.known(), current, u.Random, u.NewPassword)
	if err != nil {
		return secret.Value{}, &upstream.Error{Doing: doing, Cause: err}
	}
	return v, nil
}

// Apply makes the upstream honour candidate, or issue a credential that carries the run.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	s, cancel, err := u.change(ctx, "applying credential", run)
	if err != nil {
		return secret.Value{}, err
	}
	defer cancel()
	if !u.kind.Issues {
		if missing := u.r.Missing(candidate); missing != "" {
			failed := lacks(s.doing, missing)
			failed.Class = upstream.ErrNotApplied
			return secret.Value{}, failed
		}
		if there, err := s.applied(run, candidate); err != nil || there {
			return candidate, err
		}
	}
	nonce, err := recipe.Nonce(u.Random)
	if err != nil {
		return secret.Value{}, &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	s.vars = s.vars.With(recipe.Values{"run": string(run), "nonce": nonce, "tag": u.r.Tag(u.Claim, string(run), nonce)},
		u.r.Fields("current", current), u.r.Fields("candidate", candidate))
	if !u.r.Ready(s.vars) {
		return secret.Value{}, &upstream.Error{
			Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "the recipe's condition on what is there before does not hold",
			Next: u.r.Source.Create.NeedsHint,
		}
	}
	switch o := s.run(u.r.Create); o.word {
	case recipe.OK, recipe.Done:
	case recipe.Quota:
		return secret.Value{}, s.full(o)
	default:
		return secret.Value{}, s.fail(o)
	}
	if !u.kind.Issues {
		return candidate, nil
	}
	issued, err := u.r.Issued(s.vars, current)
	if err != nil {
		return secret.Value{}, s.fail(outcome{word: recipe.Unknown, cause: err})
	}
	return issued, nil
}

// applied reports whether the list has candidate already, made by this run.
func (s *session) applied(run authority.RunID, candidate secret.Value) (bool, error) {
	if len(s.r.List) == 0 || s.r.Source.Find == nil || s.r.Source.Find.Match == "" {
		return false, nil
	}
	items, o := s.items()
	if o.word != recipe.OK {
		return false, s.fail(o)
	}
	found, err := s.find(candidate, items)
	if err != nil || len(found) == 0 {
		return false, err
	}
	if s.r.Source.List.Each["tag"] != "" && !s.carries(found[0], run) {
		return false, &upstream.Error{
			Doing: s.doing, Class: upstream.ErrSuperseded,
			Detail: fmt.Sprintf("the upstream already has this candidate, as %q, but run %s did not make it", shown(found[0].Name), run),
			Next:   "see who made it; remove it there if nobody needs it",
		}
	}
	return true, nil
}

// carries reports whether an item is of run.
func (u *Upstream) carries(item recipe.Item, run authority.RunID) bool {
	return u.r.Carries(item.Tag, u.Claim, string(run))
}

// lacks says that a value cannot be used as it is.
func lacks(doing, field string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Detail: "a credential needs the field " + field,
		Next: "supply the value with that field as well: " + upstream.SealOwn(field),
	}
}

// change begins an operation that changes something. A context that is done changes nothing.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID) (*session, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	if run == "" {
		return nil, nil, &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Deadline())
	return u.open(ctx, doing), cancel, nil
}

// Verify signs in as the recipe says.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "verifying credential"
	if err := ctx.Err(); err != nil {
		return upstream.Unknown, &upstream.Error{Doing: doing, Cause: err}
	}
	if missing := u.r.Missing(v); missing != "" {
		return upstream.Unknown, lacks(doing, missing)
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Deadline())
	defer cancel()
	s := u.open(ctx, doing, u.r.Fields("secret", v))
	s.verifying = true
	if u.r.Source.Verify.Listed {
		return s.listed(v)
	}
	before := u.Clock()
	o := s.run(u.r.Verify)
	u.remember(v, s, before)
	switch o.word {
	case recipe.Accepted:
		return upstream.Accepted, nil
	case recipe.Refused:
		return upstream.Refused, nil
	case recipe.OK:
		o.because = "no reply decided"
	}
	return upstream.Unknown, s.undecided(o)
}

// undecided words a verdict of unknown: nothing was to be applied.
func (s *session) undecided(o outcome) error { return upstream.Classless(s.fail(o)) }

func (s *session) listed(v secret.Value) (upstream.Verdict, error) {
	items, o := s.items()
	if o.word != recipe.OK {
		return upstream.Unknown, s.undecided(o)
	}
	switch found, err := s.find(v, items); {
	case err != nil:
		return upstream.Unknown, err
	case len(found) == 0:
		return upstream.Refused, nil
	}
	return upstream.Accepted, nil
}

// Revoke removes old, never successor. Of a value that the list does not have nothing is removed: it must be refused.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	if u.kind.Capability == upstream.Overwrite {
		return nil // applying the successor replaced it
	}
	s, cancel, err := u.change(ctx, "revoking credential", run)
	if err != nil {
		return err
	}
	defer cancel()
	refuse := func(detail, next string) *upstream.Error {
		return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
	}
	switch missing := u.r.Missing(old); {
	case missing != "":
		failed := lacks(s.doing, missing)
		failed.Class = upstream.ErrNotApplied
		return failed
	case old.Equal(successor):
		return refuse("the credential to revoke is its own successor", "")
	}
	target, err := s.target(old, successor)
	if err != nil {
		return err
	}
	if target == nil {
		verdict, err := u.Verify(ctx, old)
		if verdict == upstream.Refused {
			return nil
		}
		failed := refuse("the upstream's list does not have this credential, and yet it is "+string(verdict),
			"find out whose account it belongs to and revoke it there by hand; the run then continues")
		failed.Cause = err
		return failed
	}
	return s.remove(run, *target)
}

// target finds what old is upstream; nil when the list does not have it.
func (s *session) target(old, successor secret.Value) (*recipe.Item, error) {
	refuse := func(detail, next string) error {
		return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
	}
	const same = "the upstream takes the credential to revoke for its successor"
	if len(s.r.List) == 0 {
		id, next := s.r.Identity(s.vars, old), s.r.Identity(s.vars, successor)
		if id == "" {
			return nil, refuse("the value does not say which credential it is", "revoke it by hand; the run then continues")
		}
		if id == next {
			return nil, refuse(same, "")
		}
		named := recipe.Named(id)
		return &named, nil
	}
	items, o := s.items()
	if o.word != recipe.OK {
		return nil, s.fail(o)
	}
	found, err := s.find(old, items)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if s.r.Missing(successor) == "" {
		next, err := s.find(successor, items)
		if err != nil {
			return nil, err
		}
		if len(next) > 0 && next[0].ID == found[0].ID {
			return nil, refuse(same, "")
		}
	}
	return &found[0], nil
}

// remove runs the recipe's revoke on one item.
func (s *session) remove(run authority.RunID, target recipe.Item) error {
	s.vars = s.vars.With(recipe.Values{"run": string(run)}, target.Values)
	if o := s.run(s.r.Revoke); o.word != recipe.OK && o.word != recipe.Done {
		return s.fail(o)
	}
	return nil
}
