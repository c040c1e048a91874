// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Answer is what an HTTP server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// String is the status alone: the rest may hold a credential.
func (a Answer) String() string { return "HTTP " + strconv.Itoa(a.Status) }

// Date is the server's own time, to the second; zero when it does not tell it.
func (a Answer) Date() time.Time { return Date(a.Header) }

// Date is Answer's, of a header.
func Date(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// RetryAfter is for how long the server wants to be left alone, now being when it answered; told is false when it does not
// say. It is never negative.
func (a Answer) RetryAfter(now time.Time) (wait time.Duration, told bool) {
	const most = 365 * 24 * time.Hour
	text := a.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(most/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	if date := a.Date(); !date.IsZero() { // both times are then the server's
		now = date
	}
	return max(at.Sub(now), 0), true
}

// Next is the address of a list's next page (RFC 8288), as the server writes it; "" for none.
func (a Answer) Next() string {
	for _, header := range a.Header.Values("Link") {
		for {
			_, rest, ok := strings.Cut(header, "<")
			if !ok {
				break
			}
			address, rest, _ := strings.Cut(rest, ">")
			parameters, others, _ := strings.Cut(rest, "<") // an address may have commas
			for parameter := range strings.SplitSeq(parameters, ";") {
				name, value, _ := strings.Cut(strings.Trim(parameter, ", \t"), "=")
				if strings.EqualFold(name, "rel") && strings.EqualFold(strings.Trim(value, `"`), "next") {
					return address
				}
			}
			if others == "" {
				break
			}
			header = "<" + others
		}
	}
	return ""
}

// NoAnswer is why a request has no answer that can be used.
type NoAnswer struct {
	// Sent is false when the request certainly never left.
	Sent bool
	// Status is that of an answer that broke off or is too long, 0 when none began.
	Status int
	Err    error
}

// Error quotes a library: it is for those who unwrap it.
func (e *NoAnswer) Error() string {
	return fmt.Sprintf("no answer (sent %t, status %d): %v", e.Sent, e.Status, e.Err)
}

// Unwrap gives what the library said.
func (e *NoAnswer) Unwrap() error { return e.Err }

var errTooLong = errors.New("the answer is too long")

// Exchange makes one request and reads its answer whole, of at most most bytes, which it asks not to be compressed. Its
// error is a *NoAnswer.
func Exchange(client *http.Client, request *http.Request, most int64) (Answer, error) {
	watched, left := Watch(request.Context())
	request = request.WithContext(watched)
	if request.Header.Get("Accept-Encoding") == "" {
		request.Header.Set("Accept-Encoding", "identity")
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, &NoAnswer{Sent: left.Load(), Err: err}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err == nil && int64(len(body)) > most {
		err = errTooLong
	}
	if err != nil {
		return Answer{}, &NoAnswer{Sent: true, Status: response.StatusCode, Err: err}
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

// Watch returns the context for one request, and what says whether that request may have left.
func Watch(ctx context.Context) (watched context.Context, left *atomic.Bool) {
	left = new(atomic.Bool)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { left.Store(true) }}), left
}
