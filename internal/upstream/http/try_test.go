// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"

	"github.com/google/go-cmp/cmp"
)

func TestTrialKeepsNothing(t *testing.T) {
	t.Parallel()
	l := &lab{
		pages: "cursor", delay: 20 * time.Millisecond, keys: []labKey{{ID: 1, Label: "a person's", First: "zzz"}},
		signed: bearer, tokens: map[string]bool{},
	}
	var steps []string
	cleaned := error(nil)
	try := func(ctx context.Context, source string, change func(*fake, *adapter.Config)) error {
		steps, cleaned = nil, nil
		f := newFake(t, l)
		config := f.config(compile(t, source), labAdmin(t))
		config.URL += "/api"
		config.Parameters = map[string]any{"service": "shop"}
		if change != nil {
			change(f, &config)
		}
		return adapter.Try(ctx, config, secret.Value{}, adapter.Patience, func(s adapter.Trial) {
			if s.Means == "" {
				steps = append(steps, s.Step)
				cleaned = s.Err // the last one's
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, key := range l.keys {
				if said := fmt.Sprintf("%+v", s); len(key.key) > 0 && strings.Contains(said, key.key) {
					t.Errorf("a step shows the key: %s", said)
				}
			}
		})
	}
	// A change shows after the lab's delay, which a trial whose waits are shortened does not wait for. A minute ends a test that
	// would fail.
	left := func() {
		t.Helper()
		var got []string
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(l.delay) {
			if got = l.labels(t); slices.Equal(got, []string{"a person's"}) {
				return
			}
		}
		t.Errorf("left behind: got %q, want the person's key alone", got)
	}
	whole := labRecipe(byBearer, byCursor)

	if err := try(t.Context(), whole, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"create", "verify", "decoy", "list", "usage", "revoke", "refused"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	left()

	// A recipe that verifies by what anybody may read, one that finds nothing, one whose revoke does nothing.
	for name, broken := range map[string]string{
		"accepts anything": strings.ReplaceAll(whole, "response.status == 401, then: refused", "response.status == 401, then: accepted"),
		"finds nothing":    strings.ReplaceAll(whole, "secret.key.startsWith(target.hint)", "false"),
		"revokes nothing":  strings.ReplaceAll(whole, "request: DELETE /services/${params.service}/keys/${target.id}", "request: DELETE /services/${params.service}/keys/none"),
	} {
		quick := func(_ *fake, config *adapter.Config) { quicken(config) }
		if err := try(t.Context(), broken, quick); !errors.Is(err, adapter.ErrTrial) && name != "finds nothing" || err == nil {
			t.Errorf("%s: got %v, want ErrTrial", name, err)
		}
		if name != "revokes nothing" {
			left()
		} else if cleaned == nil {
			t.Error("a live key is left, and the clean-up says that it is not")
		}
		l.mu.Lock()
		l.keys = l.keys[:1]
		l.mu.Unlock()
	}

	// An interrupt after the credential was made.
	ctx, cancel := context.WithCancel(t.Context())
	l.answers(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/self" {
			cancel()
		}
		return false
	})
	if err := try(ctx, whole, nil); err == nil {
		t.Error("interrupted: got no error")
	}
	left()
	if !slices.Contains(steps, "clean-up") {
		t.Errorf("interrupted: got the steps %q, want a clean-up", steps)
	}

	// The reply to creating is lost.
	lost := false
	l.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && !lost {
			lost = true
			l.create(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	short := strings.ReplaceAll(whole, "deadline: 10s", "deadline: 2s")
	if err := try(t.Context(), short, nil); err == nil {
		t.Error("a lost reply: got no error")
	}
	left()
}

// quicken has the adapter's waits pass at once, and nothing else take time.
func quicken(config *adapter.Config) {
	var waited atomic.Int64
	began := time.Now()
	config.Clock = func() time.Time { return began.Add(time.Duration(waited.Load())) }
	config.Wait = func(ctx context.Context, d time.Duration) error {
		time.Sleep(25 * time.Millisecond) // longer than the lab's delay, which is real: what a wait is for has happened after it
		waited.Add(int64(d))
		return ctx.Err()
	}
}

// A settle time that is too short was said to be so, with no figure: what is suggested was measured.
func TestATooShortSettleTimeIsMeasured(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refusals int // before the new credential works; a second each
		want     string
	}{
		"too short": {31, "only after 31s, and the settle time is 5s: write `settle: 47s` under kind"},
		"never":     {1 << 20, "still refused 2m0s after the settle time of 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lab{pages: "cursor", signed: bearer, tokens: map[string]bool{}}
			asked := 0
			l.answers(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/api/self" {
					return false
				}
				if asked++; asked > test.refusals {
					return false
				}
				w.WriteHeader(http.StatusUnauthorized)
				return true
			})
			config := newFake(t, l).config(compile(t, strings.Replace(labRecipe(byBearer, byCursor), "settle: 50ms", "settle: 5s", 1)), labAdmin(t))
			config.URL += "/api"
			config.Parameters = map[string]any{"service": "shop"}
			quicken(&config)
			err := adapter.Try(t.Context(), config, secret.Value{}, adapter.Patience, func(adapter.Trial) {})
			if !errors.Is(err, adapter.ErrTrial) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// What cannot be undone is not tried: a new secret would take the place of the one in use, and nothing would be left to
// remove.
func TestWhatCannotBeUndoneIsNotTried(t *testing.T) {
	t.Parallel()
	server := &keycloak{current: "the-production-secret"}
	f := newFake(t, server)
	config := f.config(builtin(t, "keycloak-client-secret"), text(t, map[string]string{"clientId": "custody", "clientSecret": "the-admin-secret"}))
	config.Parameters = map[string]any{"realm": "shop", "client": keycloakClient, "clientId": "shop"}
	lab := &gitLab{tokens: map[string]bool{}}
	g := newFake(t, lab)
	for name, test := range map[string]struct {
		config  adapter.Config
		current secret.Value
		asked   func() []string
	}{
		"dual":      {config, secret.Value{}, f.asked},
		"overwrite": {gitLabConfig(t, g), text(t, map[string]string{"token": lab.mint()}), g.asked},
	} {
		err := adapter.Try(t.Context(), test.config, test.current, adapter.Patience, func(s adapter.Trial) { t.Errorf("%s: the step %+v was taken", name, s) })
		if !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(upstream.Explained(err), "custody rotate") {
			t.Errorf("%s: got %v, want not applied, and what to do instead", name, err)
		}
		if asked := test.asked(); len(asked) != 0 {
			t.Errorf("%s: the requests %q were made", name, asked)
		}
	}
	if server.current != "the-production-secret" {
		t.Error("the secret in use was replaced")
	}
}
