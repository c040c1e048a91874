// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/internal/lazyregexp"

	"cel.dev/cel-go/cel"
)

// purpose is what a sequence of steps is for.
type purpose int

const (
	changing purpose = iota // create, revoke
	checking                // verify
	reading                 // list, usage: a list that ended early would be a short one, so nothing is done before its end
	signing                 // for an access token
)

func (p purpose) words() []Word {
	switch p {
	case changing:
		return []Word{OK, Done, Unknown, NotApplied, RefusedCandidate, Quota, Later, AdminRefused}
	case checking:
		return []Word{OK, Accepted, Refused, Unknown, Later, AdminRefused}
	}
	return []Word{OK, Unknown, NotApplied, Later, AdminRefused}
}

// steps compiles a sequence. Each sees what the ones before it let; after is what comes after the last.
func (c *compiler) steps(place string, list []Step, s scope, r *Recipe, purpose purpose) (out []*Call, after scope) {
	after = s
	if len(list) > maxSteps {
		c.bad(place+".steps", "more than %d steps; leave some out, or write a program for upstreams of type exec", maxSteps)
		return nil, after
	}
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

var (
	methods    = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	ownHeaders = []string{"Host", "Authorization", "Cookie", "Content-Length"}
	headerName = lazyregexp.New(`^[A-Za-z0-9-]{1,64}$`)
)

func (c *compiler) step(place string, s *Step, in scope, r *Recipe, purpose purpose) *Call {
	out := &Call{Source: s, Place: place}
	c.word(place+".name", s.Name)
	for name := range s.Let {
		c.word(place+".let."+name, name)
		if name == "items" || name == "status" {
			c.bad(place+".let."+name, "this name is taken")
		}
	}
	out.iff = c.expression(place+".if", s.If, in, cel.BoolType)
	method, path, _ := strings.Cut(s.Request, " ")
	out.Method = method
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
	out.Changes = method != "GET" && method != "HEAD"
	if s.Changes != nil {
		out.Changes = *s.Changes
	}
	if purpose == checking {
		out.Changes = false
	}
	by := s.Auth
	switch {
	case by != nil:
	case purpose == checking || r.Admin == nil:
		by = &Auth{Use: byNobody}
	default:
		by = &Auth{Use: byAdmin}
	}
	out.SignIn = c.auth(place+".auth", by, in, r)
	if out.SignIn.Admin && r.Admin == nil {
		c.bad(place+".auth", "the recipe does not say how an admin signs in")
	}
	out.query = c.templates(place+".query", s.Query, in)
	out.headers = c.templates(place+".headers", s.Headers, in)
	for name := range s.Headers {
		if !headerName.MatchString(name) || slices.ContainsFunc(ownHeaders, func(own string) bool { return strings.EqualFold(own, name) }) {
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
	c.pages(place, out, seen)
	for _, e := range slices.AppendSeq([]*expression{out.items, out.cursor, out.next}, maps.Values(out.let)) {
		out.ReadsBody = out.ReadsBody || e != nil && slices.Contains(e.names, "response.body")
	}
	if s.Repeat != nil {
		out.until = c.needed(place+".repeat.until", s.Repeat.Until, seen, cel.BoolType)
		if s.Repeat.Most < 1 || s.Repeat.Most > 100 || s.Repeat.Every <= 0 {
			c.bad(place+".repeat", "want every above 0 and most from 1 to 100")
		}
	}
	allowed := purpose.words()
	for i, rule := range s.Replies {
		where := fmt.Sprintf("%s.replies[%d]", place, i)
		if !slices.Contains(allowed, rule.Then) {
			c.bad(where+".then", "want one of %s", joinWords(allowed))
		}
		out.when = append(out.when, c.needed(where+".when", rule.When, seen, cel.BoolType))
	}
	return out
}

func joinWords(words []Word) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func (c *compiler) pages(place string, call *Call, in scope) {
	p := call.Source.Pages
	if p == nil {
		return
	}
	given := 0
	for _, is := range []bool{p.Link, p.Number != "", p.Cursor != "", p.Next != ""} {
		if is {
			given++
		}
	}
	if given != 1 || (p.Cursor != "") != (p.As != "") || call.items == nil || (p.First != nil && p.Number == "") {
		c.bad(place+".pages", "want exactly one of link, number, cursor (with as) and next, and items beside them")
	}
	call.cursor = c.expression(place+".pages.cursor", p.Cursor, in, nil)
	call.next = c.expression(place+".pages.next", p.Next, in, nil)
}

func (c *compiler) endpoint(place, name string, r *Recipe) {
	if _, known := r.Endpoints[name]; name != "" && !known {
		c.bad(place, "there is no endpoint %q", name)
	}
}

// urlHoldsNoSecret: addresses end in logs, of proxies above all.
func (c *compiler) urlHoldsNoSecret(call *Call, r *Recipe) {
	names := call.path.names()
	for _, t := range call.query {
		names = append(names, t.names()...)
	}
	for _, name := range names {
		owner, field, _ := strings.Cut(name, ".")
		secret := owner == "admin"
		if slices.Contains([]string{"secret", "current", "candidate"}, owner) {
			secret = !r.Fields[field].Public
		}
		if secret && !call.Source.SecretInURL {
			c.bad(call.Place, "%s is secret and would stand in the address; send it in the body, or set secretInURL: true", name)
		}
	}
}
