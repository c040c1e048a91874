// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/secret"
)

// told is a platform with one imported token that ends in nine days, whose owner is told by a chat of this process.
type told struct {
	*parts
	value string
	mu    sync.Mutex
	posts []string
	ahead time.Duration
	log   bytes.Buffer
	// posted yields after a message came.
	posted chan struct{}
}

func newTold(t *testing.T) *told {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"exp":%d}`, Now().Add(9*24*time.Hour).Unix())
	p := &told{posted: make(chan struct{}, 1), value: encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(claims)) + ".canary-f00d8c4be2-marked"}
	chat := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.posts = append(p.posts, string(body))
		select {
		case p.posted <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(chat.Close)
	v, err := secret.Text(map[string]string{"value": p.value})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "shop")
	made, err := scaffold.Init(t.Context(), scaffold.Config{Codec: Codec(), Now: Now}, scaffold.Platform{
		Dir: dir, Name: "shop", Environment: "prod", Team: "apps", Contact: "apps@example.org",
		Import: []scaffold.Variable{{Name: "API_TOKEN", Secret: "api-token", Value: v}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(made.HostFile)
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, made.HostFile, append(file, "  notifications:\n    webhooks:\n      chat: {urlFile: chat-url}\n    teams:\n      apps: {webhook: chat}\n"...))
	putFile(t, filepath.Join(dir, "chat-url"), []byte(chat.URL+"/canary-of-the-url\n"))
	host, err := LoadHost(made.HostFile)
	if err != nil {
		t.Fatal(err)
	}
	if p.parts, err = open(t.Context(), Options{HostFile: made.HostFile, Log: slog.New(slog.NewTextHandler(&p.log, nil))}, host, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	p.platform.Reload()
	p.platform.Serving()
	p.notifier.Now = func() time.Time { return Now().Add(p.ahead) }
	if err := p.platform.Settle(t.Context(), func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	return p
}

// look has owners told of what there is, ahead of the clock by so long.
func (p *told) look(t *testing.T, ahead time.Duration) *platform.Summary {
	t.Helper()
	if err := p.platform.Summarise(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.ahead = ahead
	summary := *p.platform.Summary()
	summary.Seen.At = summary.Seen.At.Add(ahead)
	p.notifier.Tick(t.Context(), summary.Seen)
	p.notifier.Wait()
	return &summary
}

// A token said in its own words when it ends, and everybody learned it on that day. Its owner is told ahead, once, and neither the message
// nor what is kept has any of it.
func TestOwnerIsToldAheadThatATokenEnds(t *testing.T) {
	p := newTold(t)
	p.look(t, 0)
	summary := p.look(t, 2*time.Minute)
	p.look(t, time.Hour)
	if len(p.posts) != 1 || !strings.Contains(p.posts[0], "api-token: it expires at ") || !strings.Contains(p.posts[0], "(by its token)") ||
		!strings.Contains(p.posts[0], "`custody supply api-token --reason TEXT`") || !strings.Contains(p.posts[0], "[lifetime-ending]") {
		t.Fatalf("told %q", p.posts)
	}
	scraped := httptest.NewRecorder()
	metrics(p.platform, p.steps, p.hooks).ServeHTTP(scraped, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{`custody_secret_expiry_timestamp_seconds{secret="api-token"}`, `custody_secret_ending{secret="api-token"} 1`, `custody_reasons{class="person",code="lifetime-ending"} 1`} {
		if !strings.Contains(scraped.Body.String(), line) {
			t.Errorf("the metrics have no %s", line)
		}
	}
	entry, err := journal.New(p.store).Load(t.Context(), p.platform.Estate().Secrets["api-token"].Path)
	if err != nil || entry.EndsNow() == nil || entry.EndsNow().By != "token" || !entry.EndsNow().At.Equal(summary.Ends[0].Expires) {
		t.Fatalf("kept %+v, %v", entry, err)
	}
	listing, err := p.platform.Notifications(t.Context())
	if err != nil || len(listing.Routes) != 1 || len(listing.Routes[0].Findings) != 1 || listing.Routes[0].Findings[0].Told != 1 {
		t.Errorf("listed %+v, %v", listing, err)
	}
	if !strings.Contains(p.log.String(), "told an owner") {
		t.Errorf("the log does not say that an owner was told: %s", p.log.String())
	}
	all := []any{p.posts, entry, listing, summary.Seen, scraped.Body.String(), p.log.String()}
	for key, err := range p.store.Keys(t.Context(), "notify/") {
		if err != nil {
			t.Fatal(err)
		}
		held, err := p.store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(held.Data))
	}
	text, err := json.Marshal(all)
	if err != nil || strings.Contains(string(text), "canary") || strings.Contains(string(text), p.value[:20]) || len(all) != 7 {
		t.Errorf("of %d things one has the value or the URL: %v", len(all), err)
	}
}

// A server tells owners by itself, with what its newest look found.
func TestServerTellsOwners(t *testing.T) {
	p := newTold(t)
	p.look(t, 0)
	later := func() time.Time { return Now().Add(2 * time.Minute) }
	p.platform.Now, p.notifier.Now = later, later
	stop, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.watchStatus(stop) }()
	select {
	case <-p.posted:
	case <-time.After(time.Minute): // of a machine that has a hundred other things to do
		t.Error("nobody was told")
	}
	cancel()
	<-ended
	p.notifier.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.posts) != 1 || !strings.Contains(p.posts[0], "[lifetime-ending]") {
		t.Errorf("told %q", p.posts)
	}
}

// The value of a secret may come from the estate: it is used for a message only while the secret is what its history says, and never as a URL
// to another host.
func TestSecretThatIsHeldSendsNothing(t *testing.T) {
	p := newTold(t)
	read := p.credential("value", "", "api-token")
	if v, err := read(t.Context()); err != nil || v.ExposeText("value") != p.value {
		t.Fatalf("a secret that is not held: %v", err)
	}
	file := filepath.Join(p.host.Estate, "secrets", "api-token.yaml")
	document, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, file, []byte(strings.Replace(string(document), "path: imported/api-token", "path: imported/another", 1)))
	if !p.platform.Reload() {
		t.Fatal("the estate did not change")
	}
	if _, err := read(t.Context()); err == nil || !strings.Contains(err.Error(), "api-token is held") {
		t.Errorf("a secret whose path was changed: %v", err)
	}
	if _, err := p.credential("value", "", "nobody")(t.Context()); err == nil {
		t.Error("a secret that is not there")
	}
}

// A file that others can write or read is not what a message goes by.
func TestFilesOfTargetsAreTheOperators(t *testing.T) {
	dir := t.TempDir()
	p := &parts{calls: outward.New(Now)}
	file := filepath.Join(dir, "url")
	putFile(t, file, []byte("https://hooks.example.org/x"))
	for mode, says := range map[os.FileMode]string{0o600: "", 0o640: "others can read it", 0o604: "others can read it", 0o602: "is not safe", 0o620: "is not safe"} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := p.credential("value", file, "")(t.Context())
		if got := fmt.Sprint(err); (err == nil) != (says == "") || says != "" && !strings.Contains(got, says) {
			t.Errorf("mode %04o: %v, want %q", mode, err, says)
		}
	}
	for name, made := range map[string]func(string) error{
		"a folder": func(at string) error { return os.Mkdir(at, 0o700) },
		"too much": func(at string) error { return os.WriteFile(at, make([]byte, mostCredential+1), 0o600) },
		"nothing":  func(string) error { return nil },
	} {
		at := filepath.Join(dir, name)
		if err := made(at); err != nil {
			t.Fatal(err)
		}
		if _, err := p.credential("value", at, "")(t.Context()); err == nil || strings.Contains(err.Error(), "hooks") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
