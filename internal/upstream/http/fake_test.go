// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	adapter "custody.dev/custody/internal/upstream/http"
)

// fake is a server of a test, behind a proxy.
type fake struct {
	*httptest.Server
	proxy *realparts.Proxy

	mu       sync.Mutex
	throttle bool
	lose     bool     // what changes something takes effect, and its reply is lost
	requests []string // METHOD PATH
}

// newFake serves handler, without TLS: on loopback it shows nothing more. See newTLSFake for what is TLS's own. What is
// throttled is answered as GitHub and others do.
func newFake(t *testing.T, handler http.Handler) *fake {
	t.Helper()
	f := unstarted(handler)
	f.Start()
	return f.before(t)
}

// newTLSFake serves handler by TLS, and takes any client certificate.
func newTLSFake(t *testing.T, handler http.Handler) *fake {
	t.Helper()
	f := unstarted(handler)
	f.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	f.StartTLS()
	return f.before(t)
}

// unreachable names the test of the suite that breaks the connection. Without TLS a request is written before anybody
// knows that nobody will read it, so that test wants TLS.
const unreachable = "/UnreachableIsUnknownAndNotApplied"

// suited serves handler as the tests of the suite need it.
func suited(t *testing.T, handler http.Handler) *fake {
	t.Helper()
	if strings.HasSuffix(t.Name(), unreachable) {
		return newTLSFake(t, handler)
	}
	return newFake(t, handler)
}

func unstarted(handler http.Handler) *fake {
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		throttled, lose := f.throttle, f.lose && r.Method != http.MethodGet
		f.mu.Unlock()
		if lose {
			handler.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		if throttled {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that the proxy cuts
	return f
}

// before puts a proxy before the server, which ends with the test.
func (f *fake) before(t *testing.T) *fake {
	t.Helper()
	t.Cleanup(f.Close)
	f.proxy = realparts.NewProxy(t, f.Listener.Addr().String())
	return f
}

func (f *fake) setThrottle(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.throttle = on
}

func (f *fake) setLose(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = on
}

// asked returns the requests so far and forgets them.
func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.requests
	f.requests = nil
	return out
}

func (f *fake) mend() {
	f.setThrottle(false)
	f.setLose(false)
	f.proxy.Mend()
}

func (f *fake) address() string {
	if f.TLS == nil {
		return "http://" + f.proxy.Address()
	}
	return "https://" + f.proxy.Address()
}

func (f *fake) authority() string {
	if f.TLS == nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}))
}

// config is what every test has in common.
func (f *fake) config(compiled *recipe.Compiled, admin secret.Value) adapter.Config {
	return adapter.Config{
		Recipe: compiled, URL: f.address(), CACertificate: f.authority(), Claim: "shop/test/key", Clock: time.Now,
		Admin: only(admin),
	}
}

// only is an admin with one credential.
func only(admin secret.Value) func(context.Context) ([]secret.Value, error) {
	return func(context.Context) ([]secret.Value, error) { return []secret.Value{admin}, nil }
}

