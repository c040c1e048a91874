// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page about notifications shows a host file that works, and commands that do what it says.
func TestNotificationsPageRuns(t *testing.T) {
	page, err := filepath.Abs("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	chat := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { messages++ }))
	defer chat.Close()
	shown := blocks(t, page, "yaml", "spec:\n  notifications:\n")
	if len(shown) != 1 {
		t.Fatalf("the page has %d blocks of a host", len(shown))
	}
	dir := filepath.Join(t.TempDir(), "platform")
	custody(t, "", "init", dir, "--platform", "shop", "--team", "shop", "--contact", "shop@example.org")
	t.Chdir(dir)
	have, err := os.ReadFile("custody.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// No relay answers at port 9, which is for discarding.
	write(t, "custody.yaml", joined(t, have, []byte(strings.Replace(shown[0], "host: mail.example.org", "host: 127.0.0.1\n      port: 9", 1))))
	write(t, "chat-url", []byte(chat.URL))
	write(t, "mail-password", []byte("not-a-real-one"))
	ran := 0
	for _, block := range blocks(t, page, "sh", "") {
		for line := range strings.Lines(block) {
			for _, args := range calls(strings.TrimSpace(line)) {
				var out bytes.Buffer
				code := Main(args, strings.NewReader(""), &out, &out)
				want := 0
				if strings.Join(args, " ") == "notify test" { // the default is told by mail as well
					want = 3
				}
				if code != want {
					t.Errorf("custody %s: exit code %d\n%s", strings.Join(args, " "), code, out.String())
				}
				ran++
			}
		}
	}
	if ran != 5 || messages != 2 {
		t.Errorf("%d commands were run, and %d messages came; want 5 and 2", ran, messages)
	}
}
