// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
)

// SignIn is a compiled Auth.
type SignIn struct {
	// Place is where it stands, such as admin.auth.
	Place string
	// Admin: the request is signed by Compiled.Admin, and by nothing here.
	Admin bool
	// Exchange asks for the access token that the request then carries; nil for the other ways.
	Exchange *Call

	bearer   *template
	username *template
	password *template
	encoded  bool
	name     string
	value    *template
	cert     *template
	key      *template
}

// Signature is what one request carries.
type Signature struct {
	// Header is the header's name, "" for none.
	Header, Value string
	// Pair is the client's certificate, nil for none.
	Pair *Pair
}

// Pair is a client certificate and its key, PEM. That they are one is not checked.
type Pair struct{ Certificate, Key string }

const authorization = "Authorization"

// Fill gives what the request carries. An access token is not in it: see Exchange.
func (s *SignIn) Fill(v Values) (out Signature, err error) {
	texts := func(one, other *template) (a, b string, err error) {
		if a, err = one.fill(v, nil); err == nil {
			b, err = other.fill(v, nil)
		}
		return a, b, err
	}
	switch {
	case s.bearer != nil:
		out.Header = authorization
		out.Value, err = s.bearer.header(v)
		out.Value = "Bearer " + out.Value
	case s.username != nil:
		var username, password string
		if username, password, err = texts(s.username, s.password); s.encoded {
			username, password = url.QueryEscape(username), url.QueryEscape(password)
		}
		out.Header, out.Value = authorization, "Basic "+base64.StdEncoding.EncodeToString([]byte(username+":"+password))
	case s.value != nil:
		out.Header = s.name
		out.Value, err = s.value.header(v)
	}
	if err == nil && s.cert != nil {
		out.Pair = &Pair{}
		out.Pair.Certificate, out.Pair.Key, err = texts(s.cert, s.key)
	}
	if err != nil {
		return Signature{}, err
	}
	return out, nil
}

// auth compiles one way to sign in. s is what its templates see.
func (c *compiler) auth(place string, a *Auth, s scope, r *Recipe) *SignIn {
	out := &SignIn{Place: place, Admin: a.Use == byAdmin}
	if a.Use != "" {
		if a.Use != byAdmin && a.Use != byNobody {
			c.bad(place, "want admin, none, or a way to sign in")
		}
		return out
	}
	ways := 0
	if a.Bearer != "" {
		ways++
		out.bearer = c.template(place+".bearer", a.Bearer, s)
	}
	if a.Basic != nil {
		ways++
		out.username = c.template(place+".basic.username", a.Basic.Username, s)
		out.password = c.template(place+".basic.password", a.Basic.Password, s)
		out.encoded = a.Basic.Encoded
	}
	if a.Header != nil {
		ways++
		out.name = a.Header.Name
		if !headerName.MatchString(a.Header.Name) {
			c.bad(place+".header.name", "not the name of a header")
		}
		out.value = c.template(place+".header.value", a.Header.Value, s)
	}
	if a.OAuth2 != nil {
		ways++
		out.Exchange = c.oauth2(place+".oauth2", a.OAuth2, s, r)
	}
	if a.JWTBearer != nil {
		ways++
		out.Exchange = c.jwtBearer(place+".jwtBearer", a.JWTBearer, s, r)
	}
	if a.MTLS != nil {
		out.cert = c.template(place+".mtls.certificate", a.MTLS.Certificate, s)
		out.key = c.template(place+".mtls.key", a.MTLS.Key, s)
	}
	if ways > 1 || (ways == 0 && a.MTLS == nil) {
		c.bad(place, "want one of bearer, basic, header, oauth2 and jwtBearer, with or without mtls, or mtls alone")
	}
	return out
}

const (
	invalidClient = "invalid_client"
	// adminPlace is where the admin's way to sign in stands.
	adminPlace = "admin.auth"
	// byAdmin and byNobody are the texts that may stand for a way to sign in.
	byAdmin  = "admin"
	byNobody = "none"
	// tokenStep asks for an access token, which it lets as tokenLet.
	tokenStep = "token"
	tokenLet  = "bearer"
)

