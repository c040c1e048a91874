// SPDX-License-Identifier: Apache-2.0

package http

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

const (
	maxPages = 200
	maxItems = 20_000
	// maxAnswer bounds one answer, maxAnswers all of one operation.
	maxAnswer  = 1 << 20
	maxAnswers = 16 << 20
)

// session is one operation: its variables, the admin credential in use, and whether anything may have been changed.
type session struct {
	*Upstream
	ctx       context.Context
	doing     string
	vars      recipe.Values
	verifying bool
	// admins are read when the first step needs them; at is the one in use, bearer its access token.
	admins []secret.Value
	read   bool
	at     int
	bearer string
	// touched: a request that changes something was answered well, or may have been.
	touched bool
	bytes   int
	// date is the upstream's clock in the last answer, zero when it told none; heard is ours at that moment.
	date, heard time.Time
}

// outcome is how a step or an operation ended.
type outcome struct {
	word          recipe.Word
	because, hint string
	call          *recipe.Call
	status        int
	after         time.Duration
	cause         error
}

// open begins an operation.
func (u *Upstream) open(ctx context.Context, doing string, vars ...recipe.Values) *session {
	return &session{Upstream: u, ctx: ctx, doing: doing, vars: u.known().With(vars...)}
}

// run takes the calls in turn, and ends early where one is not ok.
func (s *session) run(calls []*recipe.Call) outcome {
	for _, call := range calls {
		if !call.Due(s.vars) {
			call.Skip(s.vars)
			continue
		}
		if o := s.call(call); o.word != recipe.OK {
			return o
		}
	}
	return outcome{word: recipe.OK}
}

// call makes the request, over all pages and until what it waits for.
func (s *session) call(call *recipe.Call) outcome {
	for asked := 1; ; asked++ {
		o := s.pages(call)
		if o.word != recipe.OK {
			return o
		}
		if call.Arrived(s.vars) {
			if err := call.Bind(s.vars); err != nil {
				return outcome{word: recipe.Unknown, call: call, status: o.status, cause: err}
			}
			return o
		}
		if asked >= call.Source.Repeat.Most {
			o.word, o.because = recipe.Unknown, "what this step waits for has not come"
			return o
		}
		if err := s.Wait(s.ctx, call.Source.Repeat.Every); err != nil {
			o.word, o.cause = recipe.Unknown, err
			return o
		}
	}
}

// pages asks for every page and keeps their items. A list that was not read to its end is none.
func (s *session) pages(call *recipe.Call) outcome {
	target, err := s.address(call)
	if err != nil {
		return outcome{word: recipe.NotApplied, call: call, cause: err}
	}
	items := []any{}
	seen := map[string]bool{}
	for page := 1; ; page++ {
		seen[target.String()] = true
		answer, o := s.ask(call, target)
		if answer == nil || o.word != recipe.OK {
			return o
		}
		if call.ReadsBody && !answer.parsed() {
			return outcome{word: recipe.Unknown, call: call, status: answer.status, because: "the answer is not JSON"}
		}
		if call.Source.Items == "" {
			return o
		}
		fresh, err := call.Items(s.vars)
		if err != nil {
			return outcome{word: recipe.Unknown, call: call, status: answer.status, cause: err}
		}
		items = append(items, fresh...)
		call.Keep(s.vars, items)
		next, o := s.next(call, target, answer, len(fresh), page)
		if o.word != recipe.OK || next == nil {
			o.status = answer.status
			return o
		}
		if page >= maxPages || len(items) > maxItems || seen[next.String()] {
			return outcome{word: recipe.Unknown, call: call, because: "the list does not end: it has too many pages, or they repeat"}
		}
		target = next
	}
}

