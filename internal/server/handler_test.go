// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"custody.dev/custody/internal/authority"
)

// asked is a service that is asked nothing but what a test has it answer: anything else panics.
type asked struct {
	Service
	by, reason string
}

func (a *asked) Ready(context.Context) string { return "" }

func (a *asked) Abort(_ context.Context, by string, _ authority.RunID, reason string) error {
	a.by, a.reason = by, reason
	return nil
}

// Everybody on the machine reaches the port of health and metrics.
func TestHealthChangesAndAsksNothing(t *testing.T) {
	health := Health(&asked{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics\n") }))
	for ask, want := range map[string]int{
		"GET /healthz": http.StatusOK, "GET /readyz": http.StatusOK, "GET /metrics": http.StatusOK,
		"POST /healthz": http.StatusMethodNotAllowed, "POST /metrics": http.StatusMethodNotAllowed,
		"GET /v1/status": http.StatusNotFound, "GET /v1/inventory": http.StatusNotFound, "GET /v1/audit": http.StatusNotFound,
		"GET /v1/grants": http.StatusNotFound, "POST /v1/grants": http.StatusNotFound, "POST /v1/requests": http.StatusNotFound,
		"POST /v1/runs/r/abort": http.StatusNotFound, "POST /v1/runs/r/force": http.StatusNotFound,
		"POST /v1/secrets/s/supply": http.StatusNotFound, "POST /v1/clock/confirm": http.StatusNotFound, "GET /debug/pprof/": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(ask, " ")
		answer := httptest.NewRecorder()
		health.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}")))
		if answer.Code != want {
			t.Errorf("%s: status %d, want %d", ask, answer.Code, want)
		}
	}
}

// Who asks is who the kernel says is connected: nothing in a request can say another name.
func TestCallerCannotNameItself(t *testing.T) {
	for body, want := range map[string]int{
		`{"reason": "because"}`:                http.StatusOK,
		`{"reason": "because", "by": "alice"}`: http.StatusBadRequest,
		`{"by": "alice"}`:                      http.StatusBadRequest,
		`{"reason": ""}`:                       http.StatusBadRequest,
	} {
		service := &asked{}
		request := httptest.NewRequestWithContext(WithCaller(t.Context(), "user bob", Operator), "POST", "/v1/runs/r/abort?by=alice", strings.NewReader(body))
		request.Header.Set("X-Caller", "alice")
		request.SetBasicAuth("alice", "x")
		answer := httptest.NewRecorder()
		Handler(service).ServeHTTP(answer, request)
		if answer.Code != want {
			t.Errorf("%s: status %d, want %d", body, answer.Code, want)
		}
		if want == http.StatusOK && (service.by != "user bob" || service.reason != "because") {
			t.Errorf("%s: asked by %q because %q, want user bob", body, service.by, service.reason)
		}
	}
}
