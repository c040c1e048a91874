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

// reads reports whether a request changes nothing, here or at an upstream: doctor signs in with every secret.
func reads(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path != "/v1/doctor" }

// guarded lets through what the caller's role may do.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch role := roleOf(r); {
		case role == Operator, role == Reader && reads(r):
			next.ServeHTTP(w, r)
		case role == Reader:
			answer(w, nil, &Problem{
				Class: Refused, Text: "this user may ask and change nothing here; nothing was done",
				Hint: "ask somebody of the group that the host file names as socket.operators",
			})
		default:
			answer(w, nil, &Problem{Class: Refused, Text: "this user may not ask anything here"})
		}
	})
}
