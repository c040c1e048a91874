// SPDX-License-Identifier: Apache-2.0

package github

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/upstream"
)

// Error is what went wrong, in words that hold no token and no key. It wraps Class, and Cause where that is one of
// Custody's own or a context's.
type Error struct {
	Doing string
	// Class is one of the upstream package's errors, or nil when the call may have taken effect.
	Class  error
	Detail string
	// Status is GitHub's, 0 when it said nothing.
	Status int
	Cause  error
	// Next is the operator's next move.
	Next string
}

// Error is the one-line message, without the hint.
func (e *Error) Error() string {
	parts := []string{e.Doing}
	if e.Class != nil {
		parts = append(parts, e.Class.Error())
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	}
	if e.Status != 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(e.Status))
	}
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	return strings.Join(parts, ": ")
}

// Hint is the operator's next move.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var wrapped []error
	if e.Class != nil {
		wrapped = append(wrapped, e.Class)
	}
	if e.Cause != nil {
		wrapped = append(wrapped, e.Cause)
	}
	return wrapped
}

// classless takes the claim off err that nothing was applied. When to ask again, and what to do, stays.
func classless(err error) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	bare := *failure
	bare.Class, bare.Cause = nil, classless(bare.Cause)
	if wait, says := errors.AsType[*upstream.Later](err); says {
		return &upstream.Later{After: wait.After, Err: &bare}
	}
	return &bare
}

const (
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
	// apiVersion is the version of the interface that is spoken.
	apiVersion = "2022-11-28"
	// defaultLater is GitHub's rule where it does not say how long to wait; maxLater bounds what it says.
	defaultLater = time.Minute
	maxLater     = 2 * time.Hour
)

// newClient makes a client that takes nothing from the environment, follows no redirect and repeats no request.
func newClient(certificate string) (*http.Client, error) {
	var roots *x509.CertPool
	if certificate != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(certificate)) {
			return nil, errors.New("the CA certificate is not PEM")
		}
	}
	return &http.Client{
		// A fresh connection for each request: one that was idle may be gone, and what was sent on it in doubt.
		Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

// answer is what GitHub said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// has reports whether the answer is a JSON object with a member of that name.
func (a *answer) has(name string) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(a.body, &object) == nil && object[name] != nil
}

// limited reports whether the answer says itself that it is a limit. Not every limit does.
func (a *answer) limited() bool {
	return a.header.Get("Retry-After") != "" || a.header.Get("X-RateLimit-Remaining") == "0"
}

// date is GitHub's own time.
func (a *answer) date() (time.Time, bool) {
	at, err := http.ParseTime(a.header.Get("Date"))
	return at, err == nil
}

// send makes one request. Its error is ErrNotApplied when the request was certainly not sent.
func (u *Upstream) send(ctx context.Context, doing, method, path, bearer string, body any) (*answer, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "making the request"}
		}
		content = bytes.NewReader(encoded)
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(traced, method, u.URL+path, content)
	if err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "making the request"}
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+bearer)
	request.Header.Set("User-Agent", "custody")
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := u.client.Do(request)
	if err != nil {
		detail, cause := describe(err)
		failure := &Error{Doing: doing, Detail: join("no answer", detail), Cause: cause}
		if !connected.Load() {
			failure.Class, failure.Detail = upstream.ErrNotApplied, join("GitHub is unreachable", detail)
			failure.Next = "see that this machine reaches GitHub, and that apiUrl and caCertificate in the Upstream document are right"
		}
		return nil, failure
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil || len(read) > maxAnswer {
		detail, cause := describe(err)
		return nil, &Error{Doing: doing, Detail: join("the answer broke off or is too long", detail), Cause: cause, Status: response.StatusCode}
	}
	return &answer{status: response.StatusCode, header: response.Header, body: read}, nil
}

// wrong is the error for an answer that is not what was hoped for; class says what it means. GitHub limits requests by 403
// and by 429, and says so in words alone where it gives no header: after either, it is asked later.
func (u *Upstream) wrong(doing, detail string, class error, a *answer) error {
	e := &Error{Doing: doing, Class: class, Detail: detail, Status: a.status}
	switch a.status {
	case http.StatusUnauthorized:
		if class == nil {
			break
		}
		e.Next = "see that appId or clientId and privateKey are one app's, and that the key was not deleted there; then hand the right ones in, as the secret that adminRef names: `custody supply SECRET`"
	case http.StatusForbidden, http.StatusTooManyRequests:
		e.Detail = join(detail, "GitHub is asked too often, or forbids it")
		e.Next = "nothing, if it was asked too often; else see that the installation is not suspended, and that GitHub lets this address in; " +
			"a token with permissions of an organization alone may need metadata: read too"
		return &upstream.Later{After: u.wait(a), Err: e}
	case http.StatusServiceUnavailable:
		return &upstream.Later{After: u.wait(a), Err: e}
	case http.StatusNotFound:
		e.Next = "see that installationId is that of the app's installation, and apiUrl that of the interface"
	case http.StatusUnprocessableEntity:
		e.Detail = join(detail, "the installation has not all of the repositories and permissions that are asked for")
		e.Next = "grant them to the app and its installation, or ask for fewer"
	}
	if a.status >= 300 && a.status < 400 {
		e.Detail, e.Next = join(detail, "GitHub redirects elsewhere"), "write apiUrl as GitHub serves it; Custody follows no redirect with a token"
	}
	return e
}

// wait is how long GitHub wants to be left alone, by the rules that it publishes.
func (u *Upstream) wait(a *answer) time.Duration {
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil {
		return min(time.Duration(max(seconds, 0))*time.Second, maxLater)
	}
	reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || a.header.Get("X-RateLimit-Remaining") != "0" {
		return defaultLater
	}
	now, told := a.date()
	if !told {
		now = u.Clock()
	}
	return min(max(time.Unix(reset, 0).Sub(now), 0)+time.Second, maxLater)
}

// describe names a client-side failure without quoting what a library made of it: only network and certificate errors,
// which hold addresses and names, are passed on.
func describe(err error) (detail string, cause error) {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return "", known
		}
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return certificate.Error(), nil
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network.Error(), nil
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name.Error(), nil
	}
	return "the connection broke, or the other side does not speak HTTP as expected", nil
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}