// next is the address of the page after this one, nil after the last.
func (s *session) next(call *recipe.Call, this *url.URL, answer *answer, fresh, page int) (*url.URL, outcome) {
	fine, p := outcome{word: recipe.OK, call: call}, call.Source.Pages
	fail := func(because string) (*url.URL, outcome) {
		return nil, outcome{word: recipe.Unknown, call: call, status: answer.status, because: because}
	}
	link := ""
	switch {
	case p == nil:
		return nil, fine
	case p.Number != "":
		if fresh == 0 {
			return nil, fine
		}
		first := 1
		if p.First != nil {
			first = *p.First
		}
		return withQuery(this, p.Number, strconv.Itoa(first+page)), fine
	case p.Cursor != "":
		cursor, err := call.Cursor(s.vars)
		if err != nil {
			return fail("the answer has no usable cursor for the next page")
		}
		if cursor == "" {
			return nil, fine
		}
		return withQuery(this, p.As, cursor), fine
	case p.Next != "":
		text, err := call.Next(s.vars)
		if err != nil {
			return fail("the answer has no usable address for the next page")
		}
		link = text
	default:
		link = transport.Answer{Header: answer.header}.Next()
	}
	if link == "" {
		return nil, fine
	}
	next, err := this.Parse(link)
	if err != nil || !within(next, s.endpoints[call.Source.At]) {
		return fail("the next page lies outside the configured address")
	}
	return next, fine
}

// ask sends one request, with the admin credentials in turn where the step needs one, and says what the reply means.
func (s *session) ask(call *recipe.Call, target *url.URL) (*answer, outcome) {
	for {
		answer, o := s.once(call, target)
		if o.word != recipe.AdminRefused {
			return answer, o
		}
		if !s.nextAdmin() {
			o.because = "the upstream refuses every admin credential"
			o.hint = cmp.Or(o.hint, "create a new admin credential by hand and supply it for the secret that adminRef names: "+upstream.SupplyAdmin)
			return answer, o
		}
	}
}

func (s *session) nextAdmin() bool {
	if s.at+1 >= len(s.admins) {
		return false
	}
	s.at++
	s.bearer = ""
	return true
}

var errNoAdmin = errors.New("there is none")

// adminVars are the admin's fields. The error is an outcome.
func (s *session) adminVars() (recipe.Values, error) {
	if !s.read {
		admins, err := s.Admin(s.ctx)
		if err != nil {
			return nil, err
		}
		s.admins, s.read = admins, true
	}
	if s.at >= len(s.admins) {
		return nil, errNoAdmin
	}
	return s.r.AdminFields(s.admins[s.at]), nil
}

func (s *session) once(call *recipe.Call, target *url.URL) (*answer, outcome) {
	by, vars, admin := call.SignIn, s.vars, false
	if by.Admin {
		fields, err := s.adminVars()
		if err != nil {
			return nil, outcome{word: recipe.NotApplied, call: call, because: "reading the admin credential", cause: err}
		}
		by, vars, admin = s.r.Admin, s.vars.With(fields), true
	}
	request, err := s.request(call, target)
	if err != nil {
		return nil, outcome{word: recipe.NotApplied, call: call, cause: err}
	}
	client, o := s.sign(request, by, vars, admin)
	if o.word != recipe.OK {
		if o.word == recipe.AdminRefused && !admin { // it was the secret's own credential
			o.word = recipe.Refused
			if !s.verifying {
				o.word = recipe.NotApplied
			}
		}
		return nil, o
	}
	before := s.Clock()
	answer, sent, err := s.send(client, request)
	tell := func(status int, means recipe.Word) {
		if s.watch != nil {
			s.watch(Trial{Place: call.Place, Request: call.Source.Request, Status: status, Means: string(means), Took: s.Clock().Sub(before)})
		}
	}
	if err != nil {
		o := outcome{word: recipe.NotApplied, call: call}
		if sent {
			o.word = recipe.Unknown
			s.touched = s.touched || call.Changes
		}
		tell(0, o.word)
		o.because, o.cause = told(err)
		if !sent {
			o.hint = "see that the upstream runs, and that url and caCertificate in the Upstream document are right"
		}
		return nil, o
	}
	o = s.classify(call, answer, admin)
	tell(answer.status, o.word)
	// What stands before an upstream asks for patience by 503 even if the upstream has done what was asked.
	late := o.word == recipe.Later && answer.status >= http.StatusInternalServerError
	if call.Changes && (late || o.word == recipe.OK || o.word == recipe.Done || o.word == recipe.Unknown) {
		s.touched = true
	}
	return answer, o
}

