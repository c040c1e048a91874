// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/github"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// rig is a server with one app.
type rig struct {
	*testing.T
	server *server
	pem    string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	key, pem := newKey(t)
	return rigOf(t, key, pem)
}

func rigOf(t *testing.T, key *rsa.PrivateKey, pem string) *rig {
	t.Helper()
	return &rig{T: t, server: newServer(t, &key.PublicKey), pem: pem}
}

func (r *rig) config() github.Config {
	r.Helper()
	return github.Config{
		URL: r.server.URL, CACertificate: r.server.certificate, InstallationID: installation, Repositories: []string{"orders"},
		Permissions: map[string]string{"contents": "read"}, Clock: time.Now,
		Admin: upstreamtest.Admins(upstreamtest.Value(r.T, map[string]string{github.AdminAppID: appID, github.AdminKey: r.pem})),
	}
}

func (r *rig) open(config github.Config) *github.Upstream {
	r.Helper()
	u, err := github.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

func TestSuite(t *testing.T) {
	key, pem := newKey(t)
	const lag = 60 * time.Millisecond
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name   string
		change func(*server)
	}{
		{"opaque tokens", func(*server) {}},
		{"signed tokens", func(s *server) { s.stateless = true }},
		{"changes show late", func(s *server) { s.lag = lag }},
		{"server's own clock", func(s *server) { s.ahead = 3 * time.Hour }},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := rigOf(t, key, pem)
			r.server.set(test.change)
			proxy := realparts.NewProxy(t, r.server.Listener.Addr().String())
			config := r.config()
			config.URL = "https://" + proxy.Address()
			clock, skew := upstreamtest.Skewed()
			config.Clock = clock
			fixture := upstreamtest.Fixture{
				Upstream: r.open(config), Public: []string{github.FieldExpires}, Log: r.server.Log,
				Break: proxy.Break, Cut: proxy.Cut, Hold: proxy.Hold,
				Mend: func() {
					proxy.Mend()
					r.server.set(func(s *server) { s.limited = "" })
				},
				Throttle: func() { r.server.set(func(s *server) { s.limited = "secondary" }) },
				Skew:     skew,
				// Held is not given: a token whose reply was lost is honoured until its hour is over.
			}
			if r.server.lag > 0 {
				fixture.Wait = func() { <-time.After(lag + 10*time.Millisecond) }
			}
			return fixture
		}})
	}
	upstreamtest.ParallelForms(t, forms) // each with servers of its own
}

func TestTokenIsRestricted(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	before := time.Now()
	v := upstreamtest.Issue(r, u, "run-1", upstreamtest.Value(t, map[string]string{"note": "kept", github.FieldToken: "old"}))
	if diff := cmp.Diff([]string{github.FieldExpires, "note", github.FieldToken}, v.Names()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	got := r.server.tokens[v.ExposeText(github.FieldToken)]
	if got == nil {
		t.Fatal("the server did not issue this token")
	}
	if diff := cmp.Diff([]string{"orders"}, got.repositories); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"metadata": "read", "contents": "read"}, got.permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	expires, err := time.Parse(time.RFC3339, v.ExposeText(github.FieldExpires))
	if err != nil || expires.Sub(before) < 59*time.Minute || expires.Sub(before) > 61*time.Minute {
		t.Errorf("expiresAt: got %s (%v), want about an hour from now", expires, err)
	}
	// An expired token needs no revoking.
	r.server.set(func(s *server) { s.ahead = 61 * time.Minute })
	upstreamtest.Is(r, u, upstream.Refused, v, "an expired token")
	if err := u.Revoke(t.Context(), "run-2", v, secret.Value{}); err != nil {
		t.Errorf("revoking an expired token: %v", err)
	}
}

