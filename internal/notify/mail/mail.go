// SPDX-License-Identifier: Apache-2.0

// Package mail sends messages as plain text e-mail, by submission (RFC 6409) to the operator's relay, over TLS.
//
// A message goes out whole or not at all: if the relay refuses one of its recipients it is not sent to the others either. What a
// document wrote cannot become a header, another recipient or another message: headers are made of checked addresses and encoded
// words, and the body is quoted-printable.
package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
)

// TLS modes, as the host file writes them.
const (
	StartTLS = "starttls"
	TLS      = "tls"
	Disable  = "disable"
)

const (
	startTLSPort = 587
	tlsPort      = 465
	// limit bounds one message: a relay may greet late on purpose, for up to 30 s.
	limit = 40 * time.Second
	// leaving bounds the goodbye, after which nothing is left to learn.
	leaving = 2 * time.Second
	// greyed is how long a relay is left alone that defers a message: greylisting mostly lasts five minutes.
	greyed = 5 * time.Minute
)

// Field is the one of the password's value.
const Field = "value"

// Config of a relay.
type Config struct {
	Host string
	// Port: default 587 with StartTLS, 465 with TLS.
	Port int
	// TLS is starttls (default), tls, or disable, which wants loopback.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
	// From is the sender's address.
	From string
	// User signs in; "" for nobody, and then Password is not called. Password has Field. Its error holds no credential.
	User     string
	Password func(ctx context.Context) (secret.Value, error)
}

// Mail is a channel of notify.
type Mail struct {
	Config
	tls    *tls.Config // nil without TLS
	domain string
}

var _ notify.Channel = (*Mail)(nil)

// New returns a channel to a relay. It calls nothing.
func New(c Config) (*Mail, error) {
	m := &Mail{Config: c}
	from, ok := notify.Address(c.From)
	if !ok {
		return nil, fmt.Errorf("making the mail channel: from %q is not a plain e-mail address", c.From)
	}
	m.From = from
	_, m.domain, _ = strings.Cut(from, "@")
	if err := cmp.Or(transport.Host(c.Host), transport.Port(c.Port)); err != nil {
		return nil, fmt.Errorf("making the mail channel: %w", err)
	}
	var err error
	switch c.TLS {
	case "", StartTLS, TLS:
		m.tls, err = transport.Verified(c.Host, c.CACertificate)
	case Disable:
		err = transport.Plain(c.Host)
	default:
		err = fmt.Errorf("TLS mode %q: want starttls, tls or disable", c.TLS)
	}
	if err != nil {
		return nil, fmt.Errorf("making the mail channel: %w", err)
	}
	return m, nil
}

// Send implements notify.Channel.
func (m *Mail) Send(ctx context.Context, to []string, message notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, address := range to {
		if checked, ok := notify.Address(address); !ok || checked != address {
			return &notify.Failure{Detail: "one of its addresses is not a plain e-mail address"}
		}
	}
	if len(to) == 0 {
		return &notify.Failure{Detail: "there is no address to send to"}
	}
	client, err := m.connect(ctx)
	if err != nil {
		return explained(ctx, "connecting", err)
	}
	defer func() { _ = client.Close() }()
	if err := m.signIn(ctx, client); err != nil {
		return err
	}
	if err := client.Mail(m.From, nil); err != nil {
		return explained(ctx, "naming the sender", err)
	}
	for _, address := range to {
		if err := client.Rcpt(address, nil); err != nil {
			return explained(ctx, "naming recipient "+address, err)
		}
	}
	return m.data(ctx, client, to, message)
}

