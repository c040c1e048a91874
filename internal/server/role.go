// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
)

// Role is what somebody may do over a socket.
type Role int

const (
	// Nobody may do nothing. It is the role of a request of which nobody said whose it is.
	Nobody Role = iota
	// Reader may ask what there is and what happened, and change nothing.
	Reader
	// Operator may do everything.
	Operator
)

type callerKey struct{}

// identity is who makes a request, for the record, and what they may do.
type identity struct {
	by   string
	role Role
}

// WithCaller notes who makes a request, for the record, and what they may do.
func WithCaller(ctx context.Context, by string, role Role) context.Context {
	return context.WithValue(ctx, callerKey{}, identity{by, role})
}

func caller(r *http.Request) string {
	if is, ok := r.Context().Value(callerKey{}).(identity); ok {
		return is.by
	}
	return "unknown"
}

func roleOf(r *http.Request) Role {
	is, _ := r.Context().Value(callerKey{}).(identity)
	return is.role
}

// rights are who may ask what. What is not here nobody may ask: no one said who may.
var rights = map[string]Role{
	"GET /v1/status":             Reader,
	"GET /v1/inventory":          Reader,
	"GET /v1/inventory/{secret}": Reader,
	"GET /v1/plan":               Reader,
	"GET /v1/runs":               Reader,
	"GET /v1/runs/{run}":         Reader,
	"GET /v1/audit":              Reader,
	"GET /v1/grants":             Reader,
	"GET /v1/notifications":      Reader,
	"GET /v1/estate":             Reader,
	"GET /v1/agents":             Reader,

	"GET /v1/doctor":                          Operator, // it signs in with every secret
	"POST /v1/requests":                       Operator,
	"POST /v1/runs/{run}/abort":               Operator,
	"POST /v1/runs/{run}/force":               Operator,
	"POST /v1/secrets/{secret}/supply":        Operator,
	"POST /v1/secrets/{secret}/adopt":         Operator,
	"POST /v1/secrets/{secret}/revert":        Operator,
	"POST /v1/secrets/{secret}/deliver":       Operator,
	"POST /v1/secrets/{secret}/retire":        Operator,
	"POST /v1/withdrawals":                    Operator,
	"POST /v1/backups":                        Operator,
	"POST /v1/grants":                         Operator,
	"POST /v1/grants/revoke":                  Operator,
	"POST /v1/notifications/test":             Operator,
	"POST /v1/bootstrap/enroll":               Operator,
	"POST /v1/intake":                         Operator, // it may make the key
	"POST /v1/secrets/{secret}/supply-sealed": Operator,
	"POST /v1/agents/{machine}/invite":        Operator,
	"POST /v1/agents/{machine}/revoke":        Operator,
	"POST /v1/clock/confirm":                  Operator,
	"POST /v1/estate/accept":                  Operator,
	"POST /v1/recovery/accept":                Operator,
}

// routes are the handlers of an interface, by what they answer.
type routes struct {
	http.ServeMux
	patterns []string
}

// HandleFunc registers a handler.
func (m *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, handler)
}

// guarded lets through what the caller's role may do. That there is nothing at a path may be told to whoever may ask anything.
func guarded(next *routes) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := next.Handler(r)
		needed, stated := rights[pattern]
		if pattern == "" {
			needed, stated = Reader, true
		}
		switch role := roleOf(r); {
		case stated && role >= needed:
			next.ServeHTTP(w, r)
		case role >= Reader:
			answer(w, nil, &Problem{
				Class: Refused, Text: "this user may read, but change nothing; nothing was done",
				Hint: "ask somebody of the group that the host file names as socket.operators",
			})
		default:
			answer(w, nil, &Problem{
				Class: Refused, Text: "this user may neither read nor change anything on this platform",
				Hint: "ask the operator to add the user to the group that the host file names as socket.readers (to read) or socket.operators (to change)",
			})
		}
	})
}