// TestScopeThatWasNotAskedFor: the token is revoked again.
func TestScopeThatWasNotAskedFor(t *testing.T) {
	key, pem := newKey(t)
	for name, change := range map[string]func(map[string]any){
		"all repositories":       func(b map[string]any) { b["repository_selection"] = "all"; delete(b, "repositories") },
		"another repository":     func(b map[string]any) { b["repositories"] = named([]string{"billing"}) },
		"another permission":     func(b map[string]any) { b["permissions"] = map[string]string{"contents": "read", "actions": "write"} },
		"a higher level":         func(b map[string]any) { b["permissions"] = map[string]string{"contents": "write"} },
		"a permission missing":   func(b map[string]any) { b["permissions"] = map[string]string{} },
		"more than metadata":     func(b map[string]any) { b["permissions"] = map[string]string{"contents": "read", "metadata": "write"} },
		"no end":                 func(b map[string]any) { delete(b, "expires_at") },
		"a level of its own":     func(b map[string]any) { b["permissions"] = map[string]string{"contents": "some"} },
		"a permission and owner": func(b map[string]any) { b["permissions"] = map[string]string{"contents": "admin"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t, key, pem)
			r.server.set(func(s *server) { s.change = change })
			_, err := r.open(r.config()).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			if !errors.Is(err, upstream.ErrRefusedCandidate) {
				t.Errorf("got %v, want ErrRefusedCandidate", err)
			}
			if held := r.server.held(); len(held) != 0 {
				t.Errorf("got %d tokens left, want none", len(held))
			}
		})
	}
}

// TestScopeThatWasNotAskedForAndNotRevoked: a token is left, so no error may say that nothing was applied, whatever
// revoking it said; the token comes along, for whoever can take it back later.
func TestScopeThatWasNotAskedForAndNotRevoked(t *testing.T) {
	key, pem := newKey(t)
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		later  bool
	}{
		"asked too often":           {upstreamtest.Says(http.StatusTooManyRequests, "", "{}"), true},
		"forbidden":                 {upstreamtest.Says(http.StatusForbidden, "", "{}"), true},
		"not found":                 {upstreamtest.Says(http.StatusNotFound, "", "{}"), false},
		"an error":                  {upstreamtest.Says(http.StatusInternalServerError, "", "{}"), false},
		"refused, perhaps by delay": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := rigOf(t, key, pem)
			r.server.set(func(s *server) {
				s.change = func(b map[string]any) { b["repository_selection"] = "all" }
				if s.unrevoked = test.answer; test.answer == nil {
					s.lag = time.Hour
				}
			})
			config := r.config()
			ahead := time.Duration(0)
			config.Settle, config.Clock = time.Minute, func() time.Time { return time.Now().Add(ahead) }
			u := r.open(config)
			v, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			upstreamtest.Fails(t, nil, err, "a token is left")
			if later, ok := errors.AsType[*upstream.Later](err); ok != test.later {
				t.Errorf("got %v; is to be asked later: %+v, want %v", err, later, test.later)
			}
			if v.ExposeText(github.FieldToken) == "" {
				t.Error("the token does not come along")
			}
			if u.Collect(t.Context(), "run-1") == nil {
				t.Error("nothing has changed, and the token counts as collected")
			}
			r.server.set(func(s *server) { s.unrevoked = nil })
			ahead = 2 * time.Minute
			if err := u.Collect(t.Context(), "run-1"); err != nil {
				t.Errorf("once it can be revoked: got %v", err)
			}
			if held := r.server.held(); len(held) != 0 {
				t.Errorf("got %d tokens left, want none", len(held))
			}
		})
	}
}

// TestTokenOfAnOrganizationAlone can be tried, whether or not GitHub tells it its repositories.
func TestTokenOfAnOrganizationAlone(t *testing.T) {
	for _, strict := range []bool{false, true} {
		r := newRig(t)
		r.server.set(func(s *server) { s.strict = strict })
		config := r.config()
		config.Repositories, config.AllRepositories, config.Permissions = nil, true, map[string]string{"members": "read"}
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		second := upstreamtest.Issue(r, u, "run-2", first)
		upstreamtest.Is(r, u, upstream.Accepted, first, "the token")
		decoy, err := u.Decoy(first)
		if err != nil {
			t.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Refused, decoy, "a token that was never issued")
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Refused, first, "the old token")
		upstreamtest.Is(r, u, upstream.Accepted, second, "the new token")
		r.server.set(func(s *server) { s.suspended, s.limited = true, "bare" })
		upstreamtest.Is(r, u, upstream.Unknown, second, "the new token, while GitHub forbids everything")
	}
}

