// SPDX-License-Identifier: Apache-2.0

// Package recipe is the language that describes an HTTP API: which requests create, verify, list and revoke a
// credential, and what their answers mean. page.md is the reference of the language; the recipes in the folder recipes
// are built in, each with a page of its own. The package reads and checks recipes, builds requests and interprets
// answers. It opens no connection and uses no clock and no files: internal/upstream/http makes the calls.
//
// # Guaranteed
//
// A recipe is compiled before it is used: every expression has a type, every name in it is known, and each fault is
// reported with its place. An expression can use only the parameters in documents, the fields of the value, the run,
// the claim, and what earlier steps stored; only the admin's way to sign in can use the admin credential. Expressions
// have no effects, and their cost is limited. Text in a path is escaped, a header contains no line break, and no secret
// field is part of a URL unless the recipe allows it. No error contains a value or an answer.
//
// # Not guaranteed
//
// That an API does what its recipe says.
//
// # Cost
//
// Compiling takes about 10 ms and leaves 2 MB of garbage; a built-in recipe is compiled once in a process. Building a
// path takes a microsecond or two. An evaluation is stopped after about five million comparisons.
package recipe

import "time"

// Recipe describes how the credentials of one HTTP interface are made, checked, listed and revoked. It is data: page.md
// is the reference of its form, Parse and Compile check it.
type Recipe struct {
	// Name, as Upstream documents write it. Empty for a recipe within a document.
	Name string `key:"name"`
	// Title, Summary and Tried are for people; see upstream.Description.
	Title   string `key:"title"`
	Summary string `key:"summary"`
	Tried   string `key:"tried"`
	// Parameters are what documents must or may say.
	Parameters map[string]Parameter `key:"parameters"`
	// Endpoints are further base addresses, beside the Upstream's url.
	Endpoints map[string]Endpoint `key:"endpoints"`
	// Fields of the secret's value.
	Fields map[string]Field `key:"fields,required"`
	// Admin says how the admin signs in; absent where no step needs one.
	Admin *Admin `key:"admin"`
	Kind  Kind   `key:"kind,required"`
	// Tag says that what is made has room for the run's id.
	Tag *Tag `key:"tag"`
	// Make says how Custody makes a candidate, for kinds that do not issue.
	Make []Make `key:"make"`
	// Create makes the upstream honour the candidate, or issue one.
	Create Create `key:"create,required"`
	// Verify signs in with a value.
	Verify Verify `key:"verify,required"`
	// List names the credentials of the account.
	List *List `key:"list"`
	// Find says which of them a value is.
	Find *Find `key:"find"`
	// Revoke removes one; absent for overwrite kinds.
	Revoke *Operation `key:"revoke"`
	// Usage says when a credential was used last.
	Usage *Usage `key:"usage"`
	// Decoy says, for each field that is not kept, how one is made that was never given out.
	Decoy map[string]Decoy `key:"decoy"`
	// Limits says how the upstream words that it is asked too often.
	Limits Limits `key:"limits"`
}

// Parameter is one thing that documents say.
type Parameter struct {
	// Type is text, number, boolean or list (of texts).
	Type string `key:"type,required"`
	// Means says what it is, for people.
	Means    string `key:"means,required"`
	Required bool   `key:"required"`
	// Account: it says which account is meant. Where no parameter does, all of them together do.
	Account bool `key:"account"`
	// Default holds where documents say nothing.
	Default any `key:"default"`
	// Pattern is a regular expression that the whole text, or each of the list, must match.
	Pattern string `key:"pattern"`
	// OneOf lists the texts allowed.
	OneOf []string `key:"oneOf"`
}

// Endpoint is a base address beside the Upstream's url.
type Endpoint struct {
	Means string `key:"means,required"`
	// URL holds where documents give none.
	URL string `key:"url"`
}

// Field is one field of a value.
type Field struct {
	Means string `key:"means,required"`
	// Optional: a value without it can be used, one handed over from elsewhere for example. It then reads as "".
	Optional bool `key:"optional"`
	// Public: it is no secret, may stand in addresses and is shown to people.
	Public bool `key:"public"`
}

// Admin says which fields the admin credential has and how it signs in.
type Admin struct {
	// Fields by name, with what they mean.
	Fields map[string]string `key:"fields,required"`
	Auth   Auth              `key:"auth,required"`
}

