// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// TLS modes, as documents write them.
const (
	StartTLS = "starttls"
	TLS      = "tls"
	Disable  = "disable"
)

const (
	startTLSPort = 587
	tlsPort      = 465
	// signInTimeout bounds a verify: servers answer wrong sign-ins late on purpose, Dovecot after up to 17 s.
	signInTimeout = 30 * time.Second
	// throttled is how long a server that asks for patience is left alone.
	throttled = time.Minute
)

// Submission says where passwords are tried.
type Submission struct {
	// Host name or address.
	Host string
	// Port. Default 587 with StartTLS, else 465.
	Port int
	// TLS is starttls (default), tls or disable. disable wants loopback.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
}

// check returns the TLS configuration, nil where there is none.
func (s Submission) check() (*tls.Config, error) {
	if err := cmp.Or(transport.Host(s.Host), transport.Port(s.Port)); err != nil {
		return nil, err
	}
	if transport.Socket(s.Host) {
		return nil, fmt.Errorf("submission host %q: mail is submitted over a network", s.Host)
	}
	switch s.TLS {
	case Disable:
		return nil, transport.Plain(s.Host)
	case "", StartTLS, TLS:
		return transport.Verified(s.Host, s.CACertificate)
	}
	return nil, fmt.Errorf("TLS mode %q: want starttls, tls or disable", s.TLS)
}

// connect greets the server, over TLS. The error is a library's and must not be shown.
func (u *Upstream) connect(ctx context.Context) (*smtp.Client, error) {
	port := startTLSPort
	if u.Submission.TLS == TLS {
		port = tlsPort
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Submission.Host, strconv.Itoa(cmp.Or(u.Submission.Port, port))))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = raw.Close() }) // the client sets deadlines of its own, longer ones
	switch {
	case u.tls == nil:
		return smtp.NewClient(raw), nil
	case u.Submission.TLS == TLS:
		secured, err := transport.Secure(ctx, raw, u.tls)
		if err != nil {
			return nil, err
		}
		return smtp.NewClient(secured), nil
	}
	heard := &transport.Heard{Conn: raw}
	client, err := smtp.NewClientStartTLS(heard, u.tls)
	if said := heard.First(); err != nil && bytes.Contains(said, []byte("\n250")) && !bytes.Contains(bytes.ToUpper(said), []byte("STARTTLS")) {
		return nil, transport.ErrNoTLS // it answered EHLO
	}
	return client, err
}

// Verify signs in once for submission, on a connection of its own, and sends nothing. A refusal is believed once something
// else shows that it is about v: see doubt.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, signInTimeout)
	defer cancel()
	verdict, err := u.ask(ctx, v)
	if verdict == upstream.Refused {
		return u.doubt(ctx, v)
	}
	return verdict, err
}

// ask signs in once, and takes the server at its word.
func (u *Upstream) ask(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	name, password := v.ExposeText(login.Username), v.ExposeText(login.Password)
	if name == "" || password == "" || strings.ContainsRune(name+password, 0) {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: login.Lacking + withoutNUL}
	}
	client, err := u.connect(ctx)
	if err == nil {
		defer func() { _ = client.Close() }()
		err = client.Hello("localhost")
	}
	if err == nil && !client.SupportsAuth(sasl.Plain) {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: "the server offers no AUTH PLAIN", Next: "check that submission requires passwords, and accepts them over TLS"}
	}
	if err == nil {
		err = client.Auth(sasl.NewPlainClient("", name, password))
	}
	if err == nil {
		return upstream.Accepted, nil
	}
	said, answered := errors.AsType[*smtp.SMTPError](err)
	if !answered {
		detail, cause := explain(ctx, err)
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: detail, Cause: cause}
	}
	unknown := &upstream.Error{Doing: login.SigningIn, Said: fmt.Sprintf("SMTP reply %d", said.Code)}
	switch said.Code {
	case 535:
		return upstream.Refused, nil
	case 421, 450:
		unknown.Cause = &upstream.Later{After: max(throttled, u.WrongEvery), Err: errPatience}
	}
	return upstream.Unknown, unknown
}

var errPatience = errors.New("the server asks for patience")
