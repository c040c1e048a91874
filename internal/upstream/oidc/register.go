// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// metadata is a client as RFC 7591 writes it, asked for or registered.
type metadata struct {
	Name            string   `json:"client_name,omitempty"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	RedirectURIs    []string `json:"redirect_uris"`
	PostLogout      []string `json:"post_logout_redirect_uris,omitempty"`
	Scope           string   `json:"scope,omitempty"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	Contacts        []string `json:"contacts,omitempty"`
	URI             string   `json:"client_uri,omitempty"`
	SoftwareVersion string   `json:"software_version,omitempty"`
}

// registered is what the provider answers, first what its client can be deleted by.
type registered struct {
	ID          string `json:"client_id"`
	Secret      string `json:"client_secret"`
	ManageToken string `json:"registration_access_token"`
	ManageURI   string `json:"registration_client_uri"`

	details struct {
		Expires int64 `json:"client_secret_expires_at"`
		metadata
	}
}

// wanted is the metadata of a client of run.
func (u *Upstream) wanted(run authority.RunID) metadata {
	c := u.Client
	list := func(items []string) []string { return append([]string{}, items...) } // never null in JSON
	m := metadata{
		Name: c.Name, GrantTypes: list(c.GrantTypes), ResponseTypes: list(c.ResponseTypes), RedirectURIs: list(c.RedirectURIs),
		PostLogout: c.PostLogoutRedirectURIs, Scope: strings.Join(c.Scopes, " "), AuthMethod: c.AuthMethod,
		Contacts: c.Contacts, URI: c.URI,
	}
	if u.Marker == SoftwareVersion {
		m.SoftwareVersion = u.marker(run)
	} else {
		m.Name += " (" + u.marker(run) + ")"
	}
	return m
}

// carries reports whether a client is marked with run.
func (u *Upstream) carries(name, softwareVersion string, run authority.RunID) bool {
	if u.Marker == SoftwareVersion {
		return softwareVersion == u.marker(run)
	}
	return strings.HasSuffix(name, " ("+u.marker(run)+")")
}

// Apply registers a client for run.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, _ secret.Value) (secret.Value, error) {
	const doing = "registering client"
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if run == "" {
		return secret.Value{}, upstream.NotApplied(doing, "a run id is needed")
	}
	found, err := u.discover(ctx, doing)
	if err != nil {
		return secret.Value{}, err
	}
	if found.registration == "" {
		return secret.Value{}, &upstream.Error{
			Doing: doing, Class: upstream.ErrNotApplied, Detail: "the provider has no registration endpoint",
			Next: "enable dynamic client registration at the provider",
		}
	}
	tokens, err := u.tokens(ctx, doing, AdminInitial)
	if err != nil {
		return secret.Value{}, err
	}
	var refused error
	for _, token := range tokens {
		told := u.issued.Ask(run)
		a, err := u.send(ctx, doing, request{method: http.MethodPost, address: found.registration, bearer: token, metadata: u.wanted(run)})
		if err == nil && a.Status == http.StatusUnauthorized {
			told()
			refused = &upstream.Error{
				Doing: doing, Class: upstream.ErrNotApplied, Detail: "the provider refuses every initial access token", Said: a.said(),
				Next: "create an initial access token at the provider, and supply it as the field initialAccessToken of the secret that adminRef names: " + upstream.SupplyAdmin,
			}
			continue
		}
		if err == nil {
			return u.registered(ctx, doing, run, current, a, token, told)
		}
		if errors.Is(err, upstream.ErrNotApplied) {
			told()
		}
		return secret.Value{}, err
	}
	return secret.Value{}, refused
}

// tokens are the admin's tokens of one name; a single empty one where there is no admin.
func (u *Upstream) tokens(ctx context.Context, doing, field string) ([]string, error) {
	if u.Admin == nil {
		return []string{""}, nil
	}
	credentials, err := upstream.Admins(ctx, doing, u.Admin)
	if err != nil {
		return nil, err
	}
	var tokens []string
	for _, credential := range credentials {
		if token := credential.ExposeText(field); token != "" && !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	switch {
	case len(tokens) > 0:
		return tokens, nil
	case field == AdminInitial && u.Orphans == Collect: // the admin may be there for the list alone
		return []string{""}, nil
	}
	return nil, &upstream.Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: "the admin credential has no field " + field,
		Next: "supply the secret that adminRef names with the field " + field + ": " + upstream.SupplyAdmin,
	}
}

