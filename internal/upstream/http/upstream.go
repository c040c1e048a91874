// SPDX-License-Identifier: Apache-2.0

// Package recipe rotates the credentials of any HTTP interface, by a recipe: a document that says which requests create,
// verify, list and revoke a credential, and what their answers mean. page.md is the reference of the form; the recipes in
// the folder recipes are built in, each with a page of its own.
//
// # Guaranteed
//
// A recipe is compiled before anything is called: every expression has a type, every name in it is known, and what is
// wrong is said with its place. An expression sees the document's parameters, the value's own fields, the run, the claim
// and what earlier steps let, and nothing else; the admin credential is seen by the admin's way to sign in alone.
// Requests go to the configured addresses and nowhere else: what is put into a path is escaped, the next page of a list
// must lie beneath the same address, redirects are not followed, and neither proxies nor anything else are taken from the
// environment. Fields that are secret stand in no address unless the recipe says so. Answers are bounded; no error holds
// anything of an answer's body. A reply that no rule of the recipe and none of HTTP's own decides is unknown.
// Nothing is removed but what the value names, or what carries the tag of the run in question; the successor never.
//
// # Not guaranteed
//
// A recipe can be wrong; `custody upstream try` runs one against the real thing with nothing kept. A request that was
// sent may take effect after its deadline: HTTP has no way to recall it. Kind.CallDeadline includes the settle time, so
// that what a lost request made shows in lists before anything is collected, and what a recipe allows for late ones. Superseded runs are not fenced. The uses
// that a last-use time tells of are Custody's own sign-ins too: those made by this process are left out, and hide what
// came before them.
//
// # What the admin needs
//
// Each recipe's page says it.
//
// # Cost
//
// Each step is one request on a connection of its own (each page of a list another); OAuth 2 costs one request for each
// operation more. Nothing is kept open between calls.
package recipe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Config describes one account on one upstream.
type Config struct {
	Recipe *Compiled
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
	r         *Compiled
	kind      upstream.Kind
	endpoints map[string]*url.URL
	params    values
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
	if u.endpoints, err = u.r.bases(u.URL, u.Config.Endpoints); err != nil {
		return err
	}
	if u.params, err = u.r.parameters(u.Config.Parameters); err != nil {
		return err
	}
	u.kind = u.r.kind
	if u.r.tells != nil && !u.r.tells.holds(u.params.with(values{"claim": u.Claim, "now": u.Clock().UTC()})) {
		u.kind.Evidence = nil
	}
	roots := &tls.Config{MinVersion: tls.VersionTLS12}
	if u.CACertificate != "" {
		roots.RootCAs = x509.NewCertPool()
		if !roots.RootCAs.AppendCertsFromPEM([]byte(u.CACertificate)) {
			return errors.New("the CA certificate is not PEM")
		}
	}
	u.transport = newTransport(roots)
	return nil
}

// Kind is what the recipe says of these parameters.
func (u *Upstream) Kind() upstream.Kind { return u.kind }

// Propose makes a candidate as the recipe says.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	const doing = "proposing credential"
	if err := ctx.Err(); err != nil {
		return secret.Value{}, &Error{Doing: doing, Cause: err}
	}
	v, err := u.propose(current)
	if err != nil {
		return secret.Value{}, &Error{Doing: doing, Cause: err}
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
		if missing := u.missing(candidate); missing != "" {
			failed := lacks(s.doing, missing)
			failed.Class = upstream.ErrNotApplied
			return secret.Value{}, failed
		}
		if there, err := s.applied(run, candidate); err != nil || there {
			return candidate, err
		}
	}
	nonce, err := u.nonce()
	if err != nil {
		return secret.Value{}, &Error{Doing: s.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	s.vars = s.vars.with(values{"run": string(run), "nonce": nonce, "tag": u.tag(run, nonce)},
		u.fields("current", current), u.fields("candidate", candidate))
	if u.r.needs != nil && !u.r.needs.holds(s.vars) {
		return secret.Value{}, &Error{
			Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "the recipe's condition on what is there before does not hold",
			Next: u.r.Create.NeedsHint,
		}
	}
	switch o := s.run(u.r.create); o.word {
	case wordOK, done:
	case quota:
		return secret.Value{}, s.full(o)
	default:
		return secret.Value{}, s.fail(o)
	}
	if !u.kind.Issues {
		return candidate, nil
	}
	return s.issued(current)
}

// applied reports whether the list has candidate already, made by this run.
func (s *session) applied(run authority.RunID, candidate secret.Value) (bool, error) {
	if s.r.List == nil || s.r.match == nil {
		return false, nil
	}
	items, o := s.items()
	if o.word != wordOK {
		return false, s.fail(o)
	}
	found, err := s.find(candidate, items)
	if err != nil || len(found) == 0 {
		return false, err
	}
	if s.r.each["tag"] != nil && !s.carries(found[0].tag, run) {
		return false, &Error{
			Doing: s.doing, Class: upstream.ErrSuperseded,
			Detail: fmt.Sprintf("the upstream has this candidate already, as %q, which is not of run %s", shown(found[0].name), run),
			Next:   "see who made it; remove it there if nobody needs it",
		}
	}
	return true, nil
}

// issued reads what was issued, and keeps the fields of current that are not the recipe's.
func (s *session) issued(current secret.Value) (secret.Value, error) {
	made := map[string][]byte{}
	for _, name := range current.Names() {
		if _, owned := s.r.Fields[name]; !owned {
			made[name] = current.Expose(name)
		}
	}
	for name, e := range s.r.value {
		text, err := e.text(s.vars)
		if err == nil && text == "" && !s.r.Fields[name].Optional {
			err = fmt.Errorf("%s: it came out empty", e.place)
		}
		if err != nil {
			return secret.Value{}, s.fail(outcome{word: unknown, cause: err, because: "the answer does not hold what was issued"})
		}
		made[name] = []byte(text)
	}
	v, err := secret.New(made)
	if err != nil {
		return secret.Value{}, s.fail(outcome{word: unknown, because: "what was issued is larger than a value can be"})
	}
	return v, nil
}

// change begins an operation that changes something. A context that is done changes nothing.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID) (*session, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	if run == "" {
		return nil, nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Kind.Deadline)
	return u.open(ctx, doing), cancel, nil
}

