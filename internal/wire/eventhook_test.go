// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/event"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/trigger"
)

const hookKey = "a-key-that-both-know"

// hooked is a platform with one generated token, and webhooks of each kind.
type hooked struct {
	*parts
	t      *testing.T
	github *ecdsa.PrivateKey
	ahead  time.Duration
	log    bytes.Buffer
}

func newHooked(t *testing.T) *hooked {
	t.Helper()
	h := &hooked{t: t}
	dir := filepath.Join(t.TempDir(), "shop")
	made, err := scaffold.Init(t.Context(), scaffold.Config{Codec: Codec(), Now: Now}, scaffold.Platform{
		Dir: dir, Name: "shop", Environment: "prod", Team: "apps", Contact: "apps@example.org",
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(made.HostFile)
	if err != nil {
		t.Fatal(err)
	}
	if h.github, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(h.github.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), "\n", "\n          ")
	putFile(t, made.HostFile, append(file, fmt.Sprintf(`  webhooks:
    - name: siem
      kind: generic
      secretFile: hook-key
      may: {ask: [rotate, compromise], secrets: [example-token]}
      perMinute: 4
    - name: bus
      kind: cloudevents
      secretFile: hook-key
      may: {ask: [expiry], secrets: [example-token]}
    - name: github
      kind: github-secret-scanning
      publicKeys:
        one: |
          %s
      may: {ask: [compromise], secrets: [example-token]}
`, text)...))
	putFile(t, filepath.Join(dir, "hook-key"), []byte(hookKey+"\n"))
	host, err := LoadHost(made.HostFile)
	if err != nil {
		t.Fatal(err)
	}
	if h.parts, err = open(t.Context(), Options{HostFile: made.HostFile, Log: slog.New(slog.NewTextHandler(&h.log, nil))}, host, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, hook := range h.hooks {
		hook.now = func() time.Time { return Now().Add(h.ahead) }
	}
	h.platform.Reload()
	h.platform.Serving()
	h.settle()
	return h
}

func (h *hooked) settle() {
	h.t.Helper()
	if err := h.platform.Settle(h.t.Context(), func() bool { return false }); err != nil {
		h.t.Fatal(err)
	}
}

// signed sends a delivery as Standard Webhooks has it, with what change makes of it.
func (h *hooked) signed(hook, id, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	h.t.Helper()
	at := strconv.FormatInt(Now().Add(h.ahead).Unix(), 10)
	mac := hmac.New(sha256.New, []byte(hookKey))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	r := httptest.NewRequestWithContext(h.t.Context(), http.MethodPost, "/hooks/"+hook, strings.NewReader(body))
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", at)
	r.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	if change != nil {
		change(r)
	}
	return h.send(r)
}

func (h *hooked) send(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	h.loopback().ServeHTTP(answer, r)
	return answer
}

func (h *hooked) open() []trigger.Request {
	h.t.Helper()
	open, err := h.platform.Queue.Open(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return open
}

func (h *hooked) events(step string) (found []audit.Event) {
	h.t.Helper()
	events, err := h.platform.Audit(h.t.Context(), audit.Filter{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, event := range events {
		if event.Step == step {
			found = append(found, event)
		}
	}
	return found
}

func (h *hooked) version() authority.Versioned {
	h.t.Helper()
	held, err := h.values.Read(h.t.Context(), h.platform.Estate().Secrets["example-token"].Path)
	if err != nil {
		h.t.Fatal(err)
	}
	return held
}

const rotates = `{"ask":"rotate","secret":"example-token","reason":"left the team"}`

// What nobody signed, what was recorded and is sent again later, and what a webhook may not ask for begins nothing. Guesses are on record
// once a minute, however many there are.
func TestWebhookRefuses(t *testing.T) {
	h := newHooked(t)
	for name, test := range map[string]struct {
		hook, body string
		change     func(*http.Request)
		want       int
	}{
		"no signature":         {"siem", rotates, func(r *http.Request) { r.Header.Del("webhook-signature") }, http.StatusUnauthorized},
		"another's signature":  {"siem", rotates, func(r *http.Request) { r.Header.Set("webhook-signature", "v1,AAAA") }, http.StatusUnauthorized},
		"another id":           {"siem", rotates, func(r *http.Request) { r.Header.Set("webhook-id", "other") }, http.StatusUnauthorized},
		"github without a key": {"github", `[]`, nil, http.StatusUnauthorized},
		"another secret":       {"bus", `{"specversion":"1.0","id":"1","source":"s","type":"dev.custody.expiry","data":{"secret":"other","expiresAt":"2030-01-02T03:04:05Z"}}`, structured, http.StatusForbidden},
		"another ask":          {"bus", `{"specversion":"1.0","id":"1","source":"s","type":"dev.custody.compromise","data":{"secret":"example-token","reason":"x"}}`, structured, http.StatusForbidden},
		"no structured mode":   {"bus", `{"specversion":"1.0","id":"1","source":"s","type":"dev.custody.expiry","data":{}}`, nil, http.StatusBadRequest},
		"not an object":        {"bus", `[]`, structured, http.StatusBadRequest},
		"no such webhook":      {"nobody", rotates, nil, http.StatusNotFound},
		"too large":            {"bus", strings.Repeat("x", event.MaxBody+1), structured, http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if got := h.signed(test.hook, "delivery", test.body, test.change); got.Code != test.want {
				t.Errorf("got %d %s, want %d", got.Code, got.Body, test.want)
			}
		})
	}
	stale := h.signed("siem", "late", rotates, func(*http.Request) { h.ahead = 6 * time.Minute })
	if stale.Code != http.StatusUnauthorized || len(h.open()) > 0 {
		t.Errorf("a delivery from six minutes ago: %d, open are %+v", stale.Code, h.open())
	}
	told := h.events("webhook-refused")
	if len(told) != 3 { // siem's first, github's first, and siem's six minutes later
		t.Errorf("on record are %+v, want three", told)
	}
	if counts := h.hooks[0].counted(); counts[hookUnsigned] != 4 {
		t.Errorf("counted are %v", counts)
	}
}

func structured(r *http.Request) { r.Header.Set("Content-Type", "application/cloudevents+json") }

// A delivery that is sent again, as senders do which saw no answer, is answered the same and does nothing more, also once it was served.
func TestDeliveryThatComesTwiceDoesNothingMore(t *testing.T) {
	h := newHooked(t)
	before := h.version().ID.Number
	first := h.signed("siem", "delivery-1", rotates, nil)
	open := h.open()
	if first.Code != http.StatusAccepted || len(open) != 1 || open[0].By != "webhook siem" || open[0].Kind != trigger.Event {
		t.Fatalf("got %d %s, open are %+v", first.Code, first.Body, open)
	}
	if again := h.signed("siem", "delivery-1", rotates, nil); again.Code != first.Code || again.Body.String() != first.Body.String() || len(h.open()) != 1 {
		t.Errorf("again: %d %s, want %s", again.Code, again.Body, first.Body)
	}
	h.settle()
	if got := h.version().ID.Number; got != before+1 {
		t.Fatalf("the token is at version %d, want %d", got, before+1)
	}
	h.ahead = time.Minute
	again := h.signed("siem", "delivery-1", rotates, nil)
	h.settle()
	if got := h.version().ID.Number; got != before+1 || again.Code != first.Code || again.Body.String() != first.Body.String() {
		t.Errorf("once it was served: %d %s, version %d", again.Code, again.Body, got)
	}
	if requested := h.events("requested"); len(requested) != 1 || requested[0].By != "webhook siem" {
		t.Errorf("on record: %+v", requested)
	}
}

// A sender that goes mad is told to wait, and who guesses does not use up what it may send.
func TestWebhookLimitsWhatIsSigned(t *testing.T) {
	h := newHooked(t)
	for range 20 {
		h.signed("siem", "guess", rotates, func(r *http.Request) { r.Header.Del("webhook-signature") })
	}
	for i := range 5 {
		got := h.signed("siem", fmt.Sprint("delivery-", i), rotates, nil)
		switch {
		case i < 4 && got.Code != http.StatusAccepted:
			t.Errorf("delivery %d: %d %s", i, got.Code, got.Body)
		case i == 4 && (got.Code != http.StatusTooManyRequests || got.Header().Get("Retry-After") == ""):
			t.Errorf("the fifth within a minute: %d %v", got.Code, got.Header())
		}
	}
	h.ahead = time.Minute
	if got := h.signed("siem", "delivery-5", rotates, nil); got.Code != http.StatusAccepted {
		t.Errorf("a minute later: %d %s", got.Code, got.Body)
	}
}

// An answer before the request was durable would be a request that a crash loses.
func TestDeliveryIsNotAnsweredBeforeItIsDurable(t *testing.T) {
	h := newHooked(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the authority takes no write
	got := h.signed("siem", "delivery-1", rotates, func(r *http.Request) { *r = *r.WithContext(ctx) })
	if got.Code < http.StatusInternalServerError || len(h.open()) > 0 {
		t.Errorf("got %d %s, open are %+v", got.Code, got.Body, h.open())
	}
}

// The events of other systems, each in its form.
func TestWebhookTakesCloudEvents(t *testing.T) {
	h := newHooked(t)
	body := `{"specversion":"1.0","id":"1","source":"/vault/pki","type":"dev.custody.expiry","data":{"secret":"example-token","expiresAt":"2030-01-02T03:04:05Z"}}`
	got := h.signed("bus", "any", body, structured)
	again := h.signed("bus", "any-other", body, structured) // its own id and source name it
	if open := h.open(); got.Code != http.StatusAccepted || len(open) != 1 || open[0].Reason != "it ends 2030-01-02T03:04:05Z" || again.Body.String() != got.Body.String() {
		t.Errorf("got %d %s, then %s; open are %+v", got.Code, got.Body, again.Body, open)
	}
}

// A token that GitHub found is matched with the secret that has it, and is never written anywhere.
func TestTokenThatGitHubFoundIsMatched(t *testing.T) {
	h := newHooked(t)
	token := h.version().Value.ExposeText("value")
	alert := func(token string) *httptest.ResponseRecorder {
		body, err := json.Marshal([]map[string]string{
			{"token": token, "type": "shop_token", "url": "https://github.com/octocat/Hello-World/blob/main/" + token, "source": "content"},
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		signature, err := ecdsa.SignASN1(rand.Reader, h.github, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/github", bytes.NewReader(body))
		r.Header.Set("Github-Public-Key-Identifier", "one")
		r.Header.Set("Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(signature))
		return h.send(r)
	}
	if got := alert("another"); got.Code != http.StatusAccepted || len(h.open()) > 0 {
		t.Errorf("a token of nobody here: %d %s", got.Code, got.Body)
	}
	got := alert(token)
	if open := h.open(); got.Code != http.StatusAccepted || len(open) != 1 || open[0].Kind != trigger.Compromise || open[0].Secret != "example-token" {
		t.Errorf("got %d %s, open are %+v", got.Code, got.Body, open)
	}
	h.settle()
	if now := h.version().Value.ExposeText("value"); now == token {
		t.Error("the token that was found is of record still")
	}
	said := got.Body.String() + h.log.String()
	events, err := h.platform.Audit(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		encoded, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		said += string(encoded)
	}
	if strings.Contains(said, token) {
		t.Error("the token was written")
	}
}
