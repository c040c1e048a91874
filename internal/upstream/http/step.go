// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

// word is what a reply means.
type word string

const (
	wordOK           word = "ok"                // go on with the next step
	done             word = "done"              // the operation has succeeded; no further step
	accepted         word = "accepted"          // the credential is honoured
	refused          word = "refused"           // the credential itself is wrong
	unknown          word = "unknown"           // decides nothing; of a change: it may have taken effect
	notApplied       word = "not-applied"       // certainly nothing happened
	refusedCandidate word = "refused-candidate" // the upstream will never take it
	quota            word = "quota"             // there are too many credentials
	later            word = "later"             // asked too often
	adminRefused     word = "admin-refused"     // the admin's credential itself is wrong
)

// purpose is what a sequence of steps is for.
type purpose int

const (
	changing purpose = iota // create, revoke
	checking                // verify
	reading                 // list, usage: a list that ended early would be a short one, so nothing is done before its end
	signing                 // for an access token
)

func (p purpose) words() []word {
	switch p {
	case changing:
		return []word{wordOK, done, unknown, notApplied, refusedCandidate, quota, later, adminRefused}
	case checking:
		return []word{wordOK, accepted, refused, unknown, later, adminRefused}
	}
	return []word{wordOK, unknown, notApplied, later, adminRefused}
}

// step is a compiled Step.
type step struct {
	*Step
	place   string
	method  string
	path    *template
	auth    *auth
	query   map[string]*template
	headers map[string]*template
	json    tree
	form    map[string]*template
	iff     *expression
	replies []reply
	let     map[string]*expression
	items   *expression
	cursor  *expression
	next    *expression
	until   *expression
	changes bool
	// parses: what later steps see of the answer comes from its JSON.
	parses bool
}

type reply struct {
	when          *expression
	word          word
	because, hint string
}

// auth is a compiled Auth.
type auth struct {
	// use is admin or none; the rest is then empty.
	use      string
	bearer   *template
	username *template
	password *template
	encoded  bool
	name     string
	value    *template
	cert     *template
	key      *template
	// exchange is the request for an access token, which then is the bearer.
	exchange *step
}

const tokenStep = "token"

