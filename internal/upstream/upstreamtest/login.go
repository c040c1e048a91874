// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// NewPassword is a rule of passwords that every system takes.
func NewPassword(random io.Reader) (string, error) {
	raw := make([]byte, 16)
	_, err := io.ReadFull(random, raw)
	return "pw-" + hex.EncodeToString(raw), err
}

// Password draws one.
func Password(t testing.TB) string {
	t.Helper()
	text, err := NewPassword(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Login is the value of one.
func Login(t testing.TB, name, password string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{login.Username: name, login.Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Issue applies what follows current, which a kind that does not issue proposes first.
func Issue(t testing.TB, u upstream.Upstream, run authority.RunID, current secret.Value) secret.Value {
	t.Helper()
	var candidate secret.Value
	var err error
	if !u.Kind().Issues {
		if candidate, err = u.Propose(t.Context(), current); err != nil {
			t.Fatal(err)
		}
	}
	applied, err := u.Apply(t.Context(), run, current, candidate)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// Is checks a verdict, and that a reason comes with Unknown and only with it.
func Is(t testing.TB, u upstream.Upstream, want upstream.Verdict, v secret.Value, what string) {
	t.Helper()
	got, err := u.Verify(t.Context(), v)
	if got != want || (err != nil) != (want == upstream.Unknown) {
		t.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}
