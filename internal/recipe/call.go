// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Word is what a reply means.
type Word string

// OK and its like are the words that a reply may have; which of them may stand where is the operation's to say.
const (
	OK               Word = "ok"                // go on with the next step
	Done             Word = "done"              // the operation has succeeded; no further step
	Accepted         Word = "accepted"          // the credential is honoured
	Refused          Word = "refused"           // the credential itself is wrong
	Unknown          Word = "unknown"           // decides nothing; of a change: it may have taken effect
	NotApplied       Word = "not-applied"       // certainly nothing happened
	RefusedCandidate Word = "refused-candidate" // the upstream will never take it
	Quota            Word = "quota"             // there are too many credentials
	Later            Word = "later"             // asked too often
	AdminRefused     Word = "admin-refused"     // the admin's credential itself is wrong
)

// Call is a compiled Step: what one request holds, and what its answer means. Its methods see what is in v.
type Call struct {
	// Source is the step as it was written. It is not to be changed.
	Source *Step
	// Place is where it stands, such as create.steps[0].
	Place string
	// Method is HTTP's.
	Method string
	// SignIn is how the request is signed.
	SignIn *SignIn
	// Changes: the request changes something upstream.
	Changes bool
	// ReadsBody: what later steps see of the answer comes from its JSON, so an answer that is none decides nothing.
	ReadsBody bool

	path    *template
	query   map[string]*template
	headers map[string]*template
	json    tree
	form    map[string]*template
	iff     *expression
	when    []*expression // of Source.Replies
	let     map[string]*expression
	items   *expression
	cursor  *expression
	next    *expression
	until   *expression
}

// Due reports whether the request is to be made.
func (c *Call) Due(v Values) bool { return c.iff == nil || c.iff.holds(v) }

var errEmptySegment = errors.New("a part of the path comes out empty or as dots")

func escapeSegment(text string) (string, error) {
	if text == "" || text == "." || text == ".." {
		return "", errEmptySegment
	}
	return url.PathEscape(text), nil
}

// Path is beneath a base address and begins with a slash. What was filled in is escaped, each a part of one segment.
func (c *Call) Path(v Values) (string, error) { return c.path.fill(v, escapeSegment) }

// Query has the parameters that do not come out empty, and the number of the first page.
func (c *Call) Query(v Values) (url.Values, error) {
	out := url.Values{}
	for name, t := range c.query {
		text, err := t.fill(v, nil)
		if err != nil {
			return nil, err
		}
		if text != "" {
			out.Set(name, text)
		}
	}
	if p := c.Source.Pages; p != nil && p.Number != "" && p.First != nil {
		out.Set(p.Number, strconv.Itoa(*p.First))
	}
	return out, nil
}

// Headers are those of the recipe's own. None has a line break in it.
func (c *Call) Headers(v Values) (map[string]string, error) {
	out := map[string]string{}
	for name, t := range c.headers {
		text, err := t.header(v)
		if err != nil {
			return nil, err
		}
		out[name] = text
	}
	return out, nil
}

// Body is the body and its media type; both are empty for a request without one.
func (c *Call) Body(v Values) (body []byte, media string, err error) {
	switch {
	case c.json != nil:
		data, _, err := build(c.json, v)
		if err != nil {
			return nil, "", err
		}
		if body, err = json.Marshal(data); err != nil {
			return nil, "", fmt.Errorf("%s.json: nothing that JSON can hold", c.Place)
		}
		return body, "application/json", nil
	case c.form != nil:
		form := url.Values{}
		for name, t := range c.form {
			text, err := t.fill(v, nil)
			if err != nil {
				return nil, "", err
			}
			form.Set(name, text)
		}
		return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
	}
	return nil, "", nil
}

// Reply is the first of the recipe's replies that the answer in v is.
func (c *Call) Reply(v Values) (Reply, bool) {
	at := slices.IndexFunc(c.when, func(when *expression) bool { return when.holds(v) })
	if at < 0 {
		return Reply{}, false
	}
	return c.Source.Replies[at], true
}

// Items are those of one page, for steps that read them.
func (c *Call) Items(v Values) ([]any, error) {
	out, err := c.items.eval(v)
	if err != nil {
		return nil, err
	}
	list, ok := asList(out)
	if !ok {
		return nil, fmt.Errorf("%s: the items are not a list", c.items.place)
	}
	return list, nil
}

// Cursor is what asks for the page after this one, for steps whose pages have one; "" on the last.
func (c *Call) Cursor(v Values) (string, error) { return c.cursor.text(v) }

// Next is the address of the page after this one, for steps whose pages say it; "" on the last.
func (c *Call) Next(v Values) (string, error) { return c.next.text(v) }

// Arrived reports whether what the step asks for again and again has come; true for one that is asked once.
func (c *Call) Arrived(v Values) bool { return c.until == nil || c.until.holds(v) }

// Keep notes in v the items of the pages so far.
func (c *Call) Keep(v Values, items []any) { v[c.name("items")] = items }

// kept are the items that Keep noted.
func (c *Call) kept(v Values) []any {
	items, _ := v[c.name("items")].([]any)
	return items
}

// Bind notes in v what later steps see of the answer in it.
func (c *Call) Bind(v Values) error {
	v[c.name("status")] = v["response.status"]
	for name, e := range c.let {
		out, err := e.eval(v)
		if err != nil {
			return err
		}
		v[c.name(name)] = out
	}
	return nil
}

// Skip notes in v that the step was left out: later ones see nulls of it, the status 0 and no items.
func (c *Call) Skip(v Values) {
	v[c.name("status")] = 0
	if c.items != nil {
		v[c.name("items")] = []any{}
	}
	for name := range c.let {
		v[c.name(name)] = nil
	}
}

func (c *Call) name(let string) string { return "steps." + c.Source.Name + "." + let }

// Token is the access token in the answer in v, for the request of SignIn.Exchange; "" where it has none that a header
// can hold.
func (c *Call) Token(v Values) string {
	token, err := c.let[tokenLet].text(v)
	if err != nil || strings.ContainsAny(token, "\r\n") {
		return ""
	}
	return token
}

// Answer is what expressions see of an answer, whose headers are by lower-case name. isJSON is false for a body that is
// not JSON, which then reads as empty.
func Answer(status int, header map[string]string, body []byte) (v Values, isJSON bool) {
	data, isJSON := fromJSON(body)
	if data == nil {
		data = map[string]any{}
	}
	return Values{"response.status": status, "response.header": header, "response.body": data, "response.text": string(body)}, isJSON
}
