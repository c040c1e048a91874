// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"context"
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

// What stands before the upstream answers 200 with a page of its own: that is no empty list and no credential.
func TestWhatIsNotJSONIsNoAnswer(t *testing.T) {
	t.Parallel()
	lenient := strings.NewReplacer("items: response.body.keys", "items: response.body.?keys.orValue([])",
		"key: response.body.key", `key: 'response.body.?key.orValue("")'`, "id: string(response.body.id)", `id: 'string(response.body.?id.orValue(1))'`,
	).Replace(labRecipe(byBearer, byCursor))
	for name, page := range map[string]string{"a page": "<html>sign in</html>", "nothing": "", "half of it": `{"keys": [`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lab{pages: "cursor"}
			_, u := inLab(t, lenient, l, nil)
			v := apply(t, u, "run-1", secret.Value{})
			next := apply(t, u, "run-2", secret.Value{})
			l.answers(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodDelete || r.URL.Path == "/api/self" {
					return false
				}
				_, _ = w.Write([]byte(page))
				return true
			})
			if err := u.Powers().(upstream.Collector).Collect(t.Context(), "run-1"); err == nil {
				t.Error("Collect: got no error")
			}
			if err := u.Revoke(t.Context(), "run-2", v, next); err == nil {
				t.Error("Revoke: got no error")
			}
			if uses, err := u.Powers().(upstream.Witness).Uses(t.Context(), v, time.Unix(0, 0)); err == nil {
				t.Errorf("Uses: got %d and no error", len(uses))
			}
			if _, err := u.Apply(t.Context(), "run-3", secret.Value{}, secret.Value{}); err == nil || errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("Apply: got %v, want an error that leaves it open", err)
			}
			if got := len(l.labels(t)); got != 2 {
				t.Errorf("got %d keys, want both left alone", got)
			}
		})
	}
}

// tokenRecipe verifies a client's secret by a token of its own.
func tokenRecipe(more string) string {
	own := strings.Replace(labRecipe(byBearer, byCursor), `auth: {header: {name: X-Key, value: "${secret.key}"}}`,
		`auth: {oauth2: {request: POST /oauth/token, at: login, clientId: "a client:1", clientSecret: "${secret.key}"`+more+`}}`, 1)
	return strings.NewReplacer("        - {when: response.status == 401, then: refused}\n", "").Replace(own)
}

func TestTokenEndpointsRefuse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		more, word string
		status     int
		want       upstream.Verdict
	}{
		{"", "invalid_client", 401, upstream.Refused},
		{"", "invalid_client", 400, upstream.Refused},
		{"", "invalid_client", 500, upstream.Unknown},
		{"", "invalid_grant", 400, upstream.Unknown}, // a clock that is off, an account that is disabled
		{"", "unauthorized_client", 400, upstream.Unknown},
		{"", "invalid_scope", 400, upstream.Unknown},
		{", refused: [invalid_grant]", "invalid_grant", 400, upstream.Refused},
		{", refused: [invalid_grant]", "invalid_client", 401, upstream.Unknown},
	} {
		t.Run(fmt.Sprint(test.word, test.status, test.more), func(t *testing.T) {
			t.Parallel()
			l := &lab{respond: func(w http.ResponseWriter, r *http.Request) bool {
				answer(w, test.status, map[string]string{"error": test.word})
				return true
			}}
			_, u := inLab(t, tokenRecipe(test.more), l, func(f *fake, c *adapter.Config) {
				c.Endpoints = map[string]string{"login": f.address()}
			})
			verdict(t, u, text(t, map[string]string{"key": "some-key"}), test.want)
		})
	}
}

