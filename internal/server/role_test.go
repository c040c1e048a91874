// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each command over a socket says which group may run it; one that is added without saying so fails here, and nobody may run it.
func TestEachCommandSaysWhoMayRunIt(t *testing.T) {
	commands := map[string]struct {
		endpoint string
		least    Role
	}{
		"status": {"GET /v1/status", Reader}, "inventory": {"GET /v1/inventory", Reader}, "explain": {"GET /v1/inventory/{secret}", Reader},
		"plan": {"GET /v1/plan", Reader}, "run list": {"GET /v1/runs", Reader}, "run show": {"GET /v1/runs/{run}", Reader},
		"audit log": {"GET /v1/audit", Reader}, "grant list": {"GET /v1/grants", Reader}, "notify list": {"GET /v1/notifications", Reader},
		"doctor": {"GET /v1/doctor", Operator}, "rotate": {"POST /v1/requests", Operator},
		"run abort": {"POST /v1/runs/{run}/abort", Operator}, "run force": {"POST /v1/runs/{run}/force", Operator},
		"supply": {"POST /v1/secrets/{secret}/supply", Operator}, "adopt-value": {"POST /v1/secrets/{secret}/adopt", Operator}, "revert": {"POST /v1/secrets/{secret}/revert", Operator}, "deliver": {"POST /v1/secrets/{secret}/deliver", Operator},
		"withdraw": {"POST /v1/withdrawals", Operator}, "retire": {"POST /v1/secrets/{secret}/retire", Operator}, "grant": {"POST /v1/grants", Operator}, "grant revoke": {"POST /v1/grants/revoke", Operator},
		"backup":           {"POST /v1/backups", Operator},
		"notify test":      {"POST /v1/notifications/test", Operator},
		"bootstrap enroll": {"POST /v1/bootstrap/enroll", Operator},
		"intake":           {"POST /v1/intake", Operator}, "supply --sealed": {"POST /v1/secrets/{secret}/supply-sealed", Operator},
		"agent list": {"GET /v1/agents", Reader}, "agent invite": {"POST /v1/agents/{machine}/invite", Operator}, "agent revoke": {"POST /v1/agents/{machine}/revoke", Operator},
		"clock confirm": {"POST /v1/clock/confirm", Operator}, "recover accept": {"POST /v1/recovery/accept", Operator},
		"estate accept": {"POST /v1/estate/accept", Operator}, "plan --estate": {"GET /v1/estate", Reader},
	}
	handler, tried := Handler(nobody{}), map[string]bool{}
	for command, c := range commands {
		tried[c.endpoint] = true
		for _, role := range []Role{Nobody, Reader, Operator} {
			if got, want := letThrough(t, handler, c.endpoint, role), role >= c.least; got != want {
				t.Errorf("role %d: custody %s: let through %t, want %t", role, command, got, want)
			}
		}
	}
	routes := routed(nobody{})
	for _, endpoint := range routes.patterns {
		if _, stated := rights[endpoint]; !stated || !tried[endpoint] {
			t.Errorf("%s: say in rights who may ask it, and in this test which command does", endpoint)
		}
	}
	for endpoint := range rights {
		if !slices.Contains(routes.patterns, endpoint) {
			t.Errorf("%s: there is no such endpoint", endpoint)
		}
	}
	routes.HandleFunc("GET /v1/new", func(http.ResponseWriter, *http.Request) {})
	for _, role := range []Role{Nobody, Reader, Operator} {
		if letThrough(t, guarded(routes), "GET /v1/new", role) {
			t.Errorf("role %d: an endpoint of which nobody said who may ask it is let through", role)
		}
	}
}

// nobody is a service that must not be reached with what is sent to it, or panics.
type nobody struct{ Service }

// letThrough reports whether a request gets past who may ask: to its own checks, or to the service, which panics.
func letThrough(t *testing.T, handler http.Handler, endpoint string, role Role) (through bool) {
	t.Helper()
	method, path, _ := strings.Cut(endpoint, " ")
	path = strings.NewReplacer("{secret}", "s", "{run}", "r", "{machine}", "m").Replace(path)
	r := httptest.NewRequestWithContext(WithCaller(t.Context(), "user x", role), method, path, strings.NewReader("{}"))
	w := httptest.NewRecorder()
	defer func() {
		if recover() != nil {
			through = true
		}
	}()
	handler.ServeHTTP(w, r)
	return w.Code != http.StatusConflict
}

func TestRequestOfWhichNobodySaidWhoseItIs(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(nobody{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", nil))
	if w.Code != http.StatusConflict {
		t.Errorf("HTTP %d", w.Code)
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
