// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveHook starts a chat whose webhook's URL is $HOOK. It appends the text of each message to $WORK/hooked; one to $HOOK/gone is not
// taken.
func serveHook(ts *testscript.TestScript, _ bool, _ []string) {
	var mu sync.Mutex
	file := filepath.Join(ts.Getenv("WORK"), "hooked")
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var message struct{ Text string }
		if r.URL.Path == "/canary-of-the-url/gone" || json.NewDecoder(r.Body).Decode(&message) != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		kept, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = kept.WriteString(message.Text)
			_ = kept.Close()
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(listening.Close)
	ts.Setenv("HOOK", listening.URL+"/canary-of-the-url")
}
