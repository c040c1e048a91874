// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Value is one of texts.
func Value(t testing.TB, fields map[string]string) secret.Value {
	t.Helper()
	v, err := secret.Text(fields)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Admins are admin credentials in order of preference, as upstreams are configured with them.
func Admins(credentials ...secret.Value) func(context.Context) ([]secret.Value, error) {
	return func(context.Context) ([]secret.Value, error) { return credentials, nil }
}

// Revoke revokes old, which must succeed.
func Revoke(t testing.TB, u upstream.Upstream, run authority.RunID, old, successor secret.Value) {
	t.Helper()
	if err := u.Revoke(t.Context(), run, old, successor); err != nil {
		t.Fatal(err)
	}
}

// Fails checks that err is of a class, nil being an error that leaves open whether the call took effect, and of no other.
func Fails(t testing.TB, class, err error, what string) {
	t.Helper()
	fits := err != nil
	for _, each := range []error{upstream.ErrRefusedCandidate, upstream.ErrSuperseded, upstream.ErrNotApplied} {
		fits = fits && errors.Is(err, each) == (each == class) //nolint:errorlint // the class itself
	}
	if !fits {
		t.Errorf("%s: got %v; want %v", what, err, class)
	}
}

// Hinted checks that err is of a class and says what to do next.
func Hinted(t testing.TB, class, err error, what string) {
	t.Helper()
	Fails(t, class, err, what)
	if failure, ok := errors.AsType[*upstream.Error](err); !ok || failure.Hint() == "" {
		t.Errorf("%s: got %v without a hint", what, err)
	}
}

// Says gives one answer, of a media type.
func Says(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}