// classify says what an answer means: throttling first, then the recipe's replies, then what HTTP itself says. What a
// recipe takes for a quota comes before throttling, since both may have the same status.
func (s *session) classify(call *recipe.Call, a *answer, admin bool) outcome {
	o := outcome{call: call, status: a.status}
	maps.Copy(s.vars, a.seen)
	reply, ruled := call.Reply(s.vars)
	if throttled, after := s.throttled(a); throttled && (!ruled || reply.Then != recipe.Quota) {
		o.word, o.after, o.because = recipe.Later, after, "the upstream is asked too often"
		return o
	}
	if ruled {
		o.word, o.because, o.hint = reply.Then, reply.Because, reply.Hint
		if o.word == recipe.Later {
			o.after = s.pause(a)
		}
		return o
	}
	o.word = recipe.Unknown
	switch {
	case a.status >= 200 && a.status < 300:
		o.word = recipe.OK
	case a.status == http.StatusUnauthorized && admin:
		o.word = recipe.AdminRefused
	case a.status == http.StatusForbidden && admin:
		o.word, o.hint = recipe.NotApplied, "the admin lacks a right: see the recipe's page for those it needs"
	case a.status >= 300 && a.status < 400:
		o.because = "redirects are not followed"
		o.hint = "write the address in the Upstream document that the upstream redirects to"
		if a.status == http.StatusTemporaryRedirect || a.status == http.StatusPermanentRedirect {
			o.word = recipe.NotApplied
		}
	case slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly}, a.status):
	case a.status >= 400 && a.status < 500:
		o.word = recipe.NotApplied
	}
	return o
}

const (
	defaultPause = 30 * time.Second
	maxPause     = time.Hour
)

// throttled reports whether an answer says that it is asked too often, and when to ask again.
func (s *session) throttled(a *answer) (bool, time.Duration) {
	is := a.status == http.StatusTooManyRequests ||
		a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" ||
		a.status == http.StatusForbidden && (a.header.Get("X-RateLimit-Remaining") == "0" || a.header.Get("Retry-After") != "") ||
		s.r.Limited(s.vars)
	if !is {
		return false, 0
	}
	return true, s.pause(a)
}

// pause reads Retry-After and the header that says when the limit ends.
func (s *session) pause(a *answer) time.Duration {
	bounded := func(d time.Duration) time.Duration { return min(max(d, time.Second), maxPause) }
	now := s.Clock()
	if text := a.header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.Atoi(text); err == nil {
			return bounded(time.Duration(min(seconds, int(maxPause/time.Second))) * time.Second)
		}
		if at, err := http.ParseTime(text); err == nil {
			return bounded(at.Sub(cmp.Or(a.date, now)))
		}
	}
	for _, name := range []string{s.r.Source.Limits.Reset, "X-RateLimit-Reset"} {
		if name == "" {
			continue
		}
		if number, err := strconv.ParseInt(a.header.Get(name), 10, 64); err == nil {
			if number > 1_000_000_000 {
				base := now
				if !a.date.IsZero() {
					base = a.date
				}
				return bounded(time.Unix(number, 0).Sub(base))
			}
			return bounded(time.Duration(min(number, int64(maxPause/time.Second))) * time.Second)
		}
	}
	return defaultPause
}

// fail words an operation that did not end well. Nothing is said to be unapplied after something was touched.
func (s *session) fail(o outcome) error {
	e := &upstream.Error{Doing: s.doing, Detail: o.because, Cause: o.cause, Next: o.hint}
	if o.call != nil {
		e.At = o.call.Place
	}
	if o.status != 0 {
		e.Said = "the upstream answered " + strconv.Itoa(o.status)
	}
	switch {
	case s.touched:
		e.Cause = upstream.Classless(o.cause)
	case o.word == recipe.RefusedCandidate:
		e.Class = upstream.ErrRefusedCandidate
	case o.word == recipe.Unknown && o.call != nil && o.call.Changes:
	default:
		e.Class = upstream.ErrNotApplied
	}
	if o.word == recipe.Later {
		return &upstream.Later{After: o.after, Err: e}
	}
	return e
}