// Auth is one way to sign in. Use is set alone when the document has a text there: admin or none.
type Auth struct {
	Use       string
	Bearer    string     `key:"bearer"`
	Basic     *Basic     `key:"basic"`
	Header    *Header    `key:"header"`
	MTLS      *MTLS      `key:"mtls"`
	OAuth2    *OAuth2    `key:"oauth2"`
	JWTBearer *JWTBearer `key:"jwtBearer"`
}

// Basic is a user name and a password.
type Basic struct {
	Username string `key:"username,required"`
	Password string `key:"password"`
	// Encoded: both travel form-encoded, as OAuth 2 wants of a client's id and secret (RFC 6749, 2.3.1).
	Encoded bool `key:"encoded"`
}

// Header is a header of the API's own.
type Header struct {
	Name  string `key:"name,required"`
	Value string `key:"value,required"`
}

// MTLS is a client certificate, PEM. It may stand beside one of the others.
type MTLS struct {
	Certificate string `key:"certificate,required"`
	Key         string `key:"key,required"`
}

// OAuth2 asks for an access token with client credentials.
type OAuth2 struct {
	// Request is POST and the path of the token endpoint, At the endpoint.
	Request string `key:"request,required"`
	At      string `key:"at"`
	// ClientID and ClientSecret travel as Send says: basic (default) or form.
	ClientID     string `key:"clientId"`
	ClientSecret string `key:"clientSecret"`
	Send         string `key:"send"`
	Scope        string `key:"scope"`
	// Form has further fields.
	Form map[string]string `key:"form"`
	// Refused are the errors of the token endpoint that say that the credential itself is wrong; default invalid_client.
	Refused []string `key:"refused"`
}

// JWTBearer trades a signed assertion for an access token (RFC 7523).
type JWTBearer struct {
	Request string `key:"request,required"`
	At      string `key:"at"`
	// Key is a private key, PEM: RSA signs by RS256, P-256 by ES256, Ed25519 by EdDSA.
	Key      string `key:"key,required"`
	KeyID    string `key:"keyId"`
	Issuer   string `key:"issuer,required"`
	Subject  string `key:"subject"`
	Audience string `key:"audience,required"`
	Scope    string `key:"scope"`
	// Form has further fields.
	Form map[string]string `key:"form"`
	// Refused is as for OAuth2.
	Refused []string `key:"refused"`
}

// Kind is what upstream.Kind says, in a recipe's words.
type Kind struct {
	Capability string `key:"capability,required"`
	Issues     bool   `key:"issues"`
	Undo       string `key:"undo,required"`
	LostReply  string `key:"lostReply,required"`
	// Exclusive: one secret alone may have the account, since rotating one ends another's credential there. Default true
	// for overwrite kinds and where undo is impossible.
	Exclusive *bool         `key:"exclusive"`
	Settle    time.Duration `key:"settle"`
	Deadline  time.Duration `key:"deadline"`
	// Late is how long after its deadline a request may still take effect, beside Settle.
	Late       time.Duration `key:"late"`
	WrongEvery time.Duration `key:"wrongEvery"`
	Evidence   *Evidence     `key:"evidence"`
}

// Evidence is what upstream.Evidence says.
type Evidence struct {
	Source string        `key:"source,required"`
	Late   time.Duration `key:"late"`
	Fine   time.Duration `key:"fine"`
	Names  bool          `key:"names"`
	// If is a condition on the parameters; where it does not hold this upstream has no evidence.
	If string `key:"if"`
}

// Tag says where the text goes that carries the claim and the run.
type Tag struct {
	Where string `key:"where,required"`
	// Max is the most characters that fit there. From 75 on the tag names the run in full.
	Max int `key:"max,required"`
}

// Make is one thing that Custody makes for a candidate; exactly one is set.
type Make struct {
	// Password names the field of a password by the secret's own rule.
	Password string `key:"password"`
	// SSH makes an Ed25519 key pair.
	SSH *SSHKey `key:"ssh"`
	// Text is a field of fixed or computed text.
	Text *Text `key:"text"`
}

// SSHKey names the fields of a key pair, in OpenSSH's forms.
type SSHKey struct {
	Private string `key:"private,required"`
	Public  string `key:"public,required"`
}

// Text is one field and what is in it.
type Text struct {
	Field string `key:"field,required"`
	Value string `key:"value,required"`
}

// Operation is a sequence of steps.
type Operation struct {
	Steps []Step `key:"steps,required"`
}

