// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"custody.dev/custody/internal/secret"
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
	vars      values
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
	word          word
	because, hint string
	step          *step
	status        int
	after         time.Duration
	cause         error
}

// open begins an operation.
func (u *Upstream) open(ctx context.Context, doing string, vars ...values) *session {
	base := values{"claim": u.Claim, "now": u.Clock().UTC()}
	return &session{Upstream: u, ctx: ctx, doing: doing, vars: base.with(u.params).with(vars...)}
}

// run takes the steps in turn, and ends early where one is not ok.
func (s *session) run(steps []*step) outcome {
	for _, step := range steps {
		if step.iff != nil && !step.iff.holds(s.vars) {
			s.let(step, nil)
			continue
		}
		o := s.step(step)
		if o.word != wordOK {
			return o
		}
	}
	return outcome{word: wordOK}
}

// let binds what later steps see of this one; without an answer, nothing but nulls.
func (s *session) let(step *step, answer *answer) *outcome {
	prefix := "steps." + step.Name + "."
	status := 0
	if answer != nil {
		status = answer.status
	}
	s.vars[prefix+"status"] = status
	if step.items != nil {
		if _, collected := s.vars[prefix+"items"]; !collected || answer == nil {
			s.vars[prefix+"items"] = []any{}
		}
	}
	for name, e := range step.let {
		if answer == nil {
			s.vars[prefix+name] = nil
			continue
		}
		v, err := e.eval(s.vars)
		if err != nil {
			return &outcome{word: unknown, step: step, status: status, cause: err}
		}
		s.vars[prefix+name] = v
	}
	return nil
}

// step makes the request, over all pages and until what it waits for.
func (s *session) step(step *step) outcome {
	for asked := 1; ; asked++ {
		o, last := s.pages(step)
		if o.word != wordOK {
			return o
		}
		if step.until == nil || step.until.holds(s.vars) {
			if failed := s.let(step, last); failed != nil {
				return *failed
			}
			return o
		}
		if asked >= step.Repeat.Most {
			o.word, o.because = unknown, "what this step waits for has not come"
			return o
		}
		if err := s.Wait(s.ctx, step.Repeat.Every); err != nil {
			o.word, o.cause = unknown, err
			return o
		}
	}
}

// pages asks for every page and keeps their items. A list that was not read to its end is none.
func (s *session) pages(step *step) (outcome, *answer) {
	target, err := s.address(step)
	if err != nil {
		return outcome{word: notApplied, step: step, cause: err}, nil
	}
	items := []any{}
	seen := map[string]bool{}
	for page := 1; ; page++ {
		seen[target.String()] = true
		answer, o := s.ask(step, target)
		if answer == nil || o.word != wordOK {
			return o, answer
		}
		if step.parses && !answer.parsed() {
			return outcome{word: unknown, step: step, status: answer.status, because: "the answer is not JSON"}, answer
		}
		if step.items == nil {
			return o, answer
		}
		v, err := step.items.eval(s.vars)
		if err != nil {
			return outcome{word: unknown, step: step, status: answer.status, cause: err}, answer
		}
		fresh, ok := asList(v)
		if !ok {
			return outcome{word: unknown, step: step, status: answer.status, because: "the items are not a list"}, answer
		}
		items = append(items, fresh...)
		s.vars["steps."+step.Name+".items"] = items
		next, o := s.next(step, target, answer, len(fresh), page)
		if o.word != wordOK || next == nil {
			o.status = answer.status
			return o, answer
		}
		if page >= maxPages || len(items) > maxItems || seen[next.String()] {
			return outcome{word: unknown, step: step, because: "the list does not end: it has too many pages, or they repeat"}, answer
		}
		target = next
	}
}

// next is the address of the page after this one, nil after the last.
func (s *session) next(step *step, this *url.URL, answer *answer, fresh, page int) (*url.URL, outcome) {
	fine, p := outcome{word: wordOK, step: step}, step.Pages
	fail := func(because string) (*url.URL, outcome) {
		return nil, outcome{word: unknown, step: step, status: answer.status, because: because}
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
	case step.cursor != nil:
		cursor, err := step.cursor.text(s.vars)
		if err != nil {
			return fail("the cursor of the next page cannot be told")
		}
		if cursor == "" {
			return nil, fine
		}
		return withQuery(this, p.As, cursor), fine
	case step.next != nil:
		text, err := step.next.text(s.vars)
		if err != nil {
			return fail("the address of the next page cannot be told")
		}
		link = text
	default:
		link = nextLink(answer.header)
	}
	if link == "" {
		return nil, fine
	}
	next, err := this.Parse(link)
	if err != nil || !within(next, s.endpoints[step.At]) {
		return fail("the next page lies outside the configured address")
	}
	return next, fine
}