var oauthError = lazyregexp.New(`^[a-z_]+$`)

// exchange is the step that asks for an access token. 400 and 401 refuse the credential with invalid_client, or with what
// the recipe names instead: a clock that is off and an account that is disabled are invalid_grant too. To an admin each
// word for a wrong client or assertion means that the next one is tried. All else decides nothing.
func (c *compiler) exchange(place, request, at string, form map[string]string, by *Auth, refusing []string, s scope, r *Recipe) *Call {
	never := false
	for i, one := range refusing {
		if !oauthError.MatchString(one) {
			c.bad(fmt.Sprintf("%s.refused[%d]", place, i), "want an error of OAuth 2, such as invalid_grant")
		}
	}
	if len(refusing) == 0 {
		refusing = []string{invalidClient}
	}
	if strings.HasPrefix(place, adminPlace) {
		refusing = append(slices.Clone(refusing), invalidClient, "invalid_grant", "unauthorized_client")
	}
	words := `["` + strings.Join(refusing, `", "`) + `"]`
	return c.step(place, &Step{
		Name: tokenStep, Request: request, At: at, Form: form, Auth: by, Changes: &never,
		Let: map[string]string{tokenLet: "response.body.access_token"},
		Replies: []Reply{
			{When: `response.status == 200 && response.body.access_token != ""`, Then: OK},
			{When: `response.status in [400, 401] && response.body.?error.orValue("") in ` + words, Then: AdminRefused},
			{When: `response.status == 200`, Then: NotApplied, Because: "the token endpoint gives no access token"},
		},
	}, s, r, signing)
}

func (c *compiler) oauth2(place string, o *OAuth2, s scope, r *Recipe) *Call {
	form := map[string]string{"grant_type": "client_credentials"}
	if o.Scope != "" {
		form["scope"] = o.Scope
	}
	by := &Auth{Use: byNobody}
	switch o.Send {
	case "", "basic":
		if o.ClientSecret != "" {
			by = &Auth{Basic: &Basic{Username: o.ClientID, Password: o.ClientSecret, Encoded: true}}
		} else if o.ClientID != "" {
			form["client_id"] = o.ClientID
		}
	case "form":
		form["client_id"], form["client_secret"] = o.ClientID, o.ClientSecret
	default:
		c.bad(place+".send", "want basic or form")
	}
	maps.Copy(form, o.Form)
	return c.exchange(place, o.Request, o.At, form, by, o.Refused, s, r)
}

func (c *compiler) jwtBearer(place string, j *JWTBearer, s scope, r *Recipe) *Call {
	quote := func(at, text string) string { return c.quoted(place+"."+at, text, s) }
	header := "{}"
	if j.KeyID != "" {
		header = `{"kid": ` + quote("keyId", j.KeyID) + `}`
	}
	claims := []string{
		`"iss": ` + quote("issuer", j.Issuer), `"aud": ` + quote("audience", j.Audience),
		`"iat": int(now)`, `"exp": int(now) + 600`,
	}
	if j.Subject != "" {
		claims = append(claims, `"sub": `+quote("subject", j.Subject))
	}
	if j.Scope != "" {
		claims = append(claims, `"scope": `+quote("scope", j.Scope))
	}
	form := map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
		"assertion":  "${jwt(" + quote("key", j.Key) + ", " + header + ", {" + strings.Join(claims, ", ") + "})}",
	}
	maps.Copy(form, j.Form)
	return c.exchange(place, j.Request, j.At, form, &Auth{Use: byNobody}, j.Refused, s, r)
}

// quoted turns text with ${expressions} into one expression, which stands within another.
func (c *compiler) quoted(place, text string, s scope) string {
	t := c.template(place, text, s)
	parts := []string{}
	rest := text
	for range t.expressions {
		at := strings.Index(rest, "${")
		inner, after, _ := cutExpression(rest[at+2:])
		if at > 0 {
			parts = append(parts, fmt.Sprintf("%q", rest[:at]))
		}
		parts = append(parts, "string("+inner+")")
		rest = after
	}
	if rest != "" || len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%q", rest))
	}
	return "(" + strings.Join(parts, " + ") + ")"
}
