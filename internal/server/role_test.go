// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// answers is a service that answers with nothing.
type answers struct{ Service }

func (answers) Status(context.Context, Filter) (Status, error) { return Status{}, nil }
func (answers) Doctor(context.Context) (Diagnosis, error)      { return Diagnosis{}, nil }
func (answers) ConfirmClock(context.Context, string) error     { return nil }

func TestRoles(t *testing.T) {
	handler := Handler(answers{})
	for _, test := range []struct {
		role            Role
		question, check int
		change          int
	}{
		{Nobody, http.StatusConflict, http.StatusConflict, http.StatusConflict},
		{Reader, http.StatusOK, http.StatusConflict, http.StatusConflict},
		{Operator, http.StatusOK, http.StatusOK, http.StatusOK},
	} {
		for request, want := range map[string]int{"GET /v1/status": test.question, "GET /v1/doctor": test.check, "POST /v1/clock/confirm": test.change} {
			method, path, _ := strings.Cut(request, " ")
			r := httptest.NewRequestWithContext(WithCaller(t.Context(), "user x", test.role), method, path, strings.NewReader("{}"))
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("role %d: %s: HTTP %d, want %d: %s", test.role, request, w.Code, want, w.Body)
			}
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", nil))
	if w.Code != http.StatusConflict {
		t.Errorf("a request of which nobody said whose it is: HTTP %d", w.Code)
	}
}

func TestPeerIsWhomTheKernelSays(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := (&net.Dialer{}).DialContext(t.Context(), "unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	is, err := Peer(conn)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	if is.UID != os.Geteuid() || is.Groups[0] != os.Getegid() || slices.ContainsFunc(groups, func(group int) bool { return !slices.Contains(is.Groups, group) }) {
		t.Errorf("got %+v, want user %d of groups %d and %d", is, os.Geteuid(), os.Getegid(), groups)
	}
}
