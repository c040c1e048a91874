// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// lab is a service with keys, whose habits a test chooses: how the admin signs in, how lists have pages, how late a
// change shows, how many keys there may be.
type lab struct {
	mu      sync.Mutex
	signed  func(*http.Request) bool
	tokens  map[string]bool // access tokens given out
	client  func(*http.Request, url.Values) bool
	keys    []labKey
	next    int
	most    int
	pages   string
	tls     bool
	delay   time.Duration
	respond func(http.ResponseWriter, *http.Request) bool // answers instead, when it returns true
}

type labKey struct {
	ID    int       `json:"id"`
	Label string    `json:"label"`
	First string    `json:"first"`
	Used  int64     `json:"used"`
	key   string    // never in lists
	from  time.Time // shows
	to    time.Time
}

func (k labKey) honoured() bool {
	now := time.Now()
	return !now.Before(k.from) && (k.to.IsZero() || now.Before(k.to))
}

func (l *lab) labels(*testing.T) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []string{}
	for _, key := range l.keys {
		if key.to.IsZero() {
			out = append(out, key.Label)
		}
	}
	return out
}

// answers has respond answer from now on.
func (l *lab) answers(respond func(http.ResponseWriter, *http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.respond = respond
}

func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.respond != nil && l.respond(w, r) {
		return
	}
	if r.URL.Path == "/oauth/token" {
		if err := r.ParseForm(); err != nil || !l.client(r, r.PostForm) {
			answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_client"})
			return
		}
		token := fmt.Sprintf("access-%d", len(l.tokens))
		l.tokens[token] = true
		answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 60})
		return
	}
	if r.URL.Path == "/api/self" {
		for i, key := range l.keys {
			if key.key == r.Header.Get("X-Key") && key.honoured() {
				l.keys[i].Used = time.Now().Unix()
				answer(w, http.StatusOK, map[string]any{"id": key.ID})
				return
			}
		}
		answer(w, http.StatusUnauthorized, nil)
		return
	}
	if !l.signed(r) {
		answer(w, http.StatusUnauthorized, nil)
		return
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/api/services/shop/keys")
	switch r.Method {
	case http.MethodPost:
		l.create(w, r)
	case http.MethodGet:
		l.list(w, r)
	case http.MethodDelete:
		for i := range l.keys {
			if rest == fmt.Sprint("/", l.keys[i].ID) && l.keys[i].to.IsZero() {
				l.keys[i].to = time.Now().Add(l.delay)
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		answer(w, http.StatusNotFound, nil)
	}
}

func (l *lab) create(w http.ResponseWriter, r *http.Request) {
	if l.most > 0 && len(l.keys) >= l.most {
		answer(w, http.StatusConflict, map[string]string{"code": "too_many", "detail": "no-more-than-that"})
		return
	}
	var body struct {
		Label string `json:"label"`
		Hours int    `json:"hours"`
	}
	if !decodeBody(r, &body) || body.Hours != 720 {
		answer(w, http.StatusBadRequest, nil)
		return
	}
	l.next++
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	key := labKey{ID: 3_000_000_000 + l.next, Label: body.Label, key: fmt.Sprintf("key%03d-%x", l.next, raw), from: time.Now().Add(l.delay)}
	key.First = key.key[:6]
	l.keys = append(l.keys, key)
	answer(w, http.StatusCreated, map[string]any{"id": key.ID, "key": key.key})
}

func (l *lab) list(w http.ResponseWriter, r *http.Request) {
	keys := []labKey{}
	for _, key := range l.keys {
		if key.honoured() {
			keys = append(keys, key)
		}
	}
	const size = 2
	from := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("after"), &from)
	_, _ = fmt.Sscan(r.URL.Query().Get("from"), &from)
	if page := r.URL.Query().Get("page"); page != "" {
		_, _ = fmt.Sscan(page, &from)
		from = (from - 1) * size
	}
	from = min(from, len(keys))
	to := min(from+size, len(keys))
	body := map[string]any{"keys": keys[from:to]}
	if to < len(keys) {
		switch l.pages {
		case "cursor":
			body["next"] = fmt.Sprint(to)
		case "next":
			body["next"] = fmt.Sprintf("%s%s?from=%d", origin(r), r.URL.Path, to)
		case "elsewhere":
			body["next"] = "https://example.org" + r.URL.Path
		case "loop":
			body["next"] = r.URL.RequestURI()
		case "link":
			w.Header().Set("Link", fmt.Sprintf(`<%s?from=%d>; rel=next`, r.URL.Path, to))
		}
	}
	answer(w, http.StatusOK, body)
}

// labRecipe is the one of the page, with the admin and the pages that a test wants.
func labRecipe(admin, pages string) string {
	text, err := os.ReadFile("../../recipe/testdata/lab.yaml")
	if err != nil {
		panic(err)
	}
	if !strings.Contains(string(text), byBearer) || !strings.Contains(string(text), byCursor) {
		panic("the lab's recipe has other words for its admin and its pages")
	}
	return strings.NewReplacer(byBearer, admin, byCursor, pages).Replace(string(text))
}

const byBearer = `{bearer: "${admin.token}"}`

func bearer(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer operator" }

func labAdmin(t *testing.T) secret.Value {
	return text(t, map[string]string{"token": "operator", "client": "custody"})
}

// inLab makes an upstream before a lab. change may alter lab and configuration.
func inLab(t *testing.T, source string, l *lab, change func(*fake, *adapter.Config)) (*fake, *adapter.Upstream) {
	t.Helper()
	if l.signed == nil {
		l.signed = bearer
	}
	l.tokens = map[string]bool{}
	serve := newFake
	if l.tls {
		serve = newTLSFake
	}
	f := serve(t, l)
	config := f.config(compile(t, source), labAdmin(t))
	config.URL += "/api/"
	config.Parameters = map[string]any{"service": "shop"}
	if change != nil {
		change(f, &config)
	}
	return f, f.upstream(t, config)
}

const byCursor = `{cursor: 'response.body.?next.orValue("")', as: after}`

func TestRecipeOfThePage(t *testing.T) {
	t.Parallel()
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		l := &lab{pages: "cursor", delay: 20 * time.Millisecond, tls: true}
		f, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
		return upstreamtest.Fixture{
			Upstream: u.Powers(), Break: f.proxy.Break, Mend: f.mend, Cut: f.proxy.Cut, Hold: f.proxy.Hold,
			Throttle: func() { f.setThrottle(true) }, Held: l.labels, Wait: func() { time.Sleep(30 * time.Millisecond) },
		}
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ pages, recipe string }{
		{"cursor", byCursor},
		{"next", `{next: 'response.body.?next.orValue("")'}`},
		{"link", `{link: true}`},
		{"number", `{number: page}`},
		{"number", `{number: page, first: 1}`},
	} {
		t.Run(test.recipe, func(t *testing.T) {
			l := &lab{pages: test.pages}
			_, u := inLab(t, labRecipe(byBearer, test.recipe), l, nil)
			var all []secret.Value
			for range 7 {
				all = append(all, apply(t, u, "run-1", secret.Value{}))
			}
			if err := u.Revoke(t.Context(), "run-1", all[6], all[0]); err != nil {
				t.Fatal(err)
			}
			verdict(t, u, all[6], upstream.Refused)
			collect(t, u, "run-1")
			if got := l.labels(t); len(got) != 0 {
				t.Errorf("after collecting: got %q, want none", got)
			}
		})
	}
	for _, pages := range []string{"elsewhere", "loop"} {
		t.Run(pages, func(t *testing.T) {
			l := &lab{pages: pages}
			_, u := inLab(t, labRecipe(byBearer, `{next: 'response.body.?next.orValue("")'}`), l, nil)
			for range 5 {
				apply(t, u, "run-1", secret.Value{})
			}
			if err := u.Powers().(upstream.Collector).Collect(t.Context(), "run-1"); err == nil {
				t.Error("a list without its end: got no error")
			}
			if got := len(l.labels(t)); got != 5 {
				t.Errorf("got %d keys, want all 5 left alone", got)
			}
		})
	}
}

func TestQuotaNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	l := &lab{pages: "cursor", most: 3, keys: []labKey{{ID: 1, Label: "a person's"}, {ID: 2, Label: "another's"}}}
	_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
	apply(t, u, "run-1", secret.Value{})
	_, err := u.Apply(t.Context(), "run-2", secret.Value{}, secret.Value{})
	if !errors.Is(err, upstream.ErrNotApplied) {
		t.Fatalf("got %v, want ErrNotApplied", err)
	}
	for _, want := range []string{"it has 3", "a person's", "another's"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "no-more-than-that") {
		t.Errorf("the error quotes the answer: %v", err)
	}
	if got := len(l.labels(t)); got != 3 {
		t.Errorf("got %d keys, want all 3 left alone", got)
	}
}

