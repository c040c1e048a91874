// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// forge is the real Gitea and where it is asked: by TLS, or by way of a front without it.
type forge struct {
	*realparts.GiteaServer
	asked, authority string
	// adding: one user at a time is made.
	adding *sync.Mutex
}

// plain is the same server asked without TLS, which makes every reply one that can be lost and every call cheaper.
func (f *forge) plain(t *testing.T) *forge {
	t.Helper()
	target, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(f.CACertificate))
	front := httputil.NewSingleHostReverseProxy(target)
	front.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
	front.ErrorLog = log.New(io.Discard, "", 0) // callers that go away
	served := httptest.NewServer(front)
	t.Cleanup(served.Close)
	return &forge{GiteaServer: f.GiteaServer, asked: served.URL, adding: f.adding}
}

// rig is one account on the real Gitea, behind a proxy.
type rig struct {
	*adapter.Upstream
	server *forge
	proxy  *realparts.Proxy
	user   string
	admin  secret.Value
	clock  *atomic.Int64
}

var accounts atomic.Int64

func text(t *testing.T, fields map[string]string) secret.Value {
	t.Helper()
	v, err := secret.Text(fields)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// newRig makes a user for one test. change may alter the configuration.
func newRig(t *testing.T, server *forge, name string, change func(*adapter.Config)) *rig {
	t.Helper()
	compiled, err := recipe.Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	scheme, address, _ := strings.Cut(server.asked, "://")
	r := &rig{
		server: server, proxy: realparts.NewProxy(t, address),
		user: "robot-" + string(rune('a'+accounts.Add(1)%26)) + time.Now().Format("150405.000000")[7:], clock: new(atomic.Int64),
	}
	server.adding.Lock()
	r.admin, err = server.AddUser(t.Context(), r.user)
	server.adding.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	config := adapter.Config{
		Recipe: compiled, URL: scheme + "://" + r.proxy.Address(), CACertificate: server.authority, Claim: "shop/test/ci-token",
		Clock: func() time.Time { return time.Now().Add(time.Duration(r.clock.Load())) },
	}
	credential := r.admin
	switch name {
	case "gitea-token":
		config.Parameters = map[string]any{"user": r.user, "scopes": []any{"read:repository"}}
	default:
		config.Parameters = map[string]any{"redirectURIs": []any{"https://app.example.org/callback"}}
		credential = text(t, map[string]string{"token": r.token(t, "for-custody", "write:user")})
	}
	config.Admin = func(context.Context) ([]secret.Value, error) {
		return []secret.Value{credential}, nil
	}
	if change != nil {
		change(&config)
	}
	if r.Upstream, err = adapter.New(config); err != nil {
		t.Fatal(err)
	}
	return r
}

// call asks the server itself, past Custody and proxy, as the user.
func (r *rig) call(t *testing.T, method, path string, body, into any) {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+path, bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(r.user, r.admin.ExposeText("password"))
	response, err := r.server.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %v", method, path, response.StatusCode, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatal(err)
		}
	}
}

// token makes one by hand.
func (r *rig) token(t *testing.T, name string, scopes ...string) string {
	t.Helper()
	var made struct {
		Token string `json:"sha1"`
	}
	r.call(t, http.MethodPost, "/api/v1/users/"+r.user+"/tokens", map[string]any{"name": name, "scopes": scopes}, &made)
	return made.Token
}

type listed struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

func (r *rig) tokens(t *testing.T) (out []string) {
	t.Helper()
	for page := 1; ; page++ {
		var list []listed
		r.call(t, http.MethodGet, "/api/v1/users/"+r.user+"/tokens?limit=50&page="+string(rune('0'+page)), nil, &list)
		if len(list) == 0 {
			return out
		}
		for _, one := range list {
			out = append(out, one.Name)
		}
	}
}

