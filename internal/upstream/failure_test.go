// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

func TestErrorSaysWhatThereIsToSay(t *testing.T) {
	for _, test := range []struct {
		err  upstream.Error
		want string
	}{
		{upstream.Error{Doing: "signing in"}, "signing in"},
		{upstream.Error{Doing: "signing in", At: "node-1:6379", Said: "WRONGPASS"}, "signing in at node-1:6379: WRONGPASS"},
		{
			upstream.Error{Doing: "applying credential", Class: upstream.ErrNotApplied, Detail: "the server is unreachable", Said: "HTTP 503", Cause: context.Canceled, Next: "wait"},
			"applying credential: not applied: the server is unreachable: HTTP 503: context canceled",
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestErrorWrapsItsClassAndCause(t *testing.T) {
	err := fmt.Errorf("rotating: %w", &upstream.Error{Doing: "revoking credential", Class: upstream.ErrNotApplied, Cause: context.DeadlineExceeded, Next: "ask later"})
	for _, want := range []error{upstream.ErrNotApplied, context.DeadlineExceeded} {
		if !errors.Is(err, want) {
			t.Errorf("%v does not wrap %v", err, want)
		}
	}
	if said := upstream.Explained(err); said != err.Error()+" (hint: ask later)" {
		t.Errorf("explained: %q", said)
	}
	if bare := (&upstream.Error{Doing: "revoking credential"}).Unwrap(); len(bare) != 0 {
		t.Errorf("an error of its own wraps %v", bare)
	}
}

// What was not applied by one request may have been by one before it.
func TestClasslessTakesTheClassOff(t *testing.T) {
	inner := &upstream.Error{Doing: "asking", Class: upstream.ErrNotApplied, Next: "the inner move"}
	err := upstream.Classless(&upstream.Error{
		Doing: "applying credential", Class: upstream.ErrNotApplied, Cause: &upstream.Later{After: time.Minute, Err: inner}, Next: "the next move",
	})
	if errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("%v still says that nothing was applied", err)
	}
	if wait, ok := errors.AsType[*upstream.Later](err); !ok || wait.After != time.Minute {
		t.Errorf("%v does not say when to ask again", err)
	}
	if said := upstream.Explained(err); said != err.Error()+" (hint: the next move)" {
		t.Errorf("explained: %q", said)
	}
	for _, class := range []error{upstream.ErrNotApplied, upstream.ErrSuperseded, upstream.ErrRefusedCandidate} {
		for name, err := range map[string]error{
			"another's": fmt.Errorf("reading: %w", class),
			"a cause's": &upstream.Error{Doing: "applying credential", Class: upstream.ErrNotApplied, Cause: fmt.Errorf("reading: %w", class)},
			"wrapped":   fmt.Errorf("rotating: %w", &upstream.Error{Doing: "applying credential", Class: class}),
		} {
			bare := upstream.Classless(err)
			for _, each := range []error{upstream.ErrNotApplied, upstream.ErrSuperseded, upstream.ErrRefusedCandidate} {
				if errors.Is(bare, each) {
					t.Errorf("%s: %v is still %v", name, bare, each)
				}
			}
		}
	}
	other := errors.New("other")
	if got := upstream.Classless(other); got != other { //nolint:errorlint // the error itself
		t.Errorf("another's error becomes %v", got)
	}
}

func TestToldQuotesNoLibrary(t *testing.T) {
	const otherwise = "the connection broke"
	for _, test := range []struct {
		name, detail string
		err, cause   error
	}{
		{"a library's words", otherwise, errors.New("password=hunter2 rejected"), nil},
		{"a deadline, whatever it wraps", "", fmt.Errorf("password=hunter2: %w", context.DeadlineExceeded), context.DeadlineExceeded},
		{"the network's", "dial tcp: refused", fmt.Errorf("password=hunter2: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}), nil},
		{"a name's", "lookup db.example.com: no such host", fmt.Errorf("x: %w", &net.DNSError{Err: "no such host", Name: "db.example.com"}), nil},
		{"HTTP where HTTPS was asked for", upstream.WithoutTLS, fmt.Errorf("x: %w", http.ErrSchemeMismatch), nil},
		{"a server's own word", upstream.WithoutTLS, fmt.Errorf("x: %w", transport.ErrNoTLS), nil},
		{"a certificate's", "tls: failed to verify certificate: too old", fmt.Errorf("x: %w", &tls.CertificateVerificationError{Err: errors.New("too old")}), nil},
		{"not TLS at all", upstream.WithoutTLS, fmt.Errorf("x: %w", tls.RecordHeaderError{Msg: "not a handshake"}), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if detail, cause := upstream.Told(test.err, otherwise); detail != test.detail || cause != test.cause { //nolint:errorlint // the cause itself is handed on
				t.Errorf("told %q (%v), want %q (%v)", detail, cause, test.detail, test.cause)
			}
		})
	}
}

// A server without TLS was "the connection broke, or the server and this client could not agree on TLS or on how to sign in".
// Some greet in the open, some hang up at the first bytes of TLS, and some wait for a line to end.
func TestToldOfServersWithoutTLS(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"greets":   {func(conn net.Conn) { _, _ = conn.Write([]byte("220 mail.example.org ESMTP\r\n")) }, upstream.WithoutTLS},
		"hangs up": {func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)); _ = conn.Close() }, "did not answer when TLS was asked for"},
		"waits":    {func(net.Conn) {}, "did not answer when TLS was asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			defer server.Close()
			go test.serve(server)
			if name == "greets" {
				go func() { _, _ = server.Read(make([]byte, 4096)) }()
			}
			// Bounds the one that waits, which never answers; the others answer at once.
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := transport.Secure(ctx, client, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "mail.example.org"})
			if detail, _ := upstream.Told(err, "the connection broke"); !strings.Contains(detail, test.want) {
				t.Errorf("told %q of %v, want %q", detail, err, test.want)
			}
		})
	}
}