func TestThrottledAsksLater(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, test := range []struct {
		name   string
		status int
		header map[string]string
		want   time.Duration
	}{
		{"seconds", 429, map[string]string{"Retry-After": "17"}, 17 * time.Second},
		// What stands before the upstream may say so when the upstream has acted.
		{"date", 503, map[string]string{"Retry-After": now.Add(40 * time.Second).UTC().Format(http.TimeFormat), "Date": now.UTC().Format(http.TimeFormat)}, 40 * time.Second},
		{"reset", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": fmt.Sprint(now.Unix() + 90), "Date": now.UTC().Format(http.TimeFormat)}, 90 * time.Second},
		{"nothing", 429, nil, 30 * time.Second},
		{"days", 429, map[string]string{"Retry-After": "999999"}, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &lab{respond: func(w http.ResponseWriter, _ *http.Request) bool {
				for name, value := range test.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(test.status)
				return true
			}}
			_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
			_, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			later, ok := errors.AsType[*upstream.Later](err)
			if !ok || later.After != test.want || errors.Is(err, upstream.ErrNotApplied) != (test.status < 500) {
				t.Errorf("Apply: got %v (%+v), want to ask again in %s, and not applied below 500 alone", err, later, test.want)
			}
			err = u.Powers().(upstream.Collector).Collect(t.Context(), "run-1")
			if later, ok = errors.AsType[*upstream.Later](err); !ok || later.After != test.want || !errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("Collect: got %v, want not applied, since listing changes nothing, and to ask again in %s", err, test.want)
			}
			got, err := u.Verify(t.Context(), text(t, map[string]string{"key": "some-key"}))
			if later, ok = errors.AsType[*upstream.Later](err); got != upstream.Unknown || !ok || later.After != test.want {
				t.Errorf("Verify: got %s, %v, want unknown and to ask again in %s", got, err, test.want)
			}
		})
	}
}