// Create is an operation that may end in an issued value.
type Create struct {
	// Needs is a condition on what is there before; without it nothing is called.
	Needs string `key:"needs"`
	// NeedsHint says what to do when it does not hold.
	NeedsHint string `key:"needsHint"`
	Steps     []Step `key:"steps,required"`
	// Value has an expression for each field that is issued.
	Value map[string]string `key:"value"`
}

// Verify is an operation that ends in a verdict.
type Verify struct {
	Steps []Step `key:"steps"`
	// Listed: a value is accepted when the list has exactly what Find says it is, and refused when it has not.
	Listed bool `key:"listed"`
}

// List is an operation whose last step has the items.
type List struct {
	Steps []Step `key:"steps,required"`
	// Each has an expression for what is known of one item: id (needed), name, tag, and more.
	Each map[string]string `key:"each,required"`
}

// Find tells which item of the list a value is.
type Find struct {
	// ID is an expression for the identity that the value itself names, "" when it names none.
	ID string `key:"id"`
	// Match is a condition on one item of the list and the value.
	Match string `key:"match"`
}

// Usage says when a value was used.
type Usage struct {
	// Steps give the items; without them the list's item of the value is the only one.
	Steps []Step `key:"steps"`
	// Last is an expression for when: a timestamp, RFC 3339 text or seconds since 1970; null or "" for never,
	// optional.none() where the upstream does not say.
	Last string `key:"last,required"`
	// Who is an expression for who, never a secret. Default: somebody, and the credential's name.
	Who string `key:"who"`
}

// Decoy says how one field of a decoy is made.
type Decoy struct {
	// Keep that many characters; every other letter and digit becomes another of its sort.
	Keep int `key:"keep"`
	// Key makes a fresh private key of the sort that is there, PEM, instead.
	Key bool `key:"key"`
}

// Limits says how the upstream words that it is asked too often, beyond 429 and Retry-After.
type Limits struct {
	// When is a further condition for it.
	When string `key:"when"`
	// Reset names a header that says when to ask again: seconds since 1970, or from now.
	Reset string `key:"reset"`
}

// Step is one request and what its reply means.
type Step struct {
	Name string `key:"name,required"`
	// If is a condition; the step is left out when it does not hold.
	If string `key:"if"`
	// Request is the method and the path: "POST /api/tokens/${params.name}".
	Request string `key:"request,required"`
	// At names an endpoint; default the Upstream's url.
	At   string `key:"at"`
	Auth *Auth  `key:"auth"`
	// Query parameters that come out empty are left out.
	Query   map[string]string `key:"query"`
	Headers map[string]string `key:"headers"`
	// JSON or Form is the body.
	JSON any               `key:"json"`
	Form map[string]string `key:"form"`
	// Changes: the request changes something upstream. Default: every method but GET and HEAD does.
	Changes *bool `key:"changes"`
	// SecretInURL allows fields that are secret in path and query.
	SecretInURL bool    `key:"secretInURL"`
	Replies     []Reply `key:"replies"`
	// Let names what later steps see as steps.NAME.LET.
	Let map[string]string `key:"let"`
	// Items is an expression for the list in a page's reply; Pages says how to get the next.
	Items  string  `key:"items"`
	Pages  *Pages  `key:"pages"`
	Repeat *Repeat `key:"repeat"`
}

// Reply says what a reply means.
type Reply struct {
	When string `key:"when,required"`
	Then Word   `key:"then,required"`
	// Because and Hint are for people.
	Because string `key:"because"`
	Hint    string `key:"hint"`
}

// Pages says how to ask for the next page; exactly one of Link, Number, Cursor and Next is set.
type Pages struct {
	// Link: the reply's Link header has it.
	Link bool `key:"link"`
	// Number names the query parameter that counts pages from First (default 1), until a page has no items.
	Number string `key:"number"`
	First  *int   `key:"first"`
	// Cursor is an expression for what the query parameter As is to be; "" on the last page.
	Cursor string `key:"cursor"`
	As     string `key:"as"`
	// Next is an expression for the next page's address; "" on the last page.
	Next string `key:"next"`
}

// Repeat asks again until a condition holds.
type Repeat struct {
	Until string        `key:"until,required"`
	Every time.Duration `key:"every,required"`
	// Most is how often at most; then the outcome is unknown.
	Most int `key:"most,required"`
}
