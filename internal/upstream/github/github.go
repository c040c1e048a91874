// SPDX-License-Identifier: Apache-2.0

// Package github creates installation access tokens of a GitHub App, on github.com or a GitHub Enterprise Server.
//
// # Modes
//
// There is one mode, dual. Apply lets GitHub create a token for the installation, restricted to the configured
// repositories and permissions. Revoke revokes the old token with the token itself. A token expires an hour after it
// was created.
//
// # Guaranteed
//
// The app's private key leaves this process only in the form of signatures, each valid for eight minutes. Tokens are
// sent only to the configured address; redirects are not followed. If GitHub creates a token with more or less than
// requested, it is revoked again, and the run gets an error; if revoking fails, the token is returned with the error. A
// refusal by GitHub counts as the end of a token only after the settle time since its creation. If this machine's clock
// is wrong, that is not taken for a wrong key: GitHub's time is taken from its answer, once.
//
// # Not guaranteed
//
// Tokens have no place for a run's id, and cannot be listed. If the reply is lost, nobody knows the token, and it
// expires within the hour; Collect revokes those that this process received, and reports that another may exist. There
// is no place for a claim, and late calls are not refused: a late call of an earlier run creates one more such token.
// GitHub enforces no deadline; this client only stops waiting.
//
// # What the admin needs
//
// The app's id or client id and a private key of the app: fields appId or clientId, and privateKey (PEM).
//
// # Cost
//
// Apply, Verify and Revoke: one request each. Apply takes two after a wrong clock, Verify two if the token is not
// allowed to list repositories, Revoke two if the token no longer exists.
package github

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// Fields of the values.
const (
	FieldToken = "token"
	// FieldExpires is when the token dies, RFC 3339.
	FieldExpires = "expiresAt"
)

// Fields of the admin credential.
const (
	AdminAppID    = "appId"
	AdminClientID = "clientId"
	AdminKey      = "privateKey"
)

const (
	// DefaultURL is where github.com has its REST interface.
	DefaultURL = "https://api.github.com"

	defaultCallDeadline = 20 * time.Second
	// wrongEvery keeps Custody far below "several requests with invalid credentials within a short period", after which
	// GitHub answers nobody of this account for a while.
	wrongEvery = time.Minute
	// maxRepositories is how many one token can be restricted to.
	maxRepositories = 500
)

