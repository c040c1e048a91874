// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// answer is what came back, bounded.
type answer struct {
	status int
	header http.Header
	seen   recipe.Values
	date   time.Time
	json   bool
}

// parsed reports whether what is read from the body can be trusted: an answer of success that is no JSON comes from
// something else than the interface, a proxy's sign-in page for example.
func (a *answer) parsed() bool { return a.json || a.status < 200 || a.status >= 300 }

// newTransport opens a connection for each request: the library then never repeats one by itself.
func newTransport(config *tls.Config) *http.Transport {
	own := transport.HTTP(config)
	own.MaxResponseHeaderBytes = 64 << 10
	return own
}

// address fills the path and the query of a call.
func (s *session) address(call *recipe.Call) (*url.URL, error) {
	base := s.endpoints[call.Source.At]
	path, err := call.Path(s.vars)
	if err != nil {
		return nil, err
	}
	target, err := base.Parse(strings.TrimSuffix(base.EscapedPath(), "/") + path)
	if err != nil || !within(target, base) {
		return nil, fmt.Errorf("%s: the path leaves the configured address", call.Place)
	}
	query, err := call.Query(s.vars)
	if err != nil {
		return nil, err
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

// request fills everything but the credential.
func (s *session) request(call *recipe.Call, target *url.URL) (*http.Request, error) {
	body, media, err := call.Body(s.vars)
	if err != nil {
		return nil, err
	}
	headers, err := call.Headers(s.vars)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(s.ctx, call.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: the address cannot be asked", call.Place)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "custody")
	if media != "" {
		request.Header.Set("Content-Type", media)
	}
	for name, text := range headers {
		request.Header.Set(name, text)
	}
	return request, nil
}

// sign puts the credential on request and returns the client that may carry it. vars hold its fields.
func (s *session) sign(request *http.Request, by *recipe.SignIn, vars recipe.Values, admin bool) (*http.Client, outcome) {
	signature, err := by.Fill(vars)
	if err != nil {
		return nil, outcome{word: recipe.NotApplied, cause: err}
	}
	way := s.transport
	if signature.Pair != nil {
		pair, err := tls.X509KeyPair([]byte(signature.Pair.Certificate), []byte(signature.Pair.Key))
		if err != nil {
			return nil, outcome{word: recipe.NotApplied, cause: fmt.Errorf("%s.mtls: certificate and key are not a pair in PEM", by.Place)}
		}
		config := way.TLSClientConfig.Clone()
		config.Certificates = []tls.Certificate{pair}
		way = newTransport(config)
	}
	client := &http.Client{
		Transport:     way,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if signature.Header != "" {
		request.Header.Set(signature.Header, signature.Value)
	}
	if by.Exchange != nil {
		token, o := s.exchange(by.Exchange, client, vars, admin)
		if o.word != recipe.OK {
			return nil, o
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return client, outcome{word: recipe.OK}
}

// exchange asks for an access token. The admin's is kept for the rest of the operation.
func (s *session) exchange(call *recipe.Call, client *http.Client, vars recipe.Values, admin bool) (string, outcome) {
	if admin && s.bearer != "" {
		return s.bearer, outcome{word: recipe.OK}
	}
	sub := &session{Upstream: s.Upstream, ctx: s.ctx, doing: s.doing, vars: vars.With(), bytes: s.bytes}
	target, err := sub.address(call)
	if err != nil {
		return "", outcome{word: recipe.NotApplied, call: call, cause: err}
	}
	request, err := sub.request(call, target)
	if err != nil {
		return "", outcome{word: recipe.NotApplied, call: call, cause: err}
	}
	if _, o := sub.sign(request, call.SignIn, vars, false); o.word != recipe.OK {
		return "", o
	}
	answer, _, err := sub.send(client, request)
	if err != nil {
		o := outcome{word: recipe.NotApplied, call: call}
		o.because, o.cause = told(err)
		return "", o
	}
	o := sub.classify(call, answer, false)
	if o.word != recipe.OK {
		if o.word == recipe.Unknown { // asking for a token changes nothing
			o.word = recipe.NotApplied
		}
		return "", o
	}
	token := call.Token(sub.vars)
	if token == "" {
		return "", outcome{word: recipe.NotApplied, call: call, because: "the token endpoint gives no access token"}
	}
	if admin {
		s.bearer = token
	}
	return token, o
}

var errTooLarge = errors.New("the answer is too large")

// told names a failure to reach the upstream, or to hear it.
func told(err error) (detail string, cause error) {
	if errors.Is(err, errTooLarge) {
		return "", errTooLarge
	}
	return upstream.Told(err, "the connection broke before an answer came")
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
		return nil, true, errTooLarge
	}
	s.bytes += len(body)
	headers := map[string]string{}
	for name, texts := range response.Header {
		headers[strings.ToLower(name)] = strings.Join(texts, ", ")
	}
	a = &answer{status: response.StatusCode, header: response.Header}
	a.seen, a.json = recipe.Answer(a.status, headers, body)
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