func (f *fake) upstream(t *testing.T, config adapter.Config) *adapter.Upstream {
	t.Helper()
	u, err := adapter.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func builtin(t *testing.T, name string) *recipe.Compiled {
	t.Helper()
	compiled, err := recipe.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func compile(t *testing.T, text string) *recipe.Compiled {
	t.Helper()
	r, err := recipe.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := recipe.Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// origin is the server's address as the request has it.
func origin(r *http.Request) string {
	if r.TLS == nil {
		return "http://" + r.Host
	}
	return "https://" + r.Host
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

// gitHub has the deploy keys of one repository, as GitHub's description of the interface tells. Pages are short, so that
// every test meets several; the list lags behind by delay.
type gitHub struct {
	mu    sync.Mutex
	token string
	next  int
	keys  []gitHubKey
	delay time.Duration
}

type gitHubKey struct {
	ID       int       `json:"id"`
	Title    string    `json:"title"`
	Key      string    `json:"key"`
	ReadOnly bool      `json:"read_only"`
	LastUsed *string   `json:"last_used"`
	shows    time.Time // in lists
	gone     time.Time // from lists; zero while it is there
}

func (g *gitHub) visible() []gitHubKey {
	out := []gitHubKey{}
	now := time.Now()
	for _, key := range g.keys {
		if !now.Before(key.shows) && (key.gone.IsZero() || now.Before(key.gone)) {
			out = append(out, key)
		}
	}
	return out
}

func (g *gitHub) titles(*testing.T) (out []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range g.keys {
		if key.gone.IsZero() && strings.HasPrefix(key.Title, "custody-") {
			out = append(out, key.Title)
		}
	}
	return out
}

func (g *gitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	const base = "/repos/example/shop/keys"
	rest, ours := strings.CutPrefix(r.URL.Path, base)
	switch {
	case r.Header.Get("Authorization") != "Bearer "+g.token:
		answer(w, http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
	case !ours:
		answer(w, http.StatusNotFound, map[string]string{"message": "Not Found"})
	case r.Method == http.MethodGet:
		page, size := 1, 3
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		keys := g.visible()
		if page*size < len(keys) {
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?per_page=100&page=%d>; rel="next", <%s%s?page=9>; rel="last"`, origin(r), base, page+1, origin(r), base))
		}
		from := min((page-1)*size, len(keys))
		answer(w, http.StatusOK, keys[from:min(from+size, len(keys))])
	case r.Method == http.MethodPost:
		var key gitHubKey
		if err := json.NewDecoder(r.Body).Decode(&key); err != nil || !strings.HasPrefix(key.Key, "ssh-") || !key.ReadOnly {
			answer(w, http.StatusUnprocessableEntity, map[string]string{"message": "Validation Failed"})
			return
		}
		for _, other := range g.keys {
			if other.gone.IsZero() && other.Key == key.Key {
				answer(w, http.StatusUnprocessableEntity, map[string]string{"message": "key is already in use"})
				return
			}
		}
		g.next++
		key.ID, key.shows = 100_000_000+g.next, time.Now().Add(g.delay)
		g.keys = append(g.keys, key)
		answer(w, http.StatusCreated, key)
	case r.Method == http.MethodDelete:
		for i := range g.keys {
			if fmt.Sprint("/", g.keys[i].ID) == rest && g.keys[i].gone.IsZero() {
				g.keys[i].gone = time.Now().Add(g.delay)
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		answer(w, http.StatusNotFound, map[string]string{"message": "Not Found"})
	}
}

// gitLab rotates tokens, as GitLab's description of the interface tells: presenting one that was traded ends its family.
type gitLab struct {
	mu     sync.Mutex
	next   int
	tokens map[string]bool // honoured or not
	days   []string        // what was asked for
	traded int             // rotations with a token that was traded before
}

const gitLabName = "registry-push"

func (g *gitLab) mint() string {
	g.next++
	token := fmt.Sprintf("glpat"+"-%020dAbCdEf", g.next)
	g.tokens[token] = true
	return token
}

func (g *gitLab) held(*testing.T) (out []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for token, honoured := range g.tokens {
		if honoured {
			out = append(out, token[6:26])
		}
	}
	return out
}

func (g *gitLab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	token := r.Header.Get("PRIVATE-TOKEN")
	honoured, known := g.tokens[token]
	rotating := r.Method == http.MethodPost && r.URL.Path == "/api/v4/personal_access_tokens/self/rotate"
	switch {
	case !honoured:
		if known && rotating {
			g.traded++
			clear(g.tokens)
		}
		answer(w, http.StatusUnauthorized, map[string]string{"message": "401 Unauthorized"})
	case rotating:
		var body struct {
			Expires string `json:"expires_at"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			answer(w, http.StatusBadRequest, nil)
			return
		}
		g.days = append(g.days, body.Expires)
		g.tokens[token] = false
		answer(w, http.StatusOK, map[string]any{"id": 42 + g.next, "token": g.mint(), "expires_at": body.Expires})
	case r.Method == http.MethodGet && r.URL.Path == "/api/v4/personal_access_tokens/self":
		answer(w, http.StatusOK, map[string]any{"id": 42, "name": gitLabName, "active": true})
	default:
		answer(w, http.StatusNotFound, nil)
	}
}

func decodeBody(r *http.Request, into any) bool {
	return json.NewDecoder(r.Body).Decode(into) == nil
}
