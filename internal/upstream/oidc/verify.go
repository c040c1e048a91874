// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Verify authenticates v's client at the token endpoint, once: with client_credentials where it has that grant, else with
// a grant that the provider never gave, which it refuses only after it has let the client in.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "authenticating client"
	id, password := v.ExposeText(FieldID), v.ExposeText(FieldSecret)
	if id == "" || password == "" {
		return upstream.Unknown, &upstream.Error{Doing: doing, Detail: "a credential needs the fields client_id and client_secret"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	found, err := u.discover(ctx, doing)
	if err != nil {
		return upstream.Unknown, err
	}
	r := request{method: http.MethodPost, address: found.token}
	grant, err := u.ask(&r, v)
	if err != nil {
		return upstream.Unknown, err
	}
	method := v.ExposeText(FieldAuthMethod)
	if method == "" {
		method = u.Client.AuthMethod
	}
	switch method {
	case Basic:
		r.user, r.password = id, password
	case Post:
		r.form.Set("client_id", id)
		r.form.Set("client_secret", password)
	default:
		return upstream.Unknown, &upstream.Error{Doing: doing, Detail: "the client authenticates neither by client_secret_basic nor by client_secret_post"}
	}
	a, err := u.send(ctx, doing, r)
	if err != nil {
		return upstream.Unknown, err
	}
	if verdict := judge(a, grant); verdict != upstream.Unknown {
		return verdict, nil
	}
	return upstream.Unknown, u.wrong(doing, "the provider neither lets the client in nor refuses it", nil, a)
}

// ask chooses the grant that is asked for, and its parameters.
func (u *Upstream) ask(r *request, v secret.Value) (grant string, err error) {
	grant = probe(strings.Fields(v.ExposeText(FieldGrantTypes)))
	if grant == "" {
		grant = probe(u.Client.GrantTypes)
	}
	never, err := u.random()
	if err != nil {
		return "", err
	}
	r.form = url.Values{"grant_type": {grant}}
	switch grant {
	case grantCode:
		r.form.Set("code", never)
		r.form.Set("code_verifier", never)
		if len(u.Client.RedirectURIs) > 0 {
			r.form.Set("redirect_uri", u.Client.RedirectURIs[0])
		}
	case grantRefresh:
		r.form.Set("refresh_token", never)
	case grantDevice:
		r.form.Set("device_code", never)
	}
	return grant, nil
}

// judge reads the answer of a token endpoint. unsupported_grant_type and invalid_request say nothing of the client: a
// provider may answer so before it looks at who asks.
func judge(a *answer, grant string) upstream.Verdict {
	switch {
	case !a.object || a.throttled():
	case a.Status == http.StatusOK:
		var granted struct {
			Token string `json:"access_token"`
		}
		if grant == grantClient && json.Unmarshal(a.Body, &granted) == nil && granted.Token != "" {
			return upstream.Accepted
		}
	case a.Status == http.StatusUnauthorized:
		// Some providers call a wrong secret unauthorized_client. The client has the grant that was asked for, so that
		// cannot be what is meant.
		if a.code == codeInvalidClient || a.code == codeUnauthorizedClient {
			return upstream.Refused
		}
	case a.Status == http.StatusBadRequest:
		switch {
		case a.code == codeInvalidClient:
			return upstream.Refused
		case slices.Contains([]string{codeInvalidGrant, codeUnauthorizedClient, codeInvalidScope, codeInvalidTarget}, a.code):
			return upstream.Accepted
		}
	}
	return upstream.Unknown
}