func (r *rig) fixture() upstreamtest.Fixture {
	return upstreamtest.Fixture{
		Upstream: r.Powers(), Break: r.proxy.Break, Mend: r.proxy.Mend, Cut: r.proxy.Cut, Hold: r.proxy.Hold,
		Skew: func(by time.Duration) { r.clock.Add(int64(by)) }, Log: r.server.Log,
	}
}

func TestOnRealGitea(t *testing.T) {
	t.Parallel()
	gitea := realparts.Gitea(t, realparts.GiteaOptions{})
	server := &forge{GiteaServer: gitea, asked: gitea.URL, authority: gitea.CACertificate, adding: &sync.Mutex{}}
	atOnce(t, map[string]func(*testing.T){
		"Suite": func(t *testing.T) {
			upstreamtest.ParallelForms(t, []upstreamtest.Form{
				{Name: "Token", Fresh: giteaToken(server)},
				{Name: "OAuthApplication", Fresh: giteaOAuthApplication(t, server)},
			})
		},
		"TokenSpecials": func(t *testing.T) { giteaTokenSpecials(t, server) },
		"Trial":         func(t *testing.T) { giteaTrial(t, server) },
	})
}

func giteaToken(server *forge) func(*testing.T) upstreamtest.Fixture {
	return func(t *testing.T) upstreamtest.Fixture {
		r := newRig(t, server, "gitea-token", nil)
		f := r.fixture()
		f.Held = r.tokens
		return f
	}
}

func giteaOAuthApplication(t *testing.T, server *forge) func(*testing.T) upstreamtest.Fixture {
	plain := server.plain(t)
	return func(t *testing.T) upstreamtest.Fixture {
		by := plain
		if strings.HasSuffix(t.Name(), unreachable) {
			by = server
		}
		r := newRig(t, by, "gitea-oauth-application", nil)
		f := r.fixture()
		f.Held = func(t *testing.T) (out []string) {
			var list []listed
			r.call(t, http.MethodGet, "/api/v1/user/applications/oauth2?limit=50", nil, &list)
			for _, one := range list {
				out = append(out, one.Name)
			}
			return out
		}
		return f
	}
}

