// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// answer is what came back, bounded.
type answer struct {
	status int
	header http.Header
	body   any
	text   string
	date   time.Time
	// json: body is what it says; otherwise it is empty.
	json bool
}

// parsed reports whether what is read from the body can be trusted: an answer of success that is no JSON comes from
// something else than the interface, a proxy's sign-in page for example.
func (a *answer) parsed() bool { return a.json || a.status < 200 || a.status >= 300 }

// headers by lower-case name.
func (a *answer) headers() map[string]string {
	out := map[string]string{}
	for name, texts := range a.header {
		out[strings.ToLower(name)] = strings.Join(texts, ", ")
	}
	return out
}

// Local reports whether host is loopback.
func Local(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// newTransport trusts the system's authorities, or those in roots alone. Each request has a connection of its own: the
// library then never repeats one by itself. Nothing is taken from the process's environment.
func newTransport(base *tls.Config) *http.Transport {
	var dialer net.Dialer
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: base, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

var errEmptySegment = errors.New("a part of the path comes out empty or as dots")

func escapeSegment(text string) (string, error) {
	if text == "" || text == "." || text == ".." {
		return "", errEmptySegment
	}
	return url.PathEscape(text), nil
}

// address fills the path and the query of a step.
func (s *session) address(step *step) (*url.URL, error) {
	base := s.endpoints[step.At]
	path, err := step.path.fill(s.vars, escapeSegment)
	if err != nil {
		return nil, err
	}
	target, err := base.Parse(strings.TrimSuffix(base.EscapedPath(), "/") + path)
	if err != nil || !within(target, base) {
		return nil, fmt.Errorf("%s: the path leaves the configured address", step.place)
	}
	query := url.Values{}
	for name, t := range step.query {
		text, err := t.fill(s.vars, nil)
		if err != nil {
			return nil, err
		}
		if text != "" {
			query.Set(name, text)
		}
	}
	if step.Pages != nil && step.Pages.Number != "" && step.Pages.First != nil {
		query.Set(step.Pages.Number, fmt.Sprint(*step.Pages.First))
	}
	target.RawQuery = query.Encode()
	return target, nil
}

// within reports whether target lies at or beneath base, on the same host by the same scheme.
func within(target, base *url.URL) bool {
	below := strings.TrimSuffix(base.EscapedPath(), "/") + "/"
	climbs := func(segment string) bool {
		plain, err := url.PathUnescape(segment)
		return err != nil || plain == ".."
	}
	return target.Scheme == base.Scheme && target.Host == base.Host && target.User == nil && target.Fragment == "" &&
		strings.HasPrefix(target.EscapedPath(), below) && !slices.ContainsFunc(strings.Split(target.EscapedPath(), "/"), climbs)
}

func withQuery(target *url.URL, name, value string) *url.URL {
	next := *target
	query := next.Query()
	query.Set(name, value)
	next.RawQuery = query.Encode()
	return &next
}

// nextLink finds rel="next" in Link headers.
func nextLink(header http.Header) string {
	for _, line := range header.Values("Link") {
		for part := range strings.SplitSeq(line, ",") {
			address, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
			for parameter := range strings.SplitSeq(parameters, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
				if strings.EqualFold(name, "rel") && strings.Trim(value, `"`) == "next" {
					return strings.TrimSuffix(strings.TrimPrefix(address, "<"), ">")
				}
			}
		}
	}
	return ""
}

// request fills everything but the credential.
func (s *session) request(step *step, target *url.URL) (*http.Request, error) {
	var body []byte
	kind := ""
	switch {
	case step.JSON != nil:
		data, _, err := build(step.json, s.vars)
		if err != nil {
			return nil, err
		}
		if body, err = json.Marshal(data); err != nil {
			return nil, fmt.Errorf("%s.json: nothing that JSON can hold", step.place)
		}
		kind = "application/json"
	case step.Form != nil:
		form := url.Values{}
		for name, t := range step.form {
			text, err := t.fill(s.vars, nil)
			if err != nil {
				return nil, err
			}
			form.Set(name, text)
		}
		body, kind = []byte(form.Encode()), "application/x-www-form-urlencoded"
	}
	request, err := http.NewRequestWithContext(s.ctx, step.method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: the address cannot be asked", step.place)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "custody")
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	for name, t := range step.headers {
		if err := setHeader(request, name, t, s.vars); err != nil {
			return nil, err
		}
	}
	return request, nil
}

func setHeader(request *http.Request, name string, t *template, v values) error {
	text, err := t.fill(v, nil)
	if err != nil {
		return err
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("%s: a header cannot hold line breaks", t.place)
	}
	request.Header.Set(name, text)
	return nil
}

// sign puts the credential on request and returns the client that may carry it. vars hold its fields.
func (s *session) sign(request *http.Request, by *auth, vars values, admin bool) (*http.Client, outcome) {
	fine := outcome{word: wordOK}
	fail := func(err error) (*http.Client, outcome) { return nil, outcome{word: notApplied, cause: err} }
	transport := s.transport
	if by.cert != nil {
		certificate, err := by.cert.fill(vars, nil)
		if err != nil {
			return fail(err)
		}
		key, err := by.key.fill(vars, nil)
		if err != nil {
			return fail(err)
		}
		pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
		if err != nil {
			return fail(fmt.Errorf("%s: certificate and key are not a pair in PEM", by.cert.place))
		}
		config := transport.TLSClientConfig.Clone()
		config.Certificates = []tls.Certificate{pair}
		transport = newTransport(config)
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	bearer := by.bearer
	switch {
	case bearer != nil:
		if err := setHeader(request, "Authorization", bearer, vars); err != nil {
			return fail(err)
		}
		request.Header.Set("Authorization", "Bearer "+request.Header.Get("Authorization"))
	case by.username != nil:
		username, err := by.username.fill(vars, nil)
		if err != nil {
			return fail(err)
		}
		password, err := by.password.fill(vars, nil)
		if err != nil {
			return fail(err)
		}
		if by.encoded {
			username, password = url.QueryEscape(username), url.QueryEscape(password)
		}
		request.SetBasicAuth(username, password)
	case by.value != nil:
		if err := setHeader(request, by.name, by.value, vars); err != nil {
			return fail(err)
		}
	case by.exchange != nil:
		token, o := s.exchange(by.exchange, client, vars, admin)
		if o.word != wordOK {
			return nil, o
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return client, fine
}

// exchange asks for an access token. The admin's is kept for the rest of the operation.
func (s *session) exchange(step *step, client *http.Client, vars values, admin bool) (string, outcome) {
	if admin && s.bearer != "" {
		return s.bearer, outcome{word: wordOK}
	}
	sub := &session{Upstream: s.Upstream, ctx: s.ctx, doing: s.doing, vars: vars.with(), bytes: s.bytes}
	target, err := sub.address(step)
	if err != nil {
		return "", outcome{word: notApplied, step: step, cause: err}
	}
	request, err := sub.request(step, target)
	if err != nil {
		return "", outcome{word: notApplied, step: step, cause: err}
	}
	if step.auth.username != nil {
		if _, o := sub.sign(request, step.auth, vars, false); o.word != wordOK {
			return "", o
		}
	}
	answer, _, err := sub.send(client, request)
	if err != nil {
		o := outcome{word: notApplied, step: step}
		o.because, o.cause = describe(err)
		return "", o
	}
	o := sub.classify(step, answer, false)
	if o.word != wordOK {
		if o.word == unknown { // asking for a token changes nothing
			o.word = notApplied
		}
		return "", o
	}
	token, err := step.let["bearer"].text(sub.vars)
	if err != nil || token == "" || strings.ContainsAny(token, "\r\n") {
		return "", outcome{word: notApplied, step: step, because: "the token endpoint gives no access token"}
	}
	if admin {
		s.bearer = token
	}
	return token, o
}

// send makes the request. sent is false when certainly nothing of it reached the upstream.
func (s *session) send(client *http.Client, request *http.Request) (a *answer, sent bool, err error) {
	if err := request.Context().Err(); err != nil {
		return nil, false, err
	}
	var wrote atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }}
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
	response, err := client.Do(request)
	if err != nil {
		return nil, wrote.Load(), err
	}
	defer func() { _ = response.Body.Close() }()
	limit := min(maxAnswer, maxAnswers-s.bytes)
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(limit)+1))
	if err != nil {
		return nil, true, err
	}
	if len(body) > limit {
		return nil, true, errors.New("the answer is too large")
	}
	s.bytes += len(body)
	a = &answer{status: response.StatusCode, header: response.Header, body: map[string]any{}, text: string(body)}
	data, ok := fromJSON(body)
	if a.json = ok; data != nil {
		a.body = data
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		a.date = date
		s.date, s.heard = date, s.Clock()
	}
	return a, true, nil
}

// wait is Config.Wait's default: it needs no clock but the context's.
func wait(ctx context.Context, d time.Duration) error {
	timer, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.Done():
		return nil
	}
}
