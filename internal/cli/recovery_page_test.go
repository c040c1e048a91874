// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/recovery.md says is done, in its order: a platform is backed up, lost and restored on what is left.
func TestRecoveryPage(t *testing.T) {
	const page = "../../docs/recovery.md"
	shell, hosts := blocks(t, page, "sh", ""), blocks(t, page, "yaml", "apiVersion")
	if len(shell) != 7 || len(hosts) != 1 {
		t.Fatalf("%s has %d blocks of commands and %d host files", page, len(shell), len(hosts))
	}
	home := t.TempDir()
	shop, mount := filepath.Join(home, "shop"), filepath.Join(home, "backup")
	here := func(text string) string { return strings.ReplaceAll(text, "/mnt/backup", mount) }
	in := home
	run := func(text string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", here(text))
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "CUSTODY_HOST=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", text, err, out)
		}
		return string(out)
	}
	run("custody init shop --platform shop; mkdir -m 0700 backup")
	in = shop
	have, err := os.ReadFile(filepath.Join(shop, "custody.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(shop, "custody.yaml"), joined(t, have, []byte(here(hosts[0]))))
	run("custody lint; custody serve --once; custody root split --key keys/root.agekey --shares 3 --threshold 2 --out-dir shares; rm keys/root.agekey; mkdir elsewhere; cp state/audit.pub elsewhere")
	if out := run(shell[0]); !strings.Contains(out, "custody.shop.prod.") {
		t.Errorf("the list is\n%s", out)
	}
	if out := run(shell[1]); !strings.Contains(out, "sound: ") {
		t.Errorf("verifying says\n%s", out)
	}
	run("custody rotate example-token --reason 'after the backup' --wait; rm -r state keys/unseal.agekey")
	run(shell[2])
	if out := run(shell[3]); !strings.Contains(out, "the platform is recovering") {
		t.Errorf("restoring says\n%s", out)
	}
	if out := run(shell[4]); !strings.Contains(out, "consumer-newer") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("before it is accepted\n%s", out)
	}
	if out := run(shell[5]); !strings.Contains(out, "accepted: the authority is incarnation ") {
		t.Errorf("accepting says\n%s", out)
	}
	run("custody rotate example-token --reason 'as it says' --wait")
	if out := run(shell[6]); !strings.Contains(out, "example-token  authority  steady") {
		t.Errorf("in the end\n%s", out)
	}
}