// RFC 6749, 2.3.1: id and secret of a client are form-encoded before they become user name and password.
func TestClientCredentialsAreEncoded(t *testing.T) {
	t.Parallel()
	const odd = "per%cent+plus &colon:"
	for name, test := range map[string]struct{ recipe, user, password string }{
		"oauth2": {tokenRecipe(""), "a+client%3A1", "per%25cent%2Bplus+%26colon%3A"},
		"basic, encoded": {strings.Replace(labRecipe(byBearer, byCursor), `{header: {name: X-Key, value: "${secret.key}"}}`,
			`{basic: {username: "a client:1", password: "${secret.key}", encoded: true}}`, 1), "a+client%3A1", "per%25cent%2Bplus+%26colon%3A"},
		"basic": {strings.Replace(labRecipe(byBearer, byCursor), `{header: {name: X-Key, value: "${secret.key}"}}`,
			`{basic: {username: "client", password: "${secret.key}"}}`, 1), "client", odd},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lab{respond: func(w http.ResponseWriter, r *http.Request) bool {
				user, password, ok := r.BasicAuth()
				switch {
				case r.Header.Get("Authorization") == "Bearer given":
					w.WriteHeader(http.StatusOK)
				case !ok || user != test.user || password != test.password:
					answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
				default:
					answer(w, http.StatusOK, map[string]string{"access_token": "given"})
				}
				return true
			}}
			_, u := inLab(t, test.recipe, l, func(f *fake, c *adapter.Config) {
				c.Endpoints = map[string]string{"login": f.address()}
			})
			verdict(t, u, text(t, map[string]string{"key": odd}), upstream.Accepted)
		})
	}
}

// A rule that takes 403 for a wrong credential does not make one of a rate limit; a quota is told by its own rule though
// its status is that of throttling.
func TestThrottlingAndTheRecipesReplies(t *testing.T) {
	t.Parallel()
	source := strings.NewReplacer("response.status == 401, then: refused", "response.status == 403, then: refused",
		"response.status == 409 &&", "response.status == 429 &&").Replace(labRecipe(byBearer, byCursor))
	l := &lab{pages: "cursor"}
	_, u := inLab(t, source, l, nil)
	first := apply(t, u, "run-1", secret.Value{})
	l.answers(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/api/self":
			w.Header().Set("X-RateLimit-Remaining", "0")
			answer(w, http.StatusForbidden, nil)
		case r.Method == http.MethodPost:
			answer(w, http.StatusTooManyRequests, map[string]string{"code": "too_many"})
		default:
			return false
		}
		return true
	})
	verdict(t, u, first, upstream.Unknown)
	_, err := u.Apply(t.Context(), "run-2", secret.Value{}, secret.Value{})
	if _, later := errors.AsType[*upstream.Later](err); later || !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(err.Error(), "it has 1") {
		t.Errorf("a quota: got %v, want not applied, what is there, and nothing about later", err)
	}
}

// One step made a key before the next found no admin credential to sign with: that is never nothing.
func TestAnAdminThatIsMissingAfterAChange(t *testing.T) {
	t.Parallel()
	source := strings.NewReplacer("keys\n      json:", "keys\n      auth: none\n      json:",
		"  value: {key: steps.made.key", "    - name: seen\n      request: GET /services/${params.service}/keys\n  value: {key: steps.made.key").
		Replace(labRecipe(byBearer, byCursor))
	for name, admin := range map[string]func(context.Context) ([]secret.Value, error){
		"none": func(context.Context) ([]secret.Value, error) { return nil, nil },
		"unread": func(context.Context) ([]secret.Value, error) {
			return nil, &upstream.Error{Class: upstream.ErrNotApplied}
		},
		"unread, as another says it": func(context.Context) ([]secret.Value, error) {
			return nil, fmt.Errorf("reading: %w", upstream.ErrNotApplied)
		},
	} {
		l := &lab{pages: "cursor", signed: func(*http.Request) bool { return true }}
		_, u := inLab(t, source, l, func(_ *fake, config *adapter.Config) { config.Admin = admin })
		_, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
		if err == nil || errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(err.Error(), "reading the admin credential") {
			t.Errorf("%s: got %v, want that the admin credential cannot be read, and not that nothing was applied", name, err)
		}
		if got := len(l.labels(t)); got != 1 {
			t.Errorf("%s: got %d keys, want the one that was made", name, got)
		}
	}
}
