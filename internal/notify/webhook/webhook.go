// SPDX-License-Identifier: Apache-2.0

// Package webhook posts messages to a chat, in the form that Slack's incoming webhooks take and that Mattermost, Rocket.Chat and
// others take as well: {"text": …}.
//
// The URL is a credential: it is read anew for each message, and no error, log or message has it. HTTPS is required, but for a
// host that is loopback by name or address. Redirects are not followed, since the URL and the message are for one server.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
)

const (
	// limit bounds one message: chats answer within a second, and a proxy before them gives up after about 30 s.
	limit = 30 * time.Second
	// mostAnswer bounds what is read of an answer, which nothing needs.
	mostAnswer = 64 << 10
	// mostText is below what Slack cuts a text to (40,000 characters).
	mostText = 30_000
)

// Field is the one of the value that holds the URL, where there is more than one.
const Field = "value"

// Config of a webhook.
type Config struct {
	// URL returns the webhook's URL, in Field. Its error holds no credential.
	URL func(ctx context.Context) (secret.Value, error)
	// Host is the only one that the URL may name, with its port where it has one; "" for any: then nobody but the operator can have
	// written the URL.
	Host string
	// CACertificate is PEM; default the system's.
	CACertificate string
	Now           func() time.Time
}

// Webhook is a channel of notify.
type Webhook struct {
	Config
	client *http.Client
}

var _ notify.Channel = (*Webhook)(nil)

// New returns a webhook. It calls nothing.
func New(c Config) (*Webhook, error) {
	client, err := transport.Client(c.CACertificate)
	if err != nil {
		return nil, fmt.Errorf("making a webhook: %w", err)
	}
	return &Webhook{c, client}, nil
}

// Send implements notify.Channel; to is not used.
func (w *Webhook) Send(ctx context.Context, _ []string, m notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	where, err := w.where(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Text string `json:"text"`
	}{text(m)})
	if err != nil {
		return &notify.Failure{Detail: "the message cannot be written as JSON"}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(body))
	if err != nil {
		return &notify.Failure{Detail: "its URL makes no request"}
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "custody")
	answer, err := transport.Exchange(w.client, request, mostAnswer)
	if err != nil {
		return unanswered(err)
	}
	return w.judge(answer)
}

// where is the URL, if it may be used.
func (w *Webhook) where(ctx context.Context) (*url.URL, error) {
	v, err := w.URL(ctx)
	if err != nil {
		return nil, &notify.Failure{Detail: "its URL cannot be read: " + err.Error()}
	}
	where, err := url.Parse(strings.TrimSpace(v.ExposeText(Field))) // the error would have the URL
	switch {
	case err != nil || where.Host == "" || where.User != nil || where.Opaque != "":
		return nil, &notify.Failure{Detail: "its URL is none of https, a host and a path"}
	case where.Scheme != "https" && (where.Scheme != "http" || !transport.Local(where.Hostname())):
		return nil, &notify.Failure{Detail: "its URL is not https, and its host is not loopback"}
	case w.Host != "" && !strings.EqualFold(where.Host, w.Host):
		return nil, &notify.Failure{Detail: "its URL names another host than the host file does (" + w.Host + ")"}
	}
	return where, nil
}

// unanswered says what no answer means. What libraries say has the URL in it.
func unanswered(err error) error {
	none, _ := errors.AsType[*transport.NoAnswer](err)
	switch {
	case untrusted(err) && none != nil && !none.Sent:
		return &notify.Failure{Detail: "the server's certificate is not for its name, has ended, or is from no known authority"}
	case none == nil || none.Sent:
		return &notify.Failure{Detail: "the message was sent, and no answer came", Doubt: true}
	case transport.NoTLS(err):
		return &notify.Failure{Detail: "the server speaks no TLS"}
	case errors.Is(err, context.DeadlineExceeded):
		return &notify.Failure{Detail: "connecting took too long"}
	}
	return &notify.Failure{Detail: "the server cannot be reached"}
}

func (w *Webhook) judge(answer transport.Answer) error {
	after, _ := answer.RetryAfter(w.Now())
	switch code := answer.Status; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return &notify.Failure{Detail: answer.String() + ": it redirects, which is not followed"}
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return &notify.Failure{Detail: answer.String() + ": it wants to be left alone for a while", After: after}
	case code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusGone, code == http.StatusUnauthorized:
		return &notify.Failure{Detail: answer.String() + ": it does not know this URL any more", After: after}
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		return &notify.Failure{Detail: answer.String() + ": a proxy before it had no answer", Doubt: true, After: after}
	default:
		return &notify.Failure{Detail: answer.String(), After: after}
	}
}

// marks are what chats take for more than text: Slack's escapes, and the names that call everybody.
var marks = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;",
	"@channel", "@\u200bchannel", "@here", "@\u200bhere", "@all", "@\u200ball", "@everyone", "@\u200beveryone",
)

// text is the message as a chat shows it.
func text(m notify.Message) string {
	runes := []rune(m.Subject + "\n" + m.Text)
	if len(runes) > mostText {
		runes = append(runes[:mostText], []rune("…\n")...)
	}
	return marks.Replace(string(runes))
}

func untrusted(err error) bool {
	_, is := errors.AsType[*tls.CertificateVerificationError](err)
	return is
}
