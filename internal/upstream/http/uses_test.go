// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"
)

func TestUsesLeaveOwnSignInsOut(t *testing.T) {
	t.Parallel()
	l := &lab{pages: "cursor"}
	_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
	v := apply(t, u, "run-1", secret.Value{})
	uses := func(u *adapter.Upstream, since time.Time) []upstream.Use {
		t.Helper()
		got, err := u.Powers().(upstream.Witness).Uses(t.Context(), v, since)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	hourAgo := time.Now().Add(-time.Hour)
	if got := uses(u, hourAgo); len(got) != 0 {
		t.Errorf("before any use: got %v, want none", got)
	}
	verdict(t, u, v, upstream.Accepted)
	if got := uses(u, hourAgo); len(got) != 0 {
		t.Errorf("after Custody's own sign-in: got %v, want none", got)
	}
	_, other := inLab(t, labRecipe(byBearer, byCursor), l, nil)
	if got := uses(other, hourAgo); len(got) != 1 {
		t.Errorf("to a process that did not sign in: got %v, want the use", got)
	}
	l.mu.Lock()
	l.keys[0].Used = time.Now().Add(-10 * time.Minute).Unix()
	l.mu.Unlock()
	if got := uses(u, hourAgo); len(got) != 1 || time.Since(got[0].Last).Round(time.Minute) != 10*time.Minute {
		t.Errorf("after somebody's: got %v, want one ten minutes ago", got)
	}
	if got := uses(u, time.Now().Add(-time.Minute)); len(got) != 0 {
		t.Errorf("since a minute ago: got %v, want none", got)
	}
	if _, err := u.Powers().(upstream.Witness).Uses(t.Context(), text(t, map[string]string{"key": "unknown-key"}), hourAgo); err == nil {
		t.Error("of a key that is not there: got no error")
	}
}

func TestRevokeRefusesTheSuccessorsIdentity(t *testing.T) {
	t.Parallel()
	l := &lab{pages: "cursor"}
	_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
	apply(t, u, "run-1", secret.Value{})
	v := apply(t, u, "run-2", secret.Value{})
	key := v.ExposeText("key")
	// Another secret, which by its id and its first letters would be the successor.
	alike, err := v.With("key", []byte(key[:len(key)-4]+"zzzz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Revoke(t.Context(), "run-2", alike, v); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("got %v, want ErrNotApplied", err)
	}
	if got := len(l.labels(t)); got != 2 {
		t.Errorf("got %d keys, want both", got)
	}
	verdict(t, u, v, upstream.Accepted)
}

// since is already as far back as evidence is coarse: what lies before it is not taken for a use once more.
func TestUsesKeepToSince(t *testing.T) {
	t.Parallel()
	l := &lab{pages: "cursor"}
	_, u := inLab(t, strings.Replace(labRecipe(byBearer, byCursor), "fine: 1s", "fine: 1h", 1), l, nil)
	v := apply(t, u, "run-1", secret.Value{})
	l.mu.Lock()
	l.keys[0].Used = time.Now().Add(-90 * time.Minute).Unix()
	label := l.keys[0].Label
	l.mu.Unlock()
	for back, want := range map[time.Duration]int{time.Hour: 0, 2 * time.Hour: 1} {
		got, err := u.Powers().(upstream.Witness).Uses(t.Context(), v, time.Now().Add(-back))
		if err != nil || len(got) != want {
			t.Errorf("used 90 minutes ago, asked for the last %s: got %v, %v, want %d", back, got, err, want)
		}
		for _, use := range got { // the recipe does not say who: a finding names somebody all the same
			if !strings.HasPrefix(use.Who, "somebody with ") || !strings.Contains(use.Who, label) {
				t.Errorf("who: got %q, want somebody with the credential's name", use.Who)
			}
		}
	}
}

func TestWhoIsTheRecipesToSay(t *testing.T) {
	t.Parallel()
	l := &lab{pages: "cursor"}
	for who, want := range map[string]string{`'"the app"'`: "the app", `'""'`: "somebody with "} {
		source := strings.Replace(labRecipe(byBearer, byCursor), "  last: target.used\n", "  last: target.used\n  who: "+who+"\n", 1)
		_, u := inLab(t, source, l, nil)
		v := apply(t, u, "run-1", secret.Value{})
		l.mu.Lock()
		l.keys[len(l.keys)-1].Used = time.Now().Unix()
		l.mu.Unlock()
		got, err := u.Powers().(upstream.Witness).Uses(t.Context(), v, time.Unix(0, 0))
		if err != nil || len(got) != 1 || !strings.HasPrefix(got[0].Who, want) {
			t.Errorf("%s: got %v, %v, want one by %s", who, got, err, want)
		}
	}
}

// oldGitea is Gitea before 1.24, or Forgejo: its list does not say when a token was made or used.
func oldGitea() *service {
	const base = "/api/v1/users/ci/tokens"
	basic := func(route func(*service, http.ResponseWriter, *http.Request)) func(*service, http.ResponseWriter, *http.Request) {
		return func(s *service, w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != s.admin {
				answer(w, http.StatusUnauthorized, nil)
				return
			}
			route(s, w, r)
		}
	}
	return newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST " + base: basic(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				Name string `json:"name"`
			}
			_ = decodeBody(r, &body)
			one, _ := s.issue(body.Name, func(string) string { return digits(20) })
			answer(w, http.StatusCreated, map[string]any{"id": json.Number(one.id), "name": one.name, "sha1": one.secret})
		}),
		"GET " + base: basic(func(s *service, w http.ResponseWriter, r *http.Request) {
			list := []map[string]any{}
			for _, one := range s.live() {
				if r.URL.Query().Get("page") == "1" {
					list = append(list, map[string]any{"id": json.Number(one.id), "name": one.name, "token_last_eight": one.secret[32:]})
				}
			}
			answer(w, http.StatusOK, list)
		}),
		"DELETE " + base + "/{id}": basic(func(s *service, w http.ResponseWriter, r *http.Request) {
			s.find(r.PathValue("id")).to = time.Now()
			w.WriteHeader(http.StatusNoContent)
		}),
		"GET /api/v1/version": func(s *service, w http.ResponseWriter, r *http.Request) {
			if !s.honoured(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
				answer(w, http.StatusUnauthorized, map[string]string{"message": "user does not exist"})
				return
			}
			answer(w, http.StatusOK, map[string]string{"version": "1.22.0"})
		},
	})
}