// ask sends one request, with the admin credentials in turn where the step needs one, and says what the reply means.
func (s *session) ask(step *step, target *url.URL) (*answer, outcome) {
	for {
		answer, o := s.once(step, target)
		if o.word != adminRefused {
			return answer, o
		}
		if !s.nextAdmin() {
			o.because = "the upstream refuses every admin credential"
			o.hint = cmp.Or(o.hint, "make a new admin credential by hand and hand it in: `custody supply SECRET`, the one that adminRef names")
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

// adminVars are the admin's fields. The error is an outcome.
func (s *session) adminVars() (values, error) {
	if !s.read {
		admins, err := s.Admin(s.ctx)
		if err != nil {
			return nil, err
		}
		s.admins, s.read = admins, true
	}
	if s.at >= len(s.admins) {
		return nil, upstream.ErrNotApplied
	}
	return fieldsOf("admin", s.r.Admin.Fields, s.admins[s.at]), nil
}

func (s *session) once(step *step, target *url.URL) (*answer, outcome) {
	signing, vars, admin := step.auth, s.vars, false
	if signing.use == "admin" {
		fields, err := s.adminVars()
		if err != nil {
			return nil, outcome{word: notApplied, step: step, because: "reading the admin credential", cause: err}
		}
		signing, vars, admin = s.r.admin, s.vars.with(fields), true
	}
	request, err := s.request(step, target)
	if err != nil {
		return nil, outcome{word: notApplied, step: step, cause: err}
	}
	client, o := s.sign(request, signing, vars, admin)
	if o.word != wordOK {
		if o.word == adminRefused && !admin { // it was the secret's own credential
			o.word = refused
			if !s.verifying {
				o.word = notApplied
			}
		}
		return nil, o
	}
	before := s.Clock()
	answer, sent, err := s.send(client, request)
	tell := func(status int, means word) {
		if s.watch != nil {
			s.watch(Trial{Place: step.place, Request: step.Request, Status: status, Means: string(means), Took: s.Clock().Sub(before)})
		}
	}
	if err != nil {
		o := outcome{word: notApplied, step: step}
		if sent {
			o.word = unknown
			s.touched = s.touched || step.changes
		}
		tell(0, o.word)
		o.because, o.cause = describe(err)
		if !sent {
			o.hint = "see that the upstream runs, and that url and caCertificate in the Upstream document are right"
		}
		return nil, o
	}
	o = s.classify(step, answer, admin)
	tell(answer.status, o.word)
	// What stands before an upstream asks for patience by 503 even if the upstream has done what was asked.
	late := o.word == later && answer.status >= http.StatusInternalServerError
	if step.changes && (late || o.word == wordOK || o.word == done || o.word == unknown) {
		s.touched = true
	}
	return answer, o
}

// classify says what an answer means: throttling first, then the recipe's replies, then what HTTP itself says. What a
// recipe takes for a quota comes before throttling, since both may have the same status.
func (s *session) classify(step *step, a *answer, admin bool) outcome {
	o := outcome{step: step, status: a.status}
	s.vars["response.status"], s.vars["response.body"] = a.status, a.body
	s.vars["response.text"], s.vars["response.header"] = a.text, a.headers()
	at := slices.IndexFunc(step.replies, func(rule reply) bool { return rule.when.holds(s.vars) })
	if throttled, after := s.throttled(a); throttled && (at < 0 || step.replies[at].word != quota) {
		o.word, o.after, o.because = later, after, "the upstream is asked too often"
		return o
	}
	if at >= 0 {
		rule := step.replies[at]
		o.word, o.because, o.hint = rule.word, rule.because, rule.hint
		if o.word == later {
			o.after = s.pause(a)
		}
		return o
	}
	o.word = unknown
	switch {
	case a.status >= 200 && a.status < 300:
		o.word = wordOK
	case a.status == http.StatusUnauthorized && admin:
		o.word = adminRefused
	case a.status == http.StatusForbidden && admin:
		o.word, o.hint = notApplied, "the admin lacks a right: see the recipe's page for those it needs"
	case a.status >= 300 && a.status < 400:
		o.because = "redirects are not followed"
		o.hint = "write the address in the Upstream document that the upstream redirects to"
		if a.status == http.StatusTemporaryRedirect || a.status == http.StatusPermanentRedirect {
			o.word = notApplied
		}
	case slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly}, a.status):
	case a.status >= 400 && a.status < 500:
		o.word = notApplied
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
		s.r.limited != nil && s.r.limited.holds(s.vars)
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
	for _, name := range []string{s.r.Limits.Reset, "X-RateLimit-Reset"} {
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
	e := &Error{Doing: s.doing, Status: o.status, Detail: o.because, Cause: o.cause, Next: o.hint}
	if o.step != nil {
		e.Step = o.step.place
	}
	switch {
	case s.touched:
	case o.word == refusedCandidate:
		e.Class = upstream.ErrRefusedCandidate
	case o.word == unknown && o.step != nil && o.step.changes:
	default:
		e.Class = upstream.ErrNotApplied
	}
	if o.word == later {
		return &upstream.Later{After: o.after, Err: e}
	}
	return e
}
