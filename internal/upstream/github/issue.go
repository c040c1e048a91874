// SPDX-License-Identifier: Apache-2.0

package github

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// lifetime is how long a token is honoured, by GitHub's rule.
	lifetime = time.Hour
	// backdated: GitHub refuses a signature from its future, and takes one that is somewhat old.
	backdated = time.Minute
	// signedFor is how long a signature is good for. GitHub takes ten minutes at most; the rest is for a clock that is fast.
	signedFor = 8 * time.Minute
	// tolerated is how far two clocks may be apart before a refused signature may be their fault.
	tolerated = 30 * time.Second
)

// app is one of the app's credentials.
type app struct {
	issuer string
	key    *rsa.PrivateKey
}

// apps reads the admin credentials. Its error does not quote what it could not read.
func (u *Upstream) apps(ctx context.Context, doing string) ([]app, error) {
	credentials, err := u.Admin(ctx)
	if err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "reading the admin credential", Cause: err}
	}
	var apps []app
	for _, credential := range credentials {
		issuer := credential.ExposeText(AdminClientID)
		if issuer == "" {
			issuer = credential.ExposeText(AdminAppID)
		}
		key, err := jwt.ParseRSAPrivateKeyFromPEM(credential.Expose(AdminKey))
		if issuer != "" && err == nil {
			apps = append(apps, app{strings.TrimSpace(issuer), key})
		}
	}
	if len(apps) == 0 {
		return nil, &Error{
			Doing: doing, Class: upstream.ErrNotApplied, Detail: "the admin credential has no appId or clientId, or no privateKey in PEM",
			Next: "hand in the app's id and a private key of it, as the secret that adminRef names: `custody supply SECRET`",
		}
	}
	return apps, nil
}

// sign makes the app's own credential, as of a time.
func (a app) sign(at time.Time) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: a.issuer, IssuedAt: jwt.NewNumericDate(at.Add(-backdated)), ExpiresAt: jwt.NewNumericDate(at.Add(signedFor)),
	}).SignedString(a.key)
}

// scope is what a token is asked for, and what it has.
type scope struct {
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions"`
}

// issued is GitHub's answer.
type issued struct {
	Token        string            `json:"token"`
	Expires      time.Time         `json:"expires_at"`
	Permissions  map[string]string `json:"permissions"`
	Selection    string            `json:"repository_selection"`
	Repositories []struct {
		Name string `json:"name"`
	} `json:"repositories"`
}

// Apply has GitHub issue a token.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, _ secret.Value) (secret.Value, error) {
	const doing = "issuing token"
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if run == "" {
		return secret.Value{}, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	apps, err := u.apps(ctx, doing)
	if err != nil {
		return secret.Value{}, err
	}
	var refused error
	for _, app := range apps {
		a, err := u.request(ctx, doing, run, app)
		if err != nil {
			return secret.Value{}, err
		}
		if a.status == http.StatusUnauthorized {
			refused = u.wrong(doing, "GitHub refuses every key of the app", upstream.ErrNotApplied, a)
			continue
		}
		return u.received(ctx, doing, run, current, a)
	}
	return secret.Value{}, refused
}

// request asks for a token as app; once more by GitHub's own time, if this machine's clock may be why it was refused.
func (u *Upstream) request(ctx context.Context, doing string, run authority.RunID, app app) (*answer, error) {
	now := u.Clock()
	a, err := u.ask(ctx, doing, run, app, now)
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	if theirs, told := a.date(); told && theirs.Sub(now).Abs() > tolerated {
		return u.ask(ctx, doing, run, app, theirs)
	}
	return a, nil
}

// ask sends one request for a token, signed as of a time.
func (u *Upstream) ask(ctx context.Context, doing string, run authority.RunID, app app, at time.Time) (*answer, error) {
	signed, err := app.sign(at)
	if err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "the app's private key cannot sign"}
	}
	var before bool
	u.remember(run, func(m *memory) { before, m.lost = m.lost, true }) // until an answer says otherwise
	path := fmt.Sprintf("/app/installations/%d/access_tokens", u.InstallationID)
	a, err := u.send(ctx, doing, http.MethodPost, path, signed, scope{u.Repositories, u.Permissions})
	if errors.Is(err, upstream.ErrNotApplied) || err == nil && a.status >= 400 && a.status < 500 && a.status != http.StatusRequestTimeout {
		u.remember(run, func(m *memory) { m.lost = before })
	}
	return a, err
}

// received reads an answer to a request for a token.
func (u *Upstream) received(ctx context.Context, doing string, run authority.RunID, current secret.Value, a *answer) (secret.Value, error) {
	var got issued
	switch {
	case a.status == http.StatusCreated:
		if json.Unmarshal(a.body, &got) != nil || !wellFormed(got.Token) {
			return secret.Value{}, u.wrong(doing, "GitHub issued a token, and its answer cannot be read", nil, a)
		}
	case a.status >= 500, a.status < 300, a.status == http.StatusRequestTimeout, a.status == http.StatusFound, a.status == http.StatusSeeOther:
		return secret.Value{}, u.wrong(doing, "a token may have been issued", nil, a)
	default:
		return secret.Value{}, u.wrong(doing, "", upstream.ErrNotApplied, a)
	}
	value, err := current.With(FieldToken, []byte(got.Token))
	if err == nil {
		value, err = value.With(FieldExpires, []byte(got.Expires.UTC().Format(time.RFC3339)))
	}
	if err != nil {
		return secret.Value{}, &Error{Doing: doing, Detail: "GitHub issued a token that no value can hold"}
	}
	u.remember(run, func(m *memory) {
		m.lost, m.issued = false, append(m.issued, value)
		u.latest = u.Clock()
	})
	if reason := u.differs(got); reason != "" {
		err := u.end(ctx, doing+": its scope is not what was asked for ("+reason+"): revoking it again", value)
		if err != nil { // the token is there, whatever went wrong in revoking it
			return value, classless(err)
		}
		u.remember(run, func(m *memory) { m.issued = slices.DeleteFunc(m.issued, value.Equal) })
		return secret.Value{}, &Error{
			Doing: doing, Class: upstream.ErrRefusedCandidate, Detail: "its scope is not what was asked for, and it was revoked again: " + reason,
			Next: "see what the app and its installation may do, and what the document asks for",
		}
	}
	return value, nil
}

// differs says in which way a token is not what was asked for, "" when it is. Reading metadata comes with every token.
func (u *Upstream) differs(got issued) string {
	if got.Expires.IsZero() {
		return "it does not say when it expires"
	}
	for name, level := range u.Permissions {
		if slices.Index(levels, got.Permissions[name]) < slices.Index(levels, level) {
			return fmt.Sprintf("without permission %s: %s", name, level)
		}
	}
	for name, level := range got.Permissions {
		want, asked := u.Permissions[name]
		if !asked && name == "metadata" {
			want = "read"
		}
		if slices.Index(levels, level) > slices.Index(levels, want) {
			return fmt.Sprintf("with permission %s: %s", name, level)
		}
	}
	if u.AllRepositories {
		return ""
	}
	if got.Selection != "" && got.Selection != "selected" {
		return "for all repositories"
	}
	for _, repository := range got.Repositories {
		if !slices.ContainsFunc(u.Repositories, func(name string) bool { return strings.EqualFold(name, repository.Name) }) {
			return "for a repository that was not asked for"
		}
	}
	return ""
}