// connect greets the relay, over TLS. The error is a library's.
func (m *Mail) connect(ctx context.Context) (*smtp.Client, error) {
	port := startTLSPort
	if m.TLS == TLS {
		port = tlsPort
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(m.Host, strconv.Itoa(cmp.Or(m.Port, port))))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = raw.Close() }) // the client sets deadlines of its own, longer ones
	switch {
	case m.tls == nil:
		client := smtp.NewClient(raw)
		return client, client.Hello(m.domain)
	case m.TLS == TLS:
		secured, err := transport.Secure(ctx, raw, m.tls)
		if err != nil {
			return nil, err
		}
		client := smtp.NewClient(secured)
		return client, client.Hello(m.domain)
	}
	client, err := smtp.NewClientStartTLS(raw, m.tls)
	if err != nil {
		return nil, err
	}
	return client, client.Hello(m.domain)
}

func (m *Mail) signIn(ctx context.Context, client *smtp.Client) error {
	if m.User == "" {
		return nil
	}
	password, err := m.Password(ctx)
	if err != nil {
		return &notify.Failure{Detail: "the password for the relay cannot be read: " + err.Error()}
	}
	text := strings.TrimRight(password.ExposeText(Field), "\r\n")
	switch {
	case text == "":
		return &notify.Failure{Detail: "the password for the relay is empty"}
	case client.SupportsAuth(sasl.Plain):
		err = client.Auth(sasl.NewPlainClient("", m.User, text))
	case client.SupportsAuth(sasl.Login):
		err = client.Auth(sasl.NewLoginClient(m.User, text))
	default:
		return &notify.Failure{Detail: "the relay takes no password (no AUTH PLAIN or LOGIN)"}
	}
	if err != nil {
		return explained(ctx, "signing in to the relay", err)
	}
	return nil
}

// data hands in the message itself. From its last byte on the relay may have taken it, whatever comes back.
func (m *Mail) data(ctx context.Context, client *smtp.Client, to []string, message notify.Message) error {
	writer, err := client.Data()
	if err != nil {
		return explained(ctx, "handing in the message", err)
	}
	if _, err := writer.Write(m.compose(to, message)); err != nil {
		return &notify.Failure{Detail: "the connection ended within the message"}
	}
	if err := writer.Close(); err != nil {
		failed := explained(ctx, "handing in the message", err)
		if _, answered := errors.AsType[*smtp.SMTPError](err); !answered {
			failed.Doubt = true
		}
		return failed
	}
	client.CommandTimeout = leaving
	_ = client.Quit() // the message was taken
	return nil
}

// explained says what an error of the library means. What a relay says may quote what it was told, so only its code is kept.
func explained(ctx context.Context, doing string, err error) *notify.Failure {
	failed := &notify.Failure{Detail: doing + ": the relay cannot be reached"}
	said, answered := errors.AsType[*smtp.SMTPError](err)
	switch {
	case answered:
		failed.Detail = fmt.Sprintf("%s: the relay answers %d", doing, said.Code)
		if said.Code >= 400 && said.Code < 500 {
			failed.After = greyed
		}
	case transport.NoTLS(err):
		failed.Detail = doing + ": the relay offers no TLS"
	case untrusted(err):
		failed.Detail = doing + ": the relay's certificate is not for its name, has ended, or is from no known authority"
	case ctx.Err() != nil:
		failed.Detail = doing + ": no answer came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		failed.Detail = doing + ": the relay closed the connection"
	}
	return failed
}

// compose is the message as RFC 5322 has it, with lines that end in CRLF.
func (m *Mail) compose(to []string, message notify.Message) []byte {
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", "Custody <"+m.From+">")
	header("To", strings.Join(to, ",\r\n "))
	header("Subject", encoded(message.Subject))
	header("Date", message.At.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	header("Message-ID", "<"+word(message.ID)+"@"+m.domain+">")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(body, strings.ReplaceAll(message.Text, "\n", "\r\n")) // into memory
	_ = body.Close()
	return b.Bytes()
}

// encoded is text as a header has it: in encoded words where it is more than printable ASCII, each on a line of its own.
func encoded(text string) string {
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", line), "?= =?", "?=\r\n =?")
}

// word is an id without what a header gives a meaning.
func word(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, id)
}

func untrusted(err error) bool {
	_, is := errors.AsType[*tls.CertificateVerificationError](err)
	return is
}
