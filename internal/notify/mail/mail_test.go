// SPDX-License-Identifier: Apache-2.0

package mail_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/notify/mail"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
)

// password signs the sender in; it is in no error and no message.
const password = "canary-of-the-relay"

func given(text string) func(context.Context) (secret.Value, error) {
	return func(context.Context) (secret.Value, error) { return secret.Text(map[string]string{mail.Field: text}) }
}

func made(t *testing.T, c mail.Config) *mail.Mail {
	t.Helper()
	channel, err := mail.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

func failed(t *testing.T, err error) *notify.Failure {
	t.Helper()
	told, is := errors.AsType[*notify.Failure](err)
	if !is {
		t.Fatalf("the error %v is no failure of a channel", err)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the password is in %q", err)
	}
	return told
}

// hostile is a message of whose words a document wrote some.
var hostile = notify.Message{
	ID: "0195-id\r\nBcc: x@elsewhere.example", At: time.Date(2026, 12, 2, 12, 0, 0, 0, time.UTC),
	Subject: "[custody home/prod] ä\r\nBcc: x@elsewhere.example\r\n\r\nbody " + strings.Repeat("long ", 40),
	Text:    "first\n.\nRSET\nMAIL FROM:<x@elsewhere.example>\n..dots\nFrom here " + strings.Repeat("ö", 300) + "\n",
}

// A real relay takes the message for whom it is meant, and for nobody whom a document adds.
func TestPostfixTakesTheMessage(t *testing.T) {
	if os.Geteuid() != 0 {
		return // postfix runs as root alone; the tests below have a relay of their own
	}
	server := realparts.MailServer(t, realparts.MailOptions{Postfix: true, Takes: true, Passdbs: "passdb {\n  driver = passwd-file\n  args = DIR/users\n}\n"})
	if err := os.WriteFile(server.File("users"), []byte("custody:{PLAIN}"+password+"::::::\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []mail.Config{{Port: server.Port}, {Port: server.TLSPort, TLS: mail.TLS}} {
		config.Host, config.CACertificate, config.From, config.User, config.Password = server.Host, server.CA, "custody@example.org", "custody", given(password+"\n")
		if err := made(t, config).Send(t.Context(), []string{"apps@example.org", "ops@example.org"}, hostile); err != nil {
			t.Fatalf("%v: %s", err, server.Log())
		}
		wrong := config
		wrong.Password = given("canary-that-is-wrong")
		if got := failed(t, made(t, wrong).Send(t.Context(), []string{"apps@example.org"}, hostile)); got.Doubt || !strings.Contains(got.Detail, "535") {
			t.Errorf("a wrong password: %+v", got)
		}
		stranger := config
		stranger.CACertificate = ""
		if got := failed(t, made(t, stranger).Send(t.Context(), []string{"apps@example.org"}, hostile)); !strings.Contains(got.Detail, "certificate") {
			t.Errorf("a relay of an unknown authority: %+v", got)
		}
	}
	messages, err := server.Queued(t.Context())
	if err != nil || len(messages) != 2 {
		t.Fatalf("the relay has %d messages, want 2: %v", len(messages), err)
	}
	for _, raw := range messages {
		// What postcat prints before the headers is the envelope.
		if n := strings.Count(raw, "\nrecipient: "); n != 2 {
			t.Errorf("%d recipients, want 2, in:\n%s", n, raw)
		}
		for _, line := range strings.Split(raw, "\n") {
			if strings.HasPrefix(line, "recipient: ") && !strings.HasSuffix(line, "@example.org") {
				t.Errorf("a recipient that nobody meant: %s", line)
			}
		}
		if strings.Contains(raw, "canary") {
			t.Errorf("the password is in the message")
		}
	}
}

// relay is a mail server of this process that answers as a test says, and keeps what it takes.
type relay struct {
	rcpt, data error
	hangs      bool // it takes the message, and closes the connection instead of saying so
	to         []string
	taken      [][]byte
	conn       net.Conn
}

func (r *relay) NewSession(c *smtp.Conn) (smtp.Session, error) { r.conn = c.Conn(); return r, nil }
func (r *relay) Reset()                                        {}
func (r *relay) Logout() error                                 { return nil }
func (r *relay) Mail(string, *smtp.MailOptions) error          { return nil }
func (r *relay) Rcpt(to string, _ *smtp.RcptOptions) error     { r.to = append(r.to, to); return r.rcpt }
func (r *relay) Data(body io.Reader) error {
	data, err := io.ReadAll(body)
	if err == nil && r.data == nil {
		r.taken = append(r.taken, data)
	}
	if r.hangs {
		_ = r.conn.Close()
	}
	return errors.Join(err, r.data)
}

// serve has the relay listen, and returns a channel to it.
func (r *relay) serve(t *testing.T) *mail.Mail {
	t.Helper()
	server := smtp.NewServer(r)
	server.Domain = "localhost"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return made(t, mail.Config{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, TLS: mail.Disable, From: "custody@Example.org"})
}

// Every header is one that Custody wrote, and the text arrives as it was.
func TestHostileWordsStayWords(t *testing.T) {
	r := &relay{}
	if err := r.serve(t).Send(t.Context(), []string{"apps@example.org"}, hostile); err != nil {
		t.Fatal(err)
	}
	if len(r.taken) != 1 || len(r.to) != 1 || r.to[0] != "apps@example.org" {
		t.Fatalf("%d messages to %q", len(r.taken), r.to)
	}
	message, err := netmail.ReadMessage(bytes.NewReader(r.taken[0]))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"From": "Custody <custody@example.org>", "To": "apps@example.org", "Date": "Wed, 02 Dec 2026 12:00:00 +0000",
		"Message-Id": "<0195-idBccxelsewhereexample@example.org>", "Auto-Submitted": "auto-generated", "Mime-Version": "1.0",
		"Content-Type": "text/plain; charset=utf-8", "Content-Transfer-Encoding": "quoted-printable",
	}
	for name, value := range want {
		if got := message.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if len(message.Header) != len(want)+1 {
		t.Errorf("headers %v", message.Header)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "[custody home/prod] ä  Bcc: x@elsewhere.example    body long") {
		t.Errorf("subject %q, %v", subject, err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(message.Body))
	if got := strings.ReplaceAll(string(text), "\r\n", "\n"); err != nil || got != hostile.Text {
		t.Errorf("text %q, %v", got, err)
	}
	for _, line := range bytes.Split(r.taken[0], []byte("\r\n")) {
		if len(line) > 200 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// Whether a relay took the message decides whether it is sent again.
func TestAnswersOfARelay(t *testing.T) {
	for name, test := range map[string]struct {
		relay *relay
		doubt bool
		after time.Duration
		says  string
	}{
		"it defers a recipient":  {&relay{rcpt: &smtp.SMTPError{Code: 450, Message: "greylisted"}}, false, 5 * time.Minute, "recipient apps@example.org: the relay answers 450"},
		"it refuses a recipient": {&relay{rcpt: &smtp.SMTPError{Code: 550, Message: "no such user"}}, false, 0, "550"},
		"it refuses the message": {&relay{data: &smtp.SMTPError{Code: 554, Message: "spam"}}, false, 0, "554"},
		"it never says":          {&relay{hangs: true}, true, 0, "handing in the message"},
	} {
		got := failed(t, test.relay.serve(t).Send(t.Context(), []string{"apps@example.org"}, hostile))
		if got.Doubt != test.doubt || got.After != test.after || !strings.Contains(got.Detail, test.says) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	channel := made(t, mail.Config{Host: "127.0.0.1", Port: port, From: "custody@example.org"})
	if got := failed(t, channel.Send(t.Context(), []string{"apps@example.org"}, hostile)); got.Doubt || !strings.Contains(got.Detail, "cannot be reached") {
		t.Errorf("nobody there: %+v", got)
	}
	if got := failed(t, channel.Send(t.Context(), []string{"apps@example.org\r\nRCPT TO:<x@elsewhere.example>"}, hostile)); got.Doubt {
		t.Errorf("an address that is two: %+v", got)
	}
}

// Without TLS nothing leaves the machine.
func TestRelayWithoutTLSIsRefused(t *testing.T) {
	for _, config := range []mail.Config{
		{Host: "mail.example.org", TLS: mail.Disable, From: "custody@example.org"},
		{Host: "mail.example.org", TLS: "none", From: "custody@example.org"},
		{Host: "mail.example.org", From: "Custody <custody@example.org>"},
		{Host: "mail.example.org/x", From: "custody@example.org"},
	} {
		if _, err := mail.New(config); err == nil {
			t.Errorf("%+v: made", config)
		}
	}
	plain := &relay{}
	channel := plain.serve(t)
	channel = made(t, mail.Config{Host: channel.Host, Port: channel.Port, From: "custody@example.org", User: "custody", Password: given(password)})
	if got := failed(t, channel.Send(t.Context(), []string{"apps@example.org"}, hostile)); got.Doubt || len(plain.taken) > 0 {
		t.Errorf("a relay without TLS: %+v, took %d", got, len(plain.taken))
	}
}