// TestWrongClock: GitHub answers 401 to a signature from its future, from its past, and of a wrong key.
func TestWrongClock(t *testing.T) {
	r := newRig(t)
	for _, ahead := range []time.Duration{0, 45 * time.Second, -45 * time.Second, 24 * time.Hour, -24 * time.Hour, 9 * time.Minute, -2 * time.Minute} {
		config := r.config()
		config.Clock = func() time.Time { return time.Now().Add(ahead) }
		u := r.open(config)
		upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", secret.Value{}), "a token, this machine's clock ahead by "+ahead.String())
	}
}

// TestWrongKeyUnderAWrongClock is still found: GitHub's time is tried once.
func TestWrongKeyUnderAWrongClock(t *testing.T) {
	r := newRig(t)
	_, other := newKey(t)
	right := upstreamtest.Value(t, map[string]string{github.AdminClientID: clientID, github.AdminKey: r.pem})
	wrong := upstreamtest.Value(t, map[string]string{github.AdminClientID: clientID, github.AdminKey: other})
	config := r.config()
	config.Clock = func() time.Time { return time.Now().Add(-time.Hour) }
	config.Admin = upstreamtest.Admins(wrong)
	before := r.server.requests
	_, err := r.open(config).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
	if !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("a wrong key: got %v, want ErrNotApplied", err)
	}
	if got := r.server.requests - before; got != 2 {
		t.Errorf("got %d requests, want 2", got)
	}
	config.Admin = upstreamtest.Admins(wrong, right)
	u := r.open(config)
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", secret.Value{}), "a token by the next key")
}

