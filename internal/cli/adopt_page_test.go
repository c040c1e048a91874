// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/adopt"
	"custody.dev/custody/internal/discover/discovertest"
)

// What docs/adopt.md says is done, in its order.
func TestAdoptPage(t *testing.T) {
	const page = "../../docs/adopt.md"
	shell := blocks(t, page, "sh", "")
	if len(shell) != 8 {
		t.Fatalf("%s has %d blocks of commands, want 8", page, len(shell))
	}
	home := t.TempDir()
	for i, text := range shell {
		if i > 1 {
			text = "export CUSTODY_HOST=$PWD/platform/custody.yaml\n" + text
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", text)
		cmd.Dir, cmd.Env = home, append(os.Environ(), "CUSTODY_HOST=")
		out, err := cmd.CombinedOutput()
		exit, _ := errors.AsType[*exec.ExitError](err)
		left := exit != nil && exit.ExitCode() == 3 && strings.Contains(text, "--check") // the page leaves nothing open
		if err != nil || left {
			t.Fatalf("%s\n%v\n%s", text, err, out)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range adopt.Dos() {
		if !strings.Contains(string(text), "| `"+string(do)+"` |") {
			t.Errorf("the page does not explain the item %s", do)
		}
	}
}

// A whole platform is adopted at once: it lints, no value is in clear in what was written or printed, and none of its files changed.
func TestAdoptWholePlatform(t *testing.T) {
	p := discovertest.Make(t, "../discover/testdata/platform", time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC))
	home := t.TempDir()
	plat := filepath.Join(home, "platform")
	custody(t, "", "init", plat, "--platform", "harbour", "--team", "ops")
	before := tree(t, p.Folder)
	var out bytes.Buffer
	host := filepath.Join(plat, "custody.yaml")
	if code := Main([]string{"adopt", p.Folder, "--host", host, "--owner", "ops"}, strings.NewReader(""), &out, &out); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out.String())
	}
	custody(t, "", "lint", filepath.Join(plat, "estate"))
	after := tree(t, p.Folder)
	for name, data := range before {
		if !bytes.Equal(data, after[name]) || len(before) != len(after) {
			t.Errorf("%s changed", name)
		}
	}
	written := tree(t, filepath.Join(plat, "estate"))
	if len(written) < 40 {
		t.Fatalf("only %d documents were written\n%s", len(written), out.String())
	}
	list, err := os.ReadFile(filepath.Join(plat, "adoption-1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	written["adoption-1.yaml"], written["the output"] = list, out.Bytes()
	for name, value := range p.Values {
		if len(value) < 12 || strings.Contains(name, "public") { // a word may be anywhere
			continue
		}
		for file, data := range written {
			if bytes.Contains(data, []byte(value)) {
				t.Errorf("the value %s is in %s", name, file)
			}
		}
	}
	out.Reset()
	if code := Main([]string{"adopt", p.Folder, "--host", host, "--owner", "ops"}, strings.NewReader(""), &out, &out); code != 0 || !strings.Contains(out.String(), "nothing to adopt") {
		t.Errorf("the second time: exit code %d\n%s", code, out.String())
	}
}

// tree is what the files beneath a folder hold.
func tree(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
