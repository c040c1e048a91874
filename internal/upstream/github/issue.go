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
	credentials, err := upstream.Admins(ctx, doing, u.Admin)
	if err != nil {
		return nil, err
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
		return nil, &upstream.Error{
			Doing: doing, Class: upstream.ErrNotApplied, Detail: "the admin credential has no appId or clientId, or no privateKey in PEM",
			Next: "supply the app's id and one of its private keys for the secret that adminRef names: " + upstream.SupplyAdmin,
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
		return secret.Value{}, upstream.NotApplied(doing, "a run id is needed")
	}
	apps, err := u.apps(ctx, doing)
	if err != nil {
		return secret.Value{}, err
	}
	var refused error
	for _, app := range apps {
		a, told, err := u.request(ctx, doing, run, app)
		if err != nil {
			return secret.Value{}, err
		}
		if a.Status == http.StatusUnauthorized {
			refused = u.wrong(doing, "GitHub refuses every key of the app", upstream.ErrNotApplied, a)
			continue
		}
		return u.received(ctx, doing, run, current, a, told)
	}
	return secret.Value{}, refused
}

// told is Issued.Ask's.
type told func(received ...secret.Value)

// request asks for a token as app; once more by GitHub's own time, if this machine's clock may be why it was refused.
func (u *Upstream) request(ctx context.Context, doing string, run authority.RunID, app app) (*answer, told, error) {
	now := u.Clock()
	a, told, err := u.ask(ctx, doing, run, app, now)
	if err != nil || a.Status != http.StatusUnauthorized {
		return a, told, err
	}
	if theirs := a.Date(); !theirs.IsZero() && theirs.Sub(now).Abs() > tolerated {
		return u.ask(ctx, doing, run, app, theirs)
	}
	return a, told, nil
}

// ask sends one request for a token, signed as of a time. Whoever reads a token from its answer says so to told.
func (u *Upstream) ask(ctx context.Context, doing string, run authority.RunID, app app, at time.Time) (*answer, told, error) {
	signed, err := app.sign(at)
	if err != nil {
		return nil, nil, upstream.NotApplied(doing, "the app's private key cannot sign")
	}
	told := u.issued.Ask(run)
	path := fmt.Sprintf("/app/installations/%d/access_tokens", u.InstallationID)
	a, err := u.send(ctx, doing, http.MethodPost, path, signed, scope{u.Repositories, u.Permissions})
	if errors.Is(err, upstream.ErrNotApplied) || err == nil && a.Status >= 400 && a.Status < 500 && a.Status != http.StatusRequestTimeout {
		told()
	}
	return a, told, err
}

// received reads an answer to a request for a token.
func (u *Upstream) received(ctx context.Context, doing string, run authority.RunID, current secret.Value, a *answer, told told) (secret.Value, error) {
	var got issued
	switch {
	case a.Status == http.StatusCreated:
		if json.Unmarshal(a.Body, &got) != nil || !wellFormed(got.Token) {
			return secret.Value{}, u.wrong(doing, "GitHub issued a token, and its answer cannot be read", nil, a)
		}
	case a.Status >= 500, a.Status < 300, a.Status == http.StatusRequestTimeout, a.Status == http.StatusFound, a.Status == http.StatusSeeOther:
		return secret.Value{}, u.wrong(doing, "a token may have been issued", nil, a)
	default:
		return secret.Value{}, u.wrong(doing, "", upstream.ErrNotApplied, a)
	}
	value, err := current.With(FieldToken, []byte(got.Token))
	if err == nil {
		value, err = value.With(FieldExpires, []byte(got.Expires.UTC().Format(time.RFC3339)))
	}
	if err != nil {
		return secret.Value{}, &upstream.Error{Doing: doing, Detail: "GitHub created a token that cannot be stored as a value"}
	}
	told(value)
	if reason := u.differs(got); reason != "" {
		err := u.end(ctx, doing+": its scope is not what was asked for ("+reason+"): revoking it again", value)
		if err != nil { // the token is there, whatever went wrong in revoking it
			return value, upstream.Classless(err)
		}
		u.issued.TakenBack(run, value)
		return secret.Value{}, &upstream.Error{
			Doing: doing, Class: upstream.ErrRefusedCandidate, Detail: "its scope differs from the requested one, so it was revoked again: " + reason,
			Next: "compare the permissions of the app and its installation with those that the document requests",
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
