// SPDX-License-Identifier: Apache-2.0

package recipe_test

import (
	"errors"
	"testing"
	"time"

	recipe "custody.dev/custody/internal/upstream/http"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

func TestUsesLeaveOwnSignInsOut(t *testing.T) {
	l := &lab{pages: "cursor"}
	_, u := inLab(t, labRecipe(byBearer, byCursor), l, nil)
	v := apply(t, u, "run-1", secret.Value{})
	uses := func(u *recipe.Upstream, since time.Time) []upstream.Use {
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
