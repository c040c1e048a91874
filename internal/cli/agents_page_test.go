// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What docs/agents.md says is done, in its order, with both machines on this one.
func TestAgentsPage(t *testing.T) {
	const page = "../../docs/agents.md"
	shell, configuration, yamls := blocks(t, page, "sh", ""), blocks(t, page, "yaml", "apiVersion"), blocks(t, page, "yaml", "# in")
	if len(shell) != 4 || len(configuration) != 1 || len(yamls) != 2 {
		t.Fatalf("%s has %d blocks of commands, %d configurations and %d parts of documents", page, len(shell), len(configuration), len(yamls))
	}
	home := t.TempDir()
	shop := filepath.Join(home, "shop")
	run := func(text string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", text)
		cmd.Dir = shop
		cmd.Env = append(os.Environ(), "CUSTODY_HOST="+shop+"/custody.yaml", "CUSTODY_AGENT="+home+"/agent.yaml")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", text, err, out)
		}
		return string(out)
	}
	started := func(log string, args ...string) *exec.Cmd {
		t.Helper()
		to, err := os.Create(filepath.Join(home, log))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("custody", args...)
		cmd.Dir, cmd.Stderr = shop, to
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _, _ = cmd.Process.Kill(), cmd.Wait(), to.Close() })
		return cmd
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for began := time.Now(); !is(); time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > 2*time.Minute {
				t.Fatalf("%s did not happen", what)
			}
		}
	}
	if err := os.Mkdir(shop, 0o700); err != nil {
		t.Fatal(err)
	}
	run("custody init . --platform shop && mkdir -m 0700 ../app")
	edit := func(name, more string) {
		t.Helper()
		kept, err := os.ReadFile(filepath.Join(shop, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(shop, name), append(bytes.TrimRight(kept, "\n"), []byte("\n"+more)...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	indented := func(text, by string) string {
		return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by) + "\n"
	}
	edit("custody.yaml", strings.Replace(indented(yamls[0], "  "), "0.0.0.0:8471", "127.0.0.1:0", 1)+"  listen: 127.0.0.1:0\n")
	edit("estate/secrets/example-token.yaml", indented(yamls[1], "    "))
	started("served", "serve", "--host", "custody.yaml")
	address := ""
	await("listening for agents", func() bool {
		log, _ := os.ReadFile(filepath.Join(home, "served"))
		_, after, is := strings.Cut(string(log), `msg="serving agents" address=`)
		address, _, _ = strings.Cut(after, "\n")
		return is && strings.Contains(after, "\n")
	})
	said := run(strings.Replace(shell[0], "--current", "--current --yes", 1))
	_, token, is := strings.Cut(said, "token:")
	if !is {
		t.Fatalf("inviting says\n%s", said)
	}
	agent := strings.NewReplacer("custody.example.org:8471", strings.TrimSpace(address), "/var/lib/custody-agent", home+"/agent", "/etc/shop", home+"/app").Replace(configuration[0])
	if err := os.WriteFile(filepath.Join(home, "agent.yaml"), []byte(agent), 0o600); err != nil {
		t.Fatal(err)
	}
	enroll, start, two := strings.Cut(strings.TrimSpace(shell[1]), "\n")
	if !two || start != "custody agent run" {
		t.Fatalf("after enrolling the page says %q", start)
	}
	run(enroll + " <<'end'\n" + strings.Fields(token)[0] + "\nend")
	started("agent.log", "agent", "run", "--agent", filepath.Join(home, "agent.yaml"))
	await("delivering", func() bool {
		_, err := os.Stat(filepath.Join(home, "app", "example.env"))
		return err == nil
	})
	if said := run(shell[2]); !strings.Contains(said, "connected") || !strings.Contains(said, "web") {
		t.Errorf("the server's machine says\n%s", said)
	}
	if said := run(shell[3]); !strings.Contains(said, "revoked: machine web-1") {
		t.Errorf("revoking says\n%s", said)
	}
}