// Verify signs in as the recipe says.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "verifying credential"
	if err := ctx.Err(); err != nil {
		return upstream.Unknown, &Error{Doing: doing, Cause: err}
	}
	if missing := u.missing(v); missing != "" {
		return upstream.Unknown, lacks(doing, missing)
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Kind.Deadline)
	defer cancel()
	s := u.open(ctx, doing, u.fields("secret", v))
	s.verifying = true
	if u.r.Verify.Listed {
		return s.listed(v)
	}
	before := u.Clock()
	o := s.run(u.r.verify)
	u.remember(v, s, before)
	switch o.word {
	case accepted:
		return upstream.Accepted, nil
	case refused:
		return upstream.Refused, nil
	case wordOK:
		o.because = "no reply decided"
	}
	return upstream.Unknown, s.undecided(o)
}

// undecided words a verdict of unknown.
func (s *session) undecided(o outcome) error {
	err := s.fail(o)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Class = nil // nothing was to be applied
	}
	return err
}

func (s *session) listed(v secret.Value) (upstream.Verdict, error) {
	items, o := s.items()
	if o.word != wordOK {
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
	refuse := func(detail, next string) *Error {
		return &Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
	}
	switch missing := u.missing(old); {
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
		failed := refuse("the upstream's list has nothing that is this credential, and yet it is "+string(verdict),
			"find out whose account it belongs to and revoke it there by hand; the run then goes on")
		failed.Cause = err
		return failed
	}
	return s.remove(run, *target)
}

// target finds what old is upstream; nil when the list does not have it.
func (s *session) target(old, successor secret.Value) (*item, error) {
	refuse := func(detail, next string) error {
		return &Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
	}
	const same = "the upstream takes the credential to revoke for its successor"
	if s.r.List == nil {
		id, next := s.idOf(old), s.idOf(successor)
		if id == "" {
			return nil, refuse("the value does not say which credential it is", "revoke it by hand; the run then goes on")
		}
		if id == next {
			return nil, refuse(same, "")
		}
		return &item{id: id, vars: values{"target.id": id, "target.name": id, "target.tag": ""}}, nil
	}
	items, o := s.items()
	if o.word != wordOK {
		return nil, s.fail(o)
	}
	found, err := s.find(old, items)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if s.missing(successor) == "" {
		next, err := s.find(successor, items)
		if err != nil {
			return nil, err
		}
		if len(next) > 0 && next[0].id == found[0].id {
			return nil, refuse(same, "")
		}
	}
	return &found[0], nil
}

// remove runs the recipe's revoke on one item.
func (s *session) remove(run authority.RunID, target item) error {
	s.vars = s.vars.with(values{"run": string(run)}, target.vars)
	if o := s.run(s.r.revoke); o.word != wordOK && o.word != done {
		return s.fail(o)
	}
	return nil
}

// missing names a field that a value must have and v has not.
func (u *Upstream) missing(v secret.Value) string {
	for _, name := range sortedKeys(u.r.Fields) {
		if !u.r.Fields[name].Optional && len(v.Expose(name)) == 0 {
			return name
		}
	}
	return ""
}

// fields are a value's fields under prefix; those it has not are "".
func (u *Upstream) fields(prefix string, v secret.Value) values {
	return fieldsOf(prefix, u.r.Fields, v)
}

func fieldsOf[T any](prefix string, names map[string]T, v secret.Value) values {
	out := values{}
	for name := range names {
		out[prefix+"."+name] = v.ExposeText(name)
	}
	return out
}
