// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream/login"
)

// A server with a lock-out of five wrong sign-ins is not led there by runs that try again and again, and what it takes
// again is used within the pause.
func TestRefusedAdminIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backoff := login.NewAdminBackoff(time.Now)
		old, next := value(t, "username", "admin", "password", "old"), value(t, "username", "admin", "password", "next")
		honoured, sent := "", 0
		try := func(at string, listed ...secret.Value) string {
			got, _ := login.AdminWithBackoff(t.Context(), backoff, "testing", at, func(context.Context) ([]secret.Value, error) { return listed, nil },
				func(_ context.Context, v secret.Value) (string, string, error) {
					sent++
					if password := v.ExposeText("password"); password == honoured {
						return password, "", nil
					}
					return "", "wrong password", nil
				})
			return got
		}
		for range 30 * 60 { // runs that look again each second, for half an hour
			try("one", old)
			time.Sleep(time.Second)
		}
		if sent != 4 {
			t.Errorf("a refused credential was sent %d times in half an hour, want 4", sent)
		}
		honoured = "next"
		if got := try("one", old, next); got != "next" || sent != 5 {
			t.Errorf("another credential: got %q after %d", got, sent)
		}
		honoured = "old"
		if got := try("two", old); got != "old" {
			t.Error("what one server refused was not sent to another")
		}
		since := time.Now()
		for try("one", old) != "old" {
			time.Sleep(time.Second)
		}
		if waited := time.Since(since); waited > time.Hour {
			t.Errorf("it was used again %s after the server took it again", waited)
		}
		honoured = "none"
		before := sent
		try("one", old)
		time.Sleep(11 * time.Second)
		if try("one", old); sent != before+2 {
			t.Errorf("after it was taken, %d wrong sign-ins within 11 s, want 2: the pause begins anew", sent-before)
		}
	})
}