// Config describes one secret's tokens.
type Config struct {
	// URL of the REST interface. Default DefaultURL.
	URL string
	// CACertificate is PEM; default the system's.
	CACertificate string
	// Admin returns the app's credentials in order of preference.
	Admin          func(ctx context.Context) ([]secret.Value, error)
	InstallationID int64
	// Repositories by name, without their owner. Empty: all that the installation has, which AllRepositories must confirm.
	Repositories    []string
	AllRepositories bool
	// Permissions by name: read, write or admin.
	Permissions map[string]string
	// Settle is how long a change takes to show in every part of GitHub.
	Settle time.Duration
	// Tell is called when a token may have been left behind that nobody knows, with when it is dead at the latest. May be
	// nil.
	Tell  func(ctx context.Context, run authority.RunID, dead time.Time)
	Clock func() time.Time
	// CallDeadline bounds each call. Default 20 s.
	CallDeadline time.Duration
	// Random is drawn from for decoys. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one secret's tokens. It is safe for concurrent use.
type Upstream struct {
	Config
	client *http.Client

	issued *upstream.Issued
}

var (
	_ upstream.Upstream  = (*Upstream)(nil)
	_ upstream.Decoyer   = (*Upstream)(nil)
	_ upstream.Collector = (*Upstream)(nil)
)

// New checks config. It does not connect.
func New(config Config) (*Upstream, error) {
	if config.URL == "" {
		config.URL = DefaultURL
	}
	config.URL = strings.TrimSuffix(config.URL, "/")
	if config.CallDeadline == 0 {
		config.CallDeadline = defaultCallDeadline
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring github upstream: %w", err)
	}
	client, err := transport.Client(config.CACertificate)
	if err != nil {
		return nil, fmt.Errorf("configuring github upstream: %w", err)
	}
	return &Upstream{Config: config, client: client, issued: upstream.NewIssued(config.Clock, config.Settle)}, nil
}

func (c Config) check() error {
	if _, fault := addressFault(c.URL); fault != "" {
		return errors.New("URL: " + fault)
	}
	switch {
	case c.Admin == nil || c.Clock == nil:
		return errors.New("an admin credential and a clock are needed")
	case c.CallDeadline < 0 || c.Settle < 0:
		return errors.New("the call deadline or the settle time is negative")
	case c.InstallationID <= 0:
		return errors.New("the number of the installation is needed")
	case len(c.Permissions) == 0:
		return errors.New("at least one permission is needed")
	case (len(c.Repositories) == 0) != c.AllRepositories:
		return errors.New("either repositories or all of them")
	case len(c.Repositories) > maxRepositories:
		return fmt.Errorf("%d repositories: GitHub restricts a token to %d at most", len(c.Repositories), maxRepositories)
	}
	for _, name := range c.Repositories {
		if !isRepository(name) {
			return errors.New("repositories are named without their owner")
		}
	}
	for _, level := range c.Permissions {
		if !slices.Contains(levels, level) {
			return fmt.Errorf("permission %q: want read, write or admin", level)
		}
	}
	return nil
}

// levels of a permission, each with those before it.
var levels = []string{"read", "write", "admin"}

// Kind describes what GitHub can do.
func (u *Upstream) Kind() upstream.Kind {
	return upstream.Kind{
		Name: "github", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Reissue,
		Issues: true, Verifies: true, CallDeadline: u.CallDeadline, Settle: u.Settle, WrongEvery: wrongEvery,
	}
}

// Propose errors: GitHub issues the credential.
func (u *Upstream) Propose(context.Context, secret.Value) (secret.Value, error) {
	return secret.Value{}, errors.New("proposing credential: GitHub issues its tokens")
}

// alphabet is that of tokens of either form.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// Decoy returns v with another token: one that is signed has another signature, so that refusing it shows that GitHub
// looks at it; of another form, everything after the prefix is drawn anew.
func (u *Upstream) Decoy(v secret.Value) (secret.Value, error) {
	token := v.ExposeText(FieldToken)
	kept := strings.LastIndex(token, ".") + 1
	if kept == 0 {
		kept = strings.LastIndex(token, "_") + 1
	}
	tail := max(len(token)-kept, 36)
	raw := make([]byte, tail)
	if _, err := io.ReadFull(u.Random, raw); err != nil {
		return secret.Value{}, fmt.Errorf("making decoy: reading randomness: %w", err)
	}
	for i := range raw {
		raw[i] = alphabet[int(raw[i])%len(alphabet)]
	}
	decoy, err := v.With(FieldToken, append([]byte(token[:kept]), raw...))
	if err != nil {
		return secret.Value{}, fmt.Errorf("making decoy: %w", err)
	}
	return decoy, nil
}

// Verify asks for one repository of the token's. GitHub's description wants no permission for that; a token that is
// forbidden it all the same, as one may be that has permissions of an organization alone, is asked for its limits, which
// are told to whoever is let in.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "signing in"
	token := v.ExposeText(FieldToken)
	if !wellFormed(token) {
		return upstream.Unknown, &upstream.Error{Doing: doing, Detail: "a credential needs the field token, with a token in it"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	a, err := u.send(ctx, doing, http.MethodGet, "/installation/repositories?per_page=1", token, nil)
	if err != nil {
		return upstream.Unknown, err
	}
	if a.Status == http.StatusForbidden && !a.limited() {
		limits, err := u.send(ctx, doing, http.MethodGet, "/rate_limit", token, nil)
		if err == nil && (limits.Status == http.StatusOK || limits.Status == http.StatusUnauthorized) {
			a = limits
		}
	}
	switch {
	case a.Status == http.StatusOK && (a.has("repositories") || a.has("resources")):
		return upstream.Accepted, nil
	case a.Status == http.StatusUnauthorized && a.has("message"):
		return upstream.Refused, nil
	}
	return upstream.Unknown, u.wrong(doing, "GitHub neither accepts the token nor refuses it", nil, a)
}

// wellFormed reports whether a token can stand in a header.
func wellFormed(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Revoke has old revoke itself. One that GitHub refuses already is revoked.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	const doing = "revoking token"
	token := old.ExposeText(FieldToken)
	switch {
	case !wellFormed(token):
		return upstream.NotApplied(doing, "the old credential has no token")
	case token == successor.ExposeText(FieldToken):
		return upstream.NotApplied(doing, "the old token and its successor are the same")
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	return u.end(ctx, doing, old)
}

func (u *Upstream) end(ctx context.Context, doing string, v secret.Value) error {
	a, err := u.send(ctx, doing, http.MethodDelete, "/installation/token", v.ExposeText(FieldToken), nil)
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusNoContent:
		return nil
	case a.Status == http.StatusUnauthorized:
		// Who else may have answered 401 is not known; the token is revoked if it opens nothing.
		verdict, err := u.Verify(ctx, v)
		if left := u.issued.Unsettled(); verdict == upstream.Refused && left > 0 {
			return &upstream.Later{After: left, Err: &upstream.Error{
				Doing: doing, Said: a.String(), Detail: "GitHub refuses the token, but it was created only just now: it is not known yet whether it is revoked",
			}}
		}
		if verdict == upstream.Refused {
			return nil
		}
		return &upstream.Error{Doing: doing, Said: a.String(), Detail: "it is not known whether the token is revoked", Cause: err}
	case a.Status >= 500, a.Status < 300:
		return u.wrong(doing, "the token may have been revoked", nil, a)
	}
	return u.wrong(doing, "", upstream.ErrNotApplied, a)
}

// Collect revokes the tokens of run that this process received. Of another, which only a reply that was lost can have
// carried, it tells: nobody knows that token, and it dies within the hour.
func (u *Upstream) Collect(ctx context.Context, run authority.RunID) error {
	const doing = "collecting tokens"
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	issued, unsure := u.issued.Known(run)
	for _, v := range issued {
		if err := u.end(ctx, doing, v); err != nil {
			return err
		}
	}
	if unsure && u.Tell != nil {
		u.Tell(ctx, run, u.Clock().Add(lifetime))
	}
	u.issued.Collected(run)
	return nil
}
