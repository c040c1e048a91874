// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// TestRegisteredOtherwiseAndNotDeleted: a client is left, so no error may say that nothing was applied, whatever deleting
// it said; the client comes along, for whoever can take it back later.
func TestRegisteredOtherwiseAndNotDeleted(t *testing.T) {
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	const object = "application/json"
	accepts := upstreamtest.Says(200, object, `{"access_token":"x"}`)
	for name, test := range map[string]struct {
		register func(map[string]any)
		manage   http.HandlerFunc
		token    http.HandlerFunc
		later    bool
	}{
		"no token to delete it by":    {func(c map[string]any) { delete(c, "registration_access_token") }, nil, accepts, false},
		"a token that may not delete": {nil, upstreamtest.Says(403, object, `{}`), accepts, false},
		"asked too often":             {nil, upstreamtest.Says(429, object, `{}`), accepts, true},
		"an error of the provider":    {nil, upstreamtest.Says(500, object, `{}`), accepts, false},
		"its address is away":         {func(c map[string]any) { c["registration_client_uri"] = away.URL + "/one" }, nil, accepts, false},
		"who lets it in is away": {nil, upstreamtest.Says(401, object, `{}`), func(w http.ResponseWriter, _ *http.Request) {
			panic(http.ErrAbortHandler)
		}, false},
		"refused, perhaps by delay": {nil, upstreamtest.Says(401, object, `{}`), upstreamtest.Says(401, object, `{"error":"invalid_client"}`), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.registers(func(c map[string]any) {
				c["grant_types"] = []string{"refresh_token"}
				if test.register != nil {
					test.register(c)
				}
			})
			var gone atomic.Bool // a person has deleted it
			p.token = func(w http.ResponseWriter, r *http.Request) {
				if gone.Load() {
					say(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
					return
				}
				test.token(w, r)
			}
			p.manage = func(w http.ResponseWriter, r *http.Request) {
				if gone.Load() {
					say(w, http.StatusUnauthorized, map[string]string{})
					return
				}
				test.manage(w, r)
			}
			config := p.config(t)
			config.EndpointHosts = []string{strings.TrimPrefix(away.URL, "http://")}
			ahead := time.Duration(0)
			config.Settle, config.Clock = time.Minute, func() time.Time { return time.Now().Add(ahead) }
			u := open(t, config).Collecting()
			v, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			if err == nil {
				t.Fatal("got no error")
			}
			upstreamtest.Fails(t, nil, err, "a client is left")
			if later, ok := errors.AsType[*upstream.Later](err); ok != test.later {
				t.Errorf("got %v; is to be asked later: %+v, want %v", err, later, test.later)
			}
			if v.ExposeText(oidc.FieldID) != "one" || !strings.Contains(err.Error(), "grant_types") {
				t.Errorf("got %v and the client %q, want what was otherwise, and the client", err, v.ExposeText(oidc.FieldID))
			}
			if u.Collect(t.Context(), "run-1") == nil {
				t.Error("nothing has changed, and the client counts as collected")
			}
			ahead = 2 * time.Minute
			gone.Store(true)
			collected := u.Collect(t.Context(), "run-1")
			if unreachable := name == "its address is away"; (collected != nil) != unreachable {
				t.Errorf("once it is gone: got %v", collected)
			}
		})
	}
}

// TestRefusalJustAfterTheStartIsNoDeletion: another process may have registered the client just before.
func TestRefusalJustAfterTheStartIsNoDeletion(t *testing.T) {
	p := newProvider(t)
	p.manage = upstreamtest.Says(401, "application/json", `{}`)
	p.token = upstreamtest.Says(401, "application/json", `{"error":"invalid_client"}`)
	config := p.config(t)
	now := time.Now()
	config.Settle, config.Clock = 5*time.Second, func() time.Time { return now }
	u := open(t, config)
	revoke := func() error { return u.Revoke(t.Context(), "run-1", client(t, p), secret.Value{}) }
	later, ok := errors.AsType[*upstream.Later](revoke())
	if !ok || later.After != 5*time.Second || errors.Is(later, upstream.ErrNotApplied) {
		t.Errorf("got %v, want to be asked again after the settle time", later)
	}
	now = now.Add(-time.Hour) // the clock is put back
	if later, ok := errors.AsType[*upstream.Later](revoke()); !ok || later.After != 5*time.Second {
		t.Errorf("the clock put back: got %+v, want no more than the settle time", later)
	}
	now = now.Add(5 * time.Second)
	if err := revoke(); err != nil {
		t.Errorf("after the settle time: got %v", err)
	}
}