func giteaTokenSpecials(t *testing.T, server *forge) {
	t.Run("HandedOverWithoutID", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", nil)
		old := text(t, map[string]string{"token": r.token(t, "made by hand", "read:repository")})
		second := apply(t, r.Upstream, "run-2", old)
		verdict(t, r.Upstream, old, upstream.Accepted)
		if err := r.Revoke(t.Context(), "run-2", old, second); err != nil {
			t.Fatal(err)
		}
		verdict(t, r.Upstream, old, upstream.Refused)
		verdict(t, r.Upstream, second, upstream.Accepted)
	})

	t.Run("ForeignTokensStay", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", nil)
		r.token(t, "a person's", "read:repository")
		other := newRig(t, server, "gitea-token", func(c *adapter.Config) { c.Claim = "shop/prod/ci-token" })
		_ = other
		apply(t, r.Upstream, "run-1", secret.Value{})
		apply(t, r.Upstream, "run-10", secret.Value{})
		collect(t, r.Upstream, "run-1")
		left := r.tokens(t)
		if len(left) != 2 || left[0] != "a person's" && left[1] != "a person's" {
			t.Errorf("got %q, want the person's token and that of run-10", left)
		}
	})

	t.Run("OrphanBeyondFirstPageIsCollected", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", nil)
		for i := range 55 {
			r.token(t, "many-"+time.Duration(i).String(), "read:repository")
		}
		orphan := apply(t, r.Upstream, "run-1", secret.Value{})
		collect(t, r.Upstream, "run-1")
		verdict(t, r.Upstream, orphan, upstream.Refused)
		if got := len(r.tokens(t)); got != 55 {
			t.Errorf("got %d tokens, want the 55 made by hand", got)
		}
	})

	t.Run("UsesTellOfOthersOnly", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", nil)
		v := apply(t, r.Upstream, "run-1", secret.Value{})
		uses := func() []upstream.Use {
			t.Helper()
			got, err := r.Powers().(upstream.Witness).Uses(t.Context(), v, time.Now().Add(-time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := uses(); len(got) != 0 {
			t.Errorf("before any use: got %v, want none", got)
		}
		verdict(t, r.Upstream, v, upstream.Accepted)
		if got := uses(); len(got) != 0 {
			t.Errorf("after Custody's own sign-in: got %v, want none", got)
		}
		// Somebody else's, later than the resolution of the times.
		began := time.Now()
		for len(uses()) == 0 {
			time.Sleep(300 * time.Millisecond)
			asUser(t, server, "/api/v1/version", v.ExposeText("token"))
		}
		if got := uses(); len(got) != 1 || got[0].Last.Before(began.Add(-5*time.Second)) || got[0].Last.After(time.Now().Add(5*time.Second)) {
			t.Errorf("after somebody's sign-in: got %v, want one just now", got)
		}
		got, err := r.Powers().(upstream.Witness).Uses(t.Context(), v, time.Now().Add(time.Minute))
		if err != nil || len(got) != 0 {
			t.Errorf("since later: got %v, %v, want none", got, err)
		}
	})

	t.Run("SecondAdminIsTaken", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", func(c *adapter.Config) {
			admin := c.Admin
			c.Admin = func(ctx context.Context) ([]secret.Value, error) {
				right, err := admin(ctx)
				return append([]secret.Value{text(t, map[string]string{"username": right[0].ExposeText("username"), "password": "changed-since"})}, right...), err
			}
		})
		verdict(t, r.Upstream, apply(t, r.Upstream, "run-1", secret.Value{}), upstream.Accepted)
	})

	t.Run("WrongScopeIsNotApplied", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", func(c *adapter.Config) { c.Parameters["scopes"] = []any{"read:nonsense"} })
		_, err := r.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
		if !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("got %v, want ErrNotApplied", err)
		}
		if got := r.tokens(t); len(got) != 0 {
			t.Errorf("got %q, want no token", got)
		}
	})

	t.Run("AnotherUsersAdminIsRefused", func(t *testing.T) {
		r := newRig(t, server, "gitea-token", func(c *adapter.Config) { c.Parameters["user"] = "custody-test-root" })
		_, err := r.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
		if !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("got %v, want ErrNotApplied", err)
		}
	})

	t.Run("Counts", func(t *testing.T) {
		var calls atomic.Int64
		r := newRig(t, server, "gitea-token", func(c *adapter.Config) {
			admin := c.Admin
			c.Admin = func(ctx context.Context) ([]secret.Value, error) {
				calls.Add(1)
				return admin(ctx)
			}
		})
		v := apply(t, r.Upstream, "run-1", secret.Value{})
		if diff := cmp.Diff([]string{"id", "token"}, v.Names()); diff != "" {
			t.Errorf("fields (-want +got):\n%s", diff)
		}
		if calls.Load() != 1 {
			t.Errorf("the admin credential was read %d times, want once", calls.Load())
		}
	})
}

func asUser(t *testing.T, server *forge, path, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := server.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

func giteaTrial(t *testing.T, server *forge) {
	for _, name := range []string{"gitea-token", "gitea-oauth-application"} {
		t.Run(name, func(t *testing.T) {
			var config adapter.Config
			r := newRig(t, server, name, func(c *adapter.Config) { config = *c })
			before := r.tokens(t)
			var steps []string
			if err := adapter.Try(t.Context(), config, secret.Value{}, adapter.Patience, func(s adapter.Trial) {
				if s.Means == "" {
					steps = append(steps, s.Step)
				}
			}); err != nil {
				t.Errorf("got %v after the steps %q", err, steps)
			}
			if diff := cmp.Diff(before, r.tokens(t)); diff != "" {
				t.Errorf("tokens (-before +after):\n%s", diff)
			}
		})
	}
}
