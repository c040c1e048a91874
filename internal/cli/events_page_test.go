// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/events.md says is done, in its order, with a server that runs.
func TestEventsPage(t *testing.T) {
	const page = "../../docs/events.md"
	shell, hosts, policies := blocks(t, page, "sh", ""), blocks(t, page, "yaml", "spec:\n  webhooks:\n"), blocks(t, page, "yaml", "apiVersion")
	if len(shell) != 4 || len(hosts) != 1 || len(policies) != 1 {
		t.Fatalf("%s has %d blocks of commands, %d of a host and %d policies", page, len(shell), len(hosts), len(policies))
	}
	home := t.TempDir()
	shop := filepath.Join(home, "shop")
	run := func(text string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", text)
		cmd.Dir = home
		if _, err := os.Stat(shop); err == nil {
			cmd.Dir = shop
		}
		cmd.Env = append(os.Environ(), "HOME="+home, "CUSTODY_HOST=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", text, err, out)
		}
		return string(out)
	}
	run("custody init shop --platform shop")
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(shop, "custody.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, hooks, _ := strings.Cut(hosts[0], "spec:\n")
	host := strings.Replace(string(have), "spec:\n", "spec:\n  listen: "+address+"\n"+hooks, 1)
	if err := os.WriteFile(filepath.Join(shop, "custody.yaml"), []byte(host), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := strings.Replace(policies[0], "name: default", "name: on-compromise", 1) // init has one of that name
	if err := os.WriteFile(filepath.Join(shop, "estate", "on-compromise.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	run(shell[0])
	serve := exec.CommandContext(t.Context(), "custody", "serve")
	serve.Dir = shop
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = serve.Process.Kill()
		_ = serve.Wait()
	}()
	run("until curl --silent --fail http://" + address + "/readyz; do :; done")
	deliver := strings.ReplaceAll(shell[1], "127.0.0.1:8470", address)
	first := run(deliver)
	if again := run(deliver); !strings.Contains(first, `"secret":"example-token"`) || again != first {
		t.Errorf("answered %s, and then %s", first, again)
	}
	run(strings.TrimSpace(shell[2]) + " --wait")
	if out := run(shell[3]); !strings.Contains(out, "webhook siem") || !strings.Contains(out, "reported by ") {
		t.Errorf("the record says\n%s", out)
	}
}