func TestGiteaThatDoesNotTellOfUse(t *testing.T) {
	t.Parallel()
	for _, tells := range []bool{true, false} {
		t.Run(fmt.Sprint(tells), func(t *testing.T) {
			s := oldGitea()
			s.delay = 0
			f := newFake(t, s)
			config := f.config(brisk(t, "gitea-token"), text(t, map[string]string{"username": "ci", "password": s.admin}))
			config.Parameters = map[string]any{"user": "ci", "scopes": []any{"read:repository"}, "lastUse": tells}
			u := f.upstream(t, config)
			first, second := apply(t, u, "run-1", secret.Value{}), apply(t, u, "run-2", secret.Value{})
			apply(t, u, "run-3", secret.Value{})
			collect(t, u, "run-3")
			witness, able := u.Powers().(upstream.Witness)
			if able != tells || (u.Kind().Evidence != nil) != tells {
				t.Errorf("it can tell: got %t and evidence %v, want %t", able, u.Kind().Evidence, tells)
			}
			if able {
				uses, err := witness.Uses(t.Context(), first, time.Unix(0, 0))
				if err == nil || !strings.Contains(err.Error(), "does not say when") {
					t.Errorf("got %d uses and %v; that nothing is said is no proof", len(uses), err)
				}
			}
			if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
				t.Errorf("Revoke: %v", err)
			}
			verdict(t, u, first, upstream.Refused)
			verdict(t, u, second, upstream.Accepted)
			if err := adapter.Try(t.Context(), config, secret.Value{}, adapter.Patience, func(adapter.Trial) {}); (err != nil) != tells {
				t.Errorf("trying: got %v, want an error: %t", err, tells)
			}
			if got := s.names(t); len(got) != 1 {
				t.Errorf("got %d tokens, want the one of run-2", len(got))
			}
		})
	}
}