func TestWhatGitHubRefusesIsNotApplied(t *testing.T) {
	for name, test := range map[string]struct {
		config func(*github.Config)
		server func(*server)
	}{
		"another installation":    {func(c *github.Config) { c.InstallationID = 1 }, nil},
		"a repository it has not": {func(c *github.Config) { c.Repositories = []string{"secrets"} }, nil},
		"a permission it has not": {func(c *github.Config) { c.Permissions = map[string]string{"contents": "admin"} }, nil},
		"suspended":               {nil, func(s *server) { s.suspended = true }},
		"another app": {func(c *github.Config) {
			credentials, _ := c.Admin(context.Background())
			other, _ := credentials[0].With(github.AdminAppID, []byte("1"))
			c.Admin = upstreamtest.Admins(other)
		}, nil},
		"no key": {func(c *github.Config) { c.Admin = upstreamtest.Admins(secret.Value{}) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			config := r.config()
			if test.config != nil {
				test.config(&config)
			}
			if test.server != nil {
				r.server.set(test.server)
			}
			_, err := r.open(config).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			upstreamtest.Hinted(t, upstream.ErrNotApplied, err, name)
			if held := r.server.held(); len(held) != 0 {
				t.Errorf("got %d tokens, want none", len(held))
			}
		})
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	for limit, want := range map[string]time.Duration{"primary": 20 * time.Minute, "secondary": 90 * time.Second, "bare": time.Minute} {
		r.server.set(func(s *server) { s.limited = limit })
		got, err := u.Verify(t.Context(), v)
		later, ok := errors.AsType[*upstream.Later](err)
		if got != upstream.Unknown || !ok || later.After < want-2*time.Second || later.After > want+2*time.Second {
			t.Errorf("%s: got %s (%v), want unknown and to be asked again after about %s", limit, got, err, want)
		}
		if err := u.Revoke(t.Context(), "run-2", v, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("%s: Revoke: got %v, want ErrNotApplied", limit, err)
		}
		if _, err := u.Apply(t.Context(), "run-2", v, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("%s: Apply: got %v, want ErrNotApplied", limit, err)
		}
	}
	// What GitHub does when somebody signs in wrongly too often: the right token is refused by 403 as well.
	r.server.set(func(s *server) { s.limited, s.wrongLimit = "", 2 })
	for range 2 {
		decoy, err := u.Decoy(v)
		if err != nil {
			t.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Refused, decoy, "a decoy")
	}
	upstreamtest.Is(r, u, upstream.Unknown, v, "the right token after too many wrong ones")
	if u.Kind().WrongEvery <= 0 {
		t.Error("a server that locks out, and no pause between wrong sign-ins")
	}
}

func TestAnswersThatDecideNothing(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"401 of something between": upstreamtest.Says(http.StatusUnauthorized, "", "<html>sign in</html>"),
		"200 of something between": upstreamtest.Says(http.StatusOK, "", "<html>welcome</html>"),
		"another object":           upstreamtest.Says(http.StatusOK, "", `{"hello":"world"}`),
		"not found":                upstreamtest.Says(http.StatusNotFound, "", `{"message":"Not Found"}`),
		"error":                    upstreamtest.Says(http.StatusInternalServerError, "", `{"message":"Bad credentials"}`),
		"gateway":                  upstreamtest.Says(http.StatusBadGateway, "", "<html>bad gateway</html>"),
		"starting":                 upstreamtest.Says(http.StatusServiceUnavailable, "", ""),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var elsewhere atomic.Int64
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					elsewhere.Add(1)
				}
				answer(w, r)
			}))
			t.Cleanup(other.Close)
			r := newRig(t)
			v := upstreamtest.Issue(r, r.open(r.config()), "run-1", secret.Value{})
			config := r.config()
			config.URL = other.URL
			u := r.open(config)
			upstreamtest.Is(r, u, upstream.Unknown, v, "the token")
			if err := u.Revoke(t.Context(), "run-2", v, secret.Value{}); err == nil {
				t.Error("Revoke: got no error")
			}
			if _, err := u.Apply(t.Context(), "run-2", v, secret.Value{}); err == nil || errors.Is(err, upstream.ErrRefusedCandidate) {
				t.Errorf("Apply: got %v, want an error that refuses nothing", err)
			}
			if elsewhere.Load() != 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}

// TestAmbiguousAnswers: a token may have been issued.
func TestAmbiguousAnswers(t *testing.T) {
	for _, status := range []int{200, 202, 303, 408, 500, 502, 503, 504} {
		server := httptest.NewServer(upstreamtest.Says(status, "", "{}"))
		t.Cleanup(server.Close)
		r := newRig(t)
		config := r.config()
		config.URL = server.URL
		_, err := r.open(config).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
		upstreamtest.Fails(t, nil, err, fmt.Sprintf("HTTP %d", status))
	}
}

// TestCollectTellsOfLostTokens exactly when one may be left, and how long.
func TestCollectTellsOfLostTokens(t *testing.T) {
	r := newRig(t)
	proxy := realparts.NewProxy(t, r.server.Listener.Addr().String())
	config := r.config()
	config.URL = "https://" + proxy.Address()
	var told []time.Time
	config.Tell = func(_ context.Context, _ authority.RunID, dead time.Time) { told = append(told, dead) }
	u := r.open(config)
	upstreamtest.Issue(r, u, "run-1", secret.Value{})
	collect := func() {
		t.Helper()
		if err := u.Collect(t.Context(), "run-1"); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	if held := r.server.held(); len(held) != 0 || len(told) != 0 {
		t.Errorf("every reply came: got %d tokens left and %d told of, want none", len(held), len(told))
	}
	for replies := 0; len(r.server.held()) == 0 && replies < 10; replies++ { // the first are those of the handshake
		proxy.Cut(replies)
		if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{}); err == nil {
			t.Error("a lost reply: got no error")
		}
		proxy.Mend()
	}
	collect()
	if len(told) != 1 || told[0].Before(time.Now().Add(59*time.Minute)) {
		t.Errorf("a lost reply: told %v, want once, of an hour", told)
	}
	if held := r.server.held(); len(held) != 1 {
		t.Fatalf("got %d tokens, want the orphan: without one this test shows nothing", len(held))
	}
	r.server.set(func(s *server) { s.ahead = time.Hour + time.Second })
	if held := r.server.held(); len(held) != 0 {
		t.Error("the orphan outlives its hour")
	}
	collect()
	if len(told) != 1 {
		t.Errorf("told %d times of one orphan", len(told))
	}
}

