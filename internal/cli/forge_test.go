// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
)

// forge is a server of a script: keys that it issues, and one user whose password is set.
type forge struct {
	*http.ServeMux
	mu       sync.Mutex
	issued   int
	keys     map[string]string // label by key
	password string
	lengths  []int // of the passwords that were set, the current one not among them
	asked    atomic.Int64
}

// ServeHTTP counts what the forge is asked, whether it knows an answer or not.
func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	f.ServeMux.ServeHTTP(w, r)
}

const (
	forgeAdmin   = "Bearer made-up-admin-token"
	forgeCurrent = "made-up-current-password"
)

func newForge() *forge {
	f := &forge{ServeMux: http.NewServeMux(), keys: map[string]string{}, password: forgeCurrent}
	handle := func(pattern string, admin bool, serve func(w http.ResponseWriter, r *http.Request)) {
		f.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if admin && r.Header.Get("Authorization") != forgeAdmin {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			serve(w, r)
		})
	}
	handle("POST /keys", true, func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Label string }
		_ = json.NewDecoder(r.Body).Decode(&ask)
		f.issued++
		key := fmt.Sprintf("made-up-key-%d", f.issued)
		f.keys[key] = ask.Label
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]string{"key": key})
	})
	handle("GET /keys", true, func(w http.ResponseWriter, _ *http.Request) {
		list := []map[string]string{}
		for key, label := range f.keys {
			list = append(list, map[string]string{"id": strings.TrimPrefix(key, "made-up-key-"), "label": label})
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	handle("DELETE /keys/{id}", true, func(w http.ResponseWriter, r *http.Request) {
		delete(f.keys, "made-up-key-"+r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	handle("PUT /robot", true, func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Password string }
		_ = json.NewDecoder(r.Body).Decode(&ask)
		if f.password = ask.Password; f.password != forgeCurrent {
			f.lengths = append(f.lengths, len(f.password))
		}
		w.WriteHeader(http.StatusNoContent)
	})
	handle("GET /self", false, func(w http.ResponseWriter, r *http.Request) {
		_, robot, _ := r.BasicAuth()
		if _, key := f.keys[r.Header.Get("X-Key")]; !key && robot != f.password {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	return f
}

// serveForge starts a forge in $FORGE; forgeHolds wants it to be as a person left it, and passwords of some length to have
// been set in between.
func serveForge(ts *testscript.TestScript, _ bool, _ []string) {
	f := newForge()
	listening := httptest.NewServer(f)
	ts.Defer(listening.Close)
	ts.Setenv("FORGE", listening.URL)
	*ts.Value(forgeValue).(**forge) = f
}

const forgeValue = "forge"

// forgeAsked wants the forge to have been asked something, or with ! nothing at all.
func forgeAsked(ts *testscript.TestScript, nothing bool, _ []string) {
	if asked := (*ts.Value(forgeValue).(**forge)).asked.Load(); nothing != (asked == 0) {
		ts.Fatalf("the forge was asked %d times", asked)
	}
}

func forgeHolds(ts *testscript.TestScript, _ bool, args []string) {
	f := *ts.Value(forgeValue).(**forge)
	f.mu.Lock()
	defer f.mu.Unlock()
	got := fmt.Sprintf("%d keys of %d issued, passwords of %v", len(f.keys), f.issued, f.lengths)
	if want := strings.Join(args, " "); got != want {
		ts.Fatalf("the forge has %s, want %s", got, want)
	}
	if f.password != forgeCurrent {
		ts.Fatalf("the forge's user has another password than before")
	}
}
