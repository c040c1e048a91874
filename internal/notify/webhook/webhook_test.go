// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/notify/webhook"
	"custody.dev/custody/internal/secret"
)

// path of the URL is the credential.
const path = "/services/T0/B0/canary-of-the-url"

var message = notify.Message{ID: "id-1", At: time.Unix(1798761600, 0), Subject: "[custody home/prod] a & b", Text: "<!channel> @here\nline two\n"}

// hook is a webhook whose URL is that.
func hook(t *testing.T, certificates, url string, change func(*webhook.Config)) *webhook.Webhook {
	t.Helper()
	config := webhook.Config{CACertificate: certificates, Now: time.Now, URL: func(context.Context) (secret.Value, error) {
		return secret.Text(map[string]string{webhook.Field: url})
	}}
	if change != nil {
		change(&config)
	}
	made, err := webhook.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func certificates(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// failed is what Send said, which never has the URL.
func failed(t *testing.T, err error) *notify.Failure {
	t.Helper()
	told, is := errors.AsType[*notify.Failure](err)
	if !is {
		t.Fatalf("the error %v is no failure of a channel", err)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the URL is in %q", err)
	}
	return told
}

// A chat gets JSON with a text in which nothing calls everybody, over TLS.
func TestChatGetsTheText(t *testing.T) {
	var got struct {
		Text string `json:"text"`
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, json.Unmarshal(body, &got)); err != nil || r.Method != http.MethodPost || r.URL.Path != path || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s %s %s: %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), err)
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer server.Close()
	if err := hook(t, certificates(server), server.URL+path, nil).Send(t.Context(), nil, message); err != nil {
		t.Fatal(err)
	}
	if want := "[custody home/prod] a &amp; b\n&lt;!channel&gt; @\u200bhere\nline two\n"; got.Text != want {
		t.Errorf("text %q, want %q", got.Text, want)
	}
}

// Whether a message was taken decides whether it is sent again: an answer says it was not, silence says nothing.
func TestAnswersOfAChat(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed to %s", r.URL.Path)
	}))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		doubt  bool
		after  time.Duration
		says   string
	}{
		"too many":         {func(w http.ResponseWriter) { w.Header().Set("Retry-After", "90"); w.WriteHeader(429) }, false, 90 * time.Second, "429"},
		"away":             {func(w http.ResponseWriter) { w.WriteHeader(503) }, false, 0, "503"},
		"revoked":          {func(w http.ResponseWriter) { w.WriteHeader(404) }, false, 0, "does not know this URL"},
		"broken":           {func(w http.ResponseWriter) { w.WriteHeader(500) }, false, 0, "500"},
		"a proxy's":        {func(w http.ResponseWriter) { w.WriteHeader(502) }, true, 0, "502"},
		"a redirect":       {func(w http.ResponseWriter) { w.Header().Set("Location", elsewhere.URL+path); w.WriteHeader(307) }, false, 0, "redirects"},
		"no answer at all": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, true, 0, "no answer"},
		"an endless one":   {func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 1<<20)) }, true, 0, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				test.answer(w)
			}))
			defer server.Close()
			got := failed(t, hook(t, "", server.URL+path, nil).Send(t.Context(), nil, message))
			if got.Doubt != test.doubt || got.After != test.after || !strings.Contains(got.Detail, test.says) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A URL is believed where only the operator can have written it; what it carries goes over TLS, or stays on the machine.
func TestURLsThatAreNotUsed(t *testing.T) {
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	host := func(c *webhook.Config) { c.Host = "hooks.example.org" }
	for name, test := range map[string]struct {
		url    string
		change func(*webhook.Config)
		says   string
	}{
		"no TLS to elsewhere":        {"http://hooks.example.org" + path, nil, "not https"},
		"another scheme":             {"ftp://127.0.0.1" + path, nil, "not https"},
		"no URL":                     {"canary", nil, "none of https"},
		"a user":                     {"https://canary:canary@hooks.example.org" + path, nil, "none of https"},
		"a secret of another host":   {tls.URL + path, host, "another host"},
		"a host that begins alike":   {"https://hooks.example.org.elsewhere.example" + path, host, "another host"},
		"an unknown authority":       {tls.URL + path, nil, "certificate"},
		"nobody there":               {gone.URL + path, nil, "cannot be reached"},
		"TLS to a server without it": {strings.Replace(gone.URL, "http:", "https:", 1) + path, nil, "cannot be reached"},
		"a URL that cannot be read": {"", func(c *webhook.Config) {
			c.URL = func(context.Context) (secret.Value, error) { return secret.Value{}, errors.New("no such file") }
		}, "cannot be read: no such file"},
	} {
		if got := failed(t, hook(t, "", test.url, test.change).Send(t.Context(), nil, message)); !strings.Contains(got.Detail, test.says) || got.Doubt {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