// steps compiles a sequence. Each sees what the ones before it let; after is what comes after the last.
func (c *compiler) steps(place string, list []Step, s scope, r *Recipe, purpose purpose) (out []*step, after scope) {
	after = s
	seen := map[string]bool{}
	for i := range list {
		where := fmt.Sprintf("%s.steps[%d]", place, i)
		if seen[list[i].Name] {
			c.bad(where+".name", "another step has this name")
		}
		seen[list[i].Name] = true
		compiled := c.step(where, &list[i], after, r, purpose)
		out = append(out, compiled)
		after = after.with(prefixed("steps."+list[i].Name, slices.Sorted(maps.Keys(list[i].Let)), cel.DynType))
		after["steps."+list[i].Name+".status"] = cel.IntType
		if list[i].Items != "" {
			after["steps."+list[i].Name+".items"] = cel.ListType(cel.DynType)
		}
	}
	return out, after
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func (c *compiler) step(place string, s *Step, in scope, r *Recipe, purpose purpose) *step {
	out := &step{Step: s, place: place}
	c.word(place+".name", s.Name)
	for name := range s.Let {
		c.word(place+".let."+name, name)
		if name == "items" || name == "status" {
			c.bad(place+".let."+name, "this name is taken")
		}
	}
	out.iff = c.expression(place+".if", s.If, in, cel.BoolType)
	method, path, _ := strings.Cut(s.Request, " ")
	out.method = method
	if !slices.Contains(methods, method) || !strings.HasPrefix(path, "/") {
		c.bad(place+".request", "want a method and a path: GET /api/things/${params.name}")
	}
	out.path = c.template(place+".request", path, in)
	for _, text := range out.path.texts {
		if strings.ContainsAny(text, "?# \\") || strings.Contains(text, "..") {
			c.bad(place+".request", "a path has no query, fragment, space or ..; use query")
		}
	}
	c.endpoint(place+".at", s.At, r)
	out.changes = method != http.MethodGet && method != http.MethodHead
	if s.Changes != nil {
		out.changes = *s.Changes
	}
	if purpose == checking {
		out.changes = false
	}
	use := "admin"
	if purpose == checking || r.Admin == nil {
		use = "none"
	}
	out.auth = &auth{use: use}
	if s.Auth != nil {
		out.auth = c.auth(place+".auth", s.Auth, in, r)
		if s.Auth.Use == "admin" && r.Admin == nil {
			c.bad(place+".auth", "the recipe does not say how an admin signs in")
		}
	}
	out.query = c.templates(place+".query", s.Query, in)
	out.headers = c.templates(place+".headers", s.Headers, in)
	for name := range s.Headers {
		if !headerName.MatchString(name) || slices.Contains([]string{"Host", "Authorization", "Cookie", "Content-Length"}, http.CanonicalHeaderKey(name)) {
			c.bad(place+".headers."+name, "a recipe cannot set this header; Authorization comes from auth")
		}
	}
	if s.JSON != nil && s.Form != nil {
		c.bad(place, "json and form exclude each other")
	}
	if s.JSON != nil {
		out.json = c.tree(place+".json", s.JSON, in)
	}
	if s.Form != nil {
		out.form = c.templates(place+".form", s.Form, in)
	}
	c.urlHoldsNoSecret(out, r)

	seen := in.with(response())
	if s.Items != "" {
		out.items = c.expression(place+".items", s.Items, seen, nil)
	}
	out.let = c.expressions(place+".let", s.Let, seen)
	out.pages(c, place, seen)
	for _, e := range slices.AppendSeq([]*expression{out.items, out.cursor, out.next}, maps.Values(out.let)) {
		out.parses = out.parses || e != nil && slices.Contains(e.names, "response.body")
	}
	if s.Repeat != nil {
		out.until = c.expression(place+".repeat.until", s.Repeat.Until, seen, cel.BoolType)
		if s.Repeat.Most < 1 || s.Repeat.Most > 100 || s.Repeat.Every <= 0 {
			c.bad(place+".repeat", "want every above 0 and most from 1 to 100")
		}
	}
	allowed := purpose.words()
	for i, rule := range s.Replies {
		where := fmt.Sprintf("%s.replies[%d]", place, i)
		if !slices.Contains(allowed, word(rule.Then)) {
			c.bad(where+".then", "want one of %s", joinWords(allowed))
		}
		out.replies = append(out.replies, reply{c.expression(where+".when", rule.When, seen, cel.BoolType), word(rule.Then), rule.Because, rule.Hint})
	}
	return out
}

func joinWords(words []word) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func (s *step) pages(c *compiler, place string, in scope) {
	p := s.Pages
	if p == nil {
		return
	}
	given := 0
	for _, is := range []bool{p.Link, p.Number != "", p.Cursor != "", p.Next != ""} {
		if is {
			given++
		}
	}
	if given != 1 || (p.Cursor != "") != (p.As != "") || s.items == nil || (p.First != nil && p.Number == "") {
		c.bad(place+".pages", "want exactly one of link, number, cursor (with as) and next, and items beside them")
	}
	s.cursor = c.expression(place+".pages.cursor", p.Cursor, in, nil)
	s.next = c.expression(place+".pages.next", p.Next, in, nil)
}

func (c *compiler) endpoint(place, name string, r *Recipe) {
	if _, known := r.Endpoints[name]; name != "" && !known {
		c.bad(place, "there is no endpoint %q", name)
	}
}

// urlHoldsNoSecret: addresses end in logs, of proxies above all.
func (c *compiler) urlHoldsNoSecret(s *step, r *Recipe) {
	names := s.path.names()
	for _, t := range s.query {
		names = append(names, t.names()...)
	}
	for _, name := range names {
		owner, field, _ := strings.Cut(name, ".")
		secret := owner == "admin"
		if slices.Contains([]string{"secret", "current", "candidate"}, owner) {
			secret = !r.Fields[field].Public
		}
		if secret && !s.SecretInURL {
			c.bad(s.place, "%s is secret and would stand in the address; send it in the body, or set secretInURL: true", name)
		}
	}
}

// auth compiles one way to sign in. s is what its templates see.
func (c *compiler) auth(place string, a *Auth, s scope, r *Recipe) *auth {
	out := &auth{use: a.Use}
	if a.Use != "" {
		if a.Use != "admin" && a.Use != "none" {
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
		out.exchange = c.oauth2(place+".oauth2", a.OAuth2, s, r)
	}
	if a.JWTBearer != nil {
		ways++
		out.exchange = c.jwtBearer(place+".jwtBearer", a.JWTBearer, s, r)
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
)

var oauthError = regexp.MustCompile(`^[a-z_]+$`)

// exchange is the step that asks for an access token. 400 and 401 refuse the credential with invalid_client, or with what
// the recipe names instead: a clock that is off and an account that is disabled are invalid_grant too. To an admin each
// word for a wrong client or assertion means that the next one is tried. All else decides nothing.
func (c *compiler) exchange(place, request, at string, form map[string]string, by *Auth, refusing []string, s scope, r *Recipe) *step {
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
		Let: map[string]string{"bearer": "response.body.access_token"},
		Replies: []Reply{
			{When: `response.status == 200 && response.body.access_token != ""`, Then: string(wordOK)},
			{When: `response.status in [400, 401] && response.body.?error.orValue("") in ` + words, Then: string(adminRefused)},
			{When: `response.status == 200`, Then: string(notApplied), Because: "the token endpoint gives no access token"},
		},
	}, s, r, signing)
}

func (c *compiler) oauth2(place string, o *OAuth2, s scope, r *Recipe) *step {
	form := map[string]string{"grant_type": "client_credentials"}
	if o.Scope != "" {
		form["scope"] = o.Scope
	}
	by := &Auth{Use: "none"}
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

func (c *compiler) jwtBearer(place string, j *JWTBearer, s scope, r *Recipe) *step {
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
	return c.exchange(place, j.Request, j.At, form, &Auth{Use: "none"}, j.Refused, s, r)
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