// registered reads an answer to a registration. told is Issued.Ask's.
func (u *Upstream) registered(
	ctx context.Context, doing string, run authority.RunID, current secret.Value, a *answer, token string, told func(...secret.Value),
) (secret.Value, error) {
	var made registered
	switch {
	case a.Status == http.StatusCreated || a.Status == http.StatusOK:
		if err := json.Unmarshal(a.Body, &made); err != nil || !a.object || made.ID == "" {
			return secret.Value{}, u.wrong(doing, "the provider registered a client, and its answer cannot be read", nil, a)
		}
	case a.Status >= 500, a.Status == http.StatusRequestTimeout, a.Status < 300, a.Status == http.StatusFound, a.Status == http.StatusSeeOther:
		return secret.Value{}, u.wrong(doing, "a client may have been registered", nil, a)
	default:
		told()
		class := upstream.ErrNotApplied
		if a.Status == http.StatusBadRequest && slices.Contains(metadataCodes, a.code) {
			class = upstream.ErrRefusedCandidate
		}
		return secret.Value{}, u.wrong(doing, quotable(a.description, token), class, a)
	}
	reason := ""
	if json.Unmarshal(a.Body, &made.details) != nil {
		reason = "its metadata has another form than the standard's"
	}
	value, err := u.value(current, made)
	if err != nil {
		return secret.Value{}, &upstream.Error{Doing: doing, Detail: "the provider registered a client whose data cannot be stored as a value"}
	}
	told(value)
	if reason == "" {
		reason = u.differs(run, a.Body, made)
	}
	if reason != "" {
		return u.unwanted(ctx, doing, run, value, reason)
	}
	return value, nil
}

// unwanted deletes a client again that is not what was asked for. If that fails the client comes beside the error, which
// has no class whatever went wrong in deleting: a client is there.
func (u *Upstream) unwanted(ctx context.Context, doing string, run authority.RunID, value secret.Value, reason string) (secret.Value, error) {
	err := u.remove(ctx, doing+": the provider registered it otherwise than asked ("+reason+"): deleting it again", value)
	if err != nil {
		return value, upstream.Classless(err)
	}
	u.issued.TakenBack(run, value)
	return secret.Value{}, &upstream.Error{
		Doing: doing, Class: upstream.ErrRefusedCandidate, Detail: "the provider registered something other than requested, so it was deleted again: " + reason,
		Next: "request only what the provider allows, or let the provider allow more",
	}
}

// value is the credential of a registered client; fields of current that are not this kind's are kept.
func (u *Upstream) value(current secret.Value, made registered) (secret.Value, error) {
	fields := without(ownFields, current)
	method := made.details.AuthMethod
	if method == "" {
		method = u.Client.AuthMethod
	}
	grants := made.details.GrantTypes
	if len(grants) == 0 {
		grants = u.Client.GrantTypes
	}
	for name, text := range map[string]string{
		FieldID: made.ID, FieldSecret: made.Secret, FieldManageToken: made.ManageToken, FieldManageURI: made.ManageURI,
		FieldAuthMethod: method, FieldGrantTypes: strings.Join(grants, " "),
	} {
		if text != "" {
			fields[name] = []byte(text)
		}
	}
	if made.details.Expires > 0 {
		fields[FieldExpires] = []byte(time.Unix(made.details.Expires, 0).UTC().Format(time.RFC3339))
	}
	return secret.New(fields)
}

// differs says in which way a client is not what was asked for, "" when it is. A provider may register more, and what its
// answer leaves out was registered as asked for.
func (u *Upstream) differs(run authority.RunID, body []byte, made registered) string {
	var said map[string]json.RawMessage
	if json.Unmarshal(body, &said) != nil {
		return "its answer is not an object"
	}
	lacks := func(name string, have, want []string) string {
		if _, told := said[name]; !told {
			return ""
		}
		for _, one := range want {
			if !slices.Contains(have, one) {
				return fmt.Sprintf("%s without %q", name, one)
			}
		}
		return ""
	}
	want := u.wanted(run)
	for _, reason := range []string{
		lacks("grant_types", made.details.GrantTypes, want.GrantTypes),
		lacks("redirect_uris", made.details.RedirectURIs, want.RedirectURIs),
		lacks("scope", strings.Fields(made.details.Scope), strings.Fields(want.Scope)),
		lacks("token_endpoint_auth_method", []string{made.details.AuthMethod}, []string{want.AuthMethod}),
	} {
		if reason != "" {
			return reason
		}
	}
	switch {
	case made.Secret == "":
		return "without a client_secret"
	case made.details.Expires > 0 && !time.Unix(made.details.Expires, 0).After(u.Clock()):
		return "with a secret that has expired already"
	case u.Orphans == Collect && !u.carries(made.details.Name, made.details.SoftwareVersion, run):
		return "without the mark of its run, by which a lost one would be found"
	}
	return ""
}

// maxQuoted bounds how much of a provider's words is passed on.
const maxQuoted = 200

// quotable returns a provider's own words about metadata, which are not secret; "" if they hold a token that was sent.
func quotable(text, token string) string {
	if token != "" && strings.Contains(text, token) {
		return ""
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
	if runes := []rune(text); len(runes) > maxQuoted {
		text = string(runes[:maxQuoted]) + "…"
	}
	return text
}