func TestWhatRepliesMean(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status  int
		applied bool // may have been
	}{
		{200, true}, {302, true}, {307, false}, {400, false}, {403, false}, {404, false}, {408, true}, {500, true}, {502, true}, {503, true},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			l := &lab{}
			l.respond = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Location", "https://example.org/")
				answer(w, test.status, map[string]string{"detail": "a-detail-from-elsewhere"})
				return true
			}
			_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
			_, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			if err == nil || errors.Is(err, upstream.ErrNotApplied) == test.applied {
				t.Errorf("Apply: got %v, want not applied: %t", err, !test.applied)
			}
			if err != nil && strings.Contains(err.Error(), "elsewhere") {
				t.Errorf("the error quotes the answer: %v", err)
			}
			want := upstream.Unknown
			if test.status == 200 {
				want = upstream.Accepted
			}
			verdict(t, u, text(t, map[string]string{"key": "some-key"}), want)
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	l := &lab{respond: func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20))
		return true
	}}
	_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
	verdict(t, u, text(t, map[string]string{"key": "some-key"}), upstream.Unknown)
	_, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
	if err == nil || errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v, want an error that leaves it open and says that the answer is too large", err)
	}
}

func TestCredentialsDoNotFollowRedirects(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	stolen := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		stolen++
	}))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		l := &lab{respond: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, status)
			return true
		}}
		_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
		if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{}); err == nil {
			t.Errorf("%d: Apply: got no error", status)
		}
		verdict(t, u, text(t, map[string]string{"key": "some-key"}), upstream.Unknown)
	}
	mu.Lock()
	defer mu.Unlock()
	if stolen != 0 {
		t.Errorf("%d requests followed a redirect, want none", stolen)
	}
}

func pemKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestWaysToSignIn(t *testing.T) {
	t.Parallel()
	key, encoded := pemKey(t)
	byToken := func(l *lab) func(*http.Request) bool {
		return func(r *http.Request) bool {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			return ok && l.tokens[token]
		}
	}
	basic := func(r *http.Request) bool {
		username, password, ok := r.BasicAuth()
		return ok && username == "custody" && password == "operator"
	}
	claims := func(assertion string, want map[string]any) bool {
		got := jwt.MapClaims{}
		token, err := jwt.ParseWithClaims(assertion, got, func(*jwt.Token) (any, error) { return key.Public(), nil }, jwt.WithValidMethods([]string{"RS256"}))
		if err != nil || token.Header["kid"] != "key-1" {
			return false
		}
		delete(got, "iat")
		delete(got, "exp")
		return cmp.Equal(map[string]any(got), want)
	}
	for _, test := range []struct {
		name, auth string
		calls      int // of the token endpoint, for one Apply and one Collect
		setUp      func(*lab)
	}{
		{"basic", `{basic: {username: "${admin.client}", password: "${admin.token}"}}`, 0, func(l *lab) { l.signed = basic }},
		{"header", `{header: {name: X-Operator, value: "Token ${admin.token}"}}`, 0, func(l *lab) {
			l.signed = func(r *http.Request) bool { return r.Header.Get("X-Operator") == "Token operator" }
		}},
		{"oauth2 basic", `{oauth2: {request: POST /oauth/token, at: login, clientId: "${admin.client}", clientSecret: "${admin.token}", scope: keys}}`, 2, func(l *lab) {
			l.signed = byToken(l)
			l.client = func(r *http.Request, form url.Values) bool {
				return basic(r) && cmp.Equal(form, url.Values{"grant_type": {"client_credentials"}, "scope": {"keys"}})
			}
		}},
		{"oauth2 form", `{oauth2: {request: POST /oauth/token, at: login, clientId: "${admin.client}", clientSecret: "${admin.token}", send: form, form: {audience: "https://api"}}}`, 2, func(l *lab) {
			l.signed = byToken(l)
			l.client = func(r *http.Request, form url.Values) bool {
				return r.Header.Get("Authorization") == "" && form.Get("client_id") == "custody" && form.Get("client_secret") == "operator" && form.Get("audience") == "https://api"
			}
		}},
		{"jwtBearer", `{jwtBearer: {request: POST /oauth/token, at: login, key: "${admin.key}", keyId: key-1, issuer: "${admin.client}@${params.service}", audience: "https://login", scope: "a b"}}`, 2, func(l *lab) {
			l.signed = byToken(l)
			l.client = func(_ *http.Request, form url.Values) bool {
				return form.Get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer" &&
					claims(form.Get("assertion"), map[string]any{"iss": "custody@shop", "aud": "https://login", "scope": "a b"})
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &lab{pages: "cursor"}
			test.setUp(l)
			admins := []secret.Value{
				text(t, map[string]string{"token": "stale", "client": "custody", "key": otherPEM(t)}),
				text(t, map[string]string{"token": "operator", "client": "custody", "key": encoded}),
			}
			first := 0
			f, u := inLab(t, labRecipe(test.auth, byCursor), l, func(f *fake, c *adapter.Config) {
				c.Endpoints = map[string]string{"login": f.address()}
				c.Admin = func(context.Context) ([]secret.Value, error) { return admins[first:], nil }
			})
			apply(t, u, "run-1", secret.Value{}) // the first admin credential is refused, the second taken
			first = 1
			f.asked()
			apply(t, u, "run-1", secret.Value{})
			collect(t, u, "run-1")
			exchanges := 0
			for _, request := range f.asked() {
				if request == "POST /oauth/token" {
					exchanges++
				}
			}
			if exchanges != test.calls {
				t.Errorf("%d requests for tokens in two operations, want %d", exchanges, test.calls)
			}
			admins = admins[:1]
			first = 0
			_, err := u.Apply(t.Context(), "run-2", secret.Value{}, secret.Value{})
			if !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(err.Error(), "every admin credential") {
				t.Errorf("with a stale admin alone: got %v, want that every admin credential is refused", err)
			}
		})
	}
}

func otherPEM(t *testing.T) string {
	t.Helper()
	_, encoded := pemKey(t)
	return encoded
}
