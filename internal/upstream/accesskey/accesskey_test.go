// SPDX-License-Identifier: Apache-2.0

package accesskey_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func key(t *testing.T, id, text string) secret.Value {
	t.Helper()
	return upstreamtest.Value(t, map[string]string{accesskey.ID: id, accesskey.Secret: text})
}

func TestWithKeepsOtherFields(t *testing.T) {
	v, err := accesskey.With(upstreamtest.Value(t, map[string]string{"region": "eu", accesskey.ID: "OLD"}), "NEW", "text")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{v.ExposeText("region"), v.ExposeText(accesskey.ID), v.ExposeText(accesskey.Secret)}
	if diff := cmp.Diff([]string{"eu", "NEW", "text"}, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if !accesskey.Whole(v) || accesskey.Whole(secret.Value{}) || accesskey.Whole(upstreamtest.Value(t, map[string]string{accesskey.ID: "NEW"})) {
		t.Error("a key with both fields is whole, and no other")
	}
}

func TestDraw(t *testing.T) {
	text, err := accesskey.Draw(rand.Reader, accesskey.Letters, 20)
	if err != nil || len(text) != 20 || strings.Trim(text, accesskey.Letters) != "" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := accesskey.Draw(bytes.NewReader(nil), accesskey.Letters, 20); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness: got %v", err)
	}
}

// TestRequestIsSignedWhole: what is signed shows in the signature.
func TestRequestIsSignedWhole(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	sign := func(v secret.Value, method, address, region, body string, at time.Time) string {
		t.Helper()
		request, err := accesskey.Request(t.Context(), v, method, address, region, []byte(body), at)
		if err != nil {
			t.Fatal(err)
		}
		_, signature, _ := strings.Cut(request.Header.Get("Authorization"), "Signature=")
		return signature
	}
	v, address := key(t, "AKIATEST", "the-secret"), "https://s3.example.com/minio/admin/v3/x?user=u"
	signatures := []string{
		sign(v, http.MethodGet, address, "us-east-1", "body", at),
		sign(key(t, "AKIATEST", "another"), http.MethodGet, address, "us-east-1", "body", at),
		sign(v, http.MethodPut, address, "us-east-1", "body", at),
		sign(v, http.MethodGet, address+"2", "us-east-1", "body", at),
		sign(v, http.MethodGet, address, "eu-west-1", "body", at),
		sign(v, http.MethodGet, address, "us-east-1", "other", at),
		sign(v, http.MethodGet, address, "us-east-1", "body", at.Add(time.Second)),
	}
	seen := map[string]bool{}
	for i, signature := range signatures {
		if len(signature) != 64 || seen[signature] {
			t.Errorf("signature %d is %q, or another's", i, signature)
		}
		seen[signature] = true
	}
	if again := sign(v, http.MethodGet, address, "us-east-1", "body", at); again != signatures[0] {
		t.Error("the same request has another signature")
	}
	if _, err := accesskey.Request(t.Context(), v, "GET", "https://s3.example.com/%zz?the-secret", "us-east-1", nil, at); err == nil || strings.Contains(err.Error(), "the-secret") {
		t.Errorf("an address that is none: got %v", err)
	}
}

func TestCodeIsOneName(t *testing.T) {
	for text, want := range map[string]string{
		"AccessDenied": "AccessDenied", "AWS.Simple.Queue404": "AWS.Simple.Queue404", "": "", "two words": "", "a\nline": "",
		"password=hunter2": "", "ünknown": "", strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 65): "",
	} {
		if got := accesskey.Code(text); got != want {
			t.Errorf("Code(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestAdminsAreTriedInOrder(t *testing.T) {
	first, second := key(t, "FIRST", "x"), key(t, "SECOND", "x")
	open := &upstream.Error{Doing: "testing", Detail: "no answer"}
	for _, test := range []struct {
		name    string
		refused map[string]string
		fails   map[string]error
		asked   string
		said    string // of the error; "" for none
	}{
		{"the first is honoured", nil, nil, "[FIRST]", ""},
		{"the second is honoured", map[string]string{"FIRST": "InvalidKey"}, nil, "[FIRST SECOND]", ""},
		{"none is honoured", map[string]string{"FIRST": "InvalidKey", "SECOND": "BadKey"}, nil, "[FIRST SECOND]", "testing: not applied: all refused: BadKey"},
		{"one cannot be told", nil, map[string]error{"FIRST": open}, "[FIRST]", "testing: not applied: no answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked []string
			err := accesskey.Admin(t.Context(), "testing", "all refused", upstreamtest.Admins(first, second), func(v secret.Value) (string, error) {
				id := v.ExposeText(accesskey.ID)
				asked = append(asked, id)
				return test.refused[id], test.fails[id]
			})
			if fmt.Sprint(asked) != test.asked || (err == nil) != (test.said == "") || err != nil && err.Error() != test.said {
				t.Errorf("got %v and asked %v, want %q and %s", err, asked, test.said, test.asked)
			}
			if err != nil && !errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("%v does not say that nothing was applied", err)
			}
		})
	}
	err := accesskey.Admin(t.Context(), "testing", "all refused", func(context.Context) ([]secret.Value, error) { return nil, io.ErrUnexpectedEOF }, nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("unreadable credentials: got %v", err)
	}
	none := accesskey.Admin(t.Context(), "testing", "all refused", upstreamtest.Admins(), nil)
	upstreamtest.Fails(t, upstream.ErrNotApplied, none, "no credentials")
}

func TestClockFollowsTheServer(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := accesskey.Clock{Own: func() time.Time { return now }}
	if !c.Now().Equal(now) {
		t.Errorf("before anything is known: got %s", c.Now())
	}
	c.Set(now.Add(-time.Hour))
	now = now.Add(time.Minute)
	if got := c.Now(); c.Ahead() != -time.Hour || !got.Equal(now.Add(-time.Hour)) {
		t.Errorf("got %s, ahead by %s", got, c.Ahead())
	}
}

func TestRunsRememberThoseBefore(t *testing.T) {
	run := func(i int) authority.RunID { return authority.RunID(fmt.Sprintf("run-%d", i)) }
	const runs, past = 40, 16
	var r accesskey.Runs
	for i := range runs {
		for range 2 { // the second time, it is the current run already
			next, ok := r.Begin(run(i))
			if !ok {
				t.Fatalf("%s is refused", run(i))
			}
			r = next
		}
	}
	if r.Run != run(runs-1) || len(r.Past) != past || r.Past[past-1] != accesskey.Digest(run(runs-2)) {
		t.Errorf("got %+v", r)
	}
	for i := runs - 1 - past; i < runs-1; i++ {
		if next, ok := r.Begin(run(i)); ok || next.Run != r.Run {
			t.Errorf("%s, superseded, is taken", run(i))
		}
	}
}