// TestLostTokenIsToldOfThoughAnotherCame: the run asked again before anybody collected.
func TestLostTokenIsToldOfThoughAnotherCame(t *testing.T) {
	r := newRig(t)
	lose := httptest.NewServer(upstreamtest.Says(http.StatusBadGateway, "", ""))
	t.Cleanup(lose.Close)
	config := r.config()
	told := 0
	config.Tell = func(context.Context, authority.RunID, time.Time) { told++ }
	u := r.open(config)
	right := u.URL
	u.URL = lose.URL
	_, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
	upstreamtest.Fails(t, nil, err, "no reply of GitHub's")
	u.URL = right
	upstreamtest.Issue(r, u, "run-1", secret.Value{})
	if err := u.Collect(t.Context(), "run-1"); err != nil {
		t.Fatal(err)
	}
	if told != 1 {
		t.Errorf("told %d times of a token that may be left, want once", told)
	}
}

func TestConfigIsChecked(t *testing.T) {
	r := newRig(t)
	for name, test := range map[string]struct {
		change func(*github.Config)
		ok     bool
	}{
		"as it should be":       {func(*github.Config) {}, true},
		"github.com":            {func(c *github.Config) { c.URL = "" }, true},
		"enterprise":            {func(c *github.Config) { c.URL = "https://github.example.org/api/v3/" }, true},
		"http elsewhere":        {func(c *github.Config) { c.URL = "http://github.example.org/api/v3" }, false},
		"no address":            {func(c *github.Config) { c.URL = "github.example.org" }, false},
		"no clock":              {func(c *github.Config) { c.Clock = nil }, false},
		"no admin":              {func(c *github.Config) { c.Admin = nil }, false},
		"no installation":       {func(c *github.Config) { c.InstallationID = 0 }, false},
		"no repositories":       {func(c *github.Config) { c.Repositories = nil }, false},
		"all repositories":      {func(c *github.Config) { c.Repositories, c.AllRepositories = nil, true }, true},
		"all and some":          {func(c *github.Config) { c.AllRepositories = true }, false},
		"owner":                 {func(c *github.Config) { c.Repositories = []string{"example/orders"} }, false},
		"too many":              {func(c *github.Config) { c.Repositories = strings.Split(strings.Repeat("x ", 501), " ") }, false},
		"no permissions":        {func(c *github.Config) { c.Permissions = nil }, false},
		"unknown level":         {func(c *github.Config) { c.Permissions = map[string]string{"contents": "all"} }, false},
		"certificate not PEM":   {func(c *github.Config) { c.CACertificate = "x" }, false},
		"negative deadline":     {func(c *github.Config) { c.CallDeadline = -1 }, false},
		"negative settle time":  {func(c *github.Config) { c.Settle = -1 }, false},
		"address with a secret": {func(c *github.Config) { c.URL = "https://a:b@github.example.org" }, false},
	} {
		config := r.config()
		test.change(&config)
		if _, err := github.New(config); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want ok %v", name, err, test.ok)
		}
	}
}

func TestDescription(t *testing.T) {
	d := github.Type().Describe()[0]
	for _, mode := range d.Modes {
		if err := mode.Kind.Check(); err != nil {
			t.Errorf("%s: %v", mode.Name, err)
		}
	}
	if !strings.HasPrefix(d.Page, "## Documents\n") || !strings.Contains(d.Tried, "never run against github.com") {
		t.Errorf("the page begins with %.20q, and was tried against %q", d.Page, d.Tried)
	}
}
