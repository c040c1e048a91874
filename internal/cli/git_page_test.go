// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/git.md says is done, in its order, on a real repository.
func TestGitPage(t *testing.T) {
	const page = "../../docs/git.md"
	shell, hosts := blocks(t, page, "sh", ""), blocks(t, page, "yaml", "apiVersion")
	if len(shell) != 7 || len(hosts) != 1 {
		t.Fatalf("%s has %d blocks of commands and %d host files", page, len(shell), len(hosts))
	}
	home := t.TempDir()
	work, shop, bare := filepath.Join(home, "work"), filepath.Join(home, "shop"), filepath.Join(home, "srv", "git", "estate.git")
	if err := os.MkdirAll(work, 0o700); err != nil {
		t.Fatal(err)
	}
	in := home
	run := func(text string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", text)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "CUSTODY_HOST=", "GIT_DIR="+filepath.Join(work, ".git"), "GIT_WORK_TREE="+work)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", text, err, out)
		}
		return string(out)
	}
	run(`custody init shop --platform shop
unset GIT_DIR GIT_WORK_TREE
git init --quiet --bare --initial-branch main srv/git/estate.git
git init --quiet --initial-branch main work
mv shop/estate work/estate`)
	in = shop
	host := strings.Replace(hosts[0], "url: /srv", "url: "+home+"/srv", 1)
	kept, err := os.ReadFile(filepath.Join(shop, "custody.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shop, "custody.yaml"), []byte(joinedHost(t, string(kept), host)), 0o600); err != nil {
		t.Fatal(err)
	}
	run("git config user.name alice; git config user.email alice@example.org; git remote add origin " + bare)
	run(shell[0])
	run(shell[1])
	run("git add --all; git commit --quiet --message one")
	if out := run(shell[2]); !strings.Contains(out, "signed by SSH alice") {
		t.Errorf("status says\n%s", out)
	}
	if out := run(shell[3]); !strings.Contains(out, "commit-believed") {
		t.Errorf("the record says\n%s", out)
	}
	run("git commit --quiet --amend --message another; git push --quiet --force origin HEAD:main")
	cmd := exec.CommandContext(t.Context(), "custody", "serve", "--once")
	cmd.Dir = shop
	out, err := cmd.CombinedOutput()
	if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.ExitCode() != 3 || !strings.Contains(string(out), "history-rewritten") {
		t.Errorf("got %v\n%s", err, out)
	}
	run(strings.Replace(shell[4], "COMMIT", "$(git rev-parse HEAD)", 1))
	run("mkdir change main; cp -r " + work + "/estate change; cp -r " + work + "/estate main")
	run(shell[5])
	run(shell[6])
}

// joinedHost is a host file as init made it, with its estate read as the page says.
func joinedHost(t *testing.T, kept, page string) string {
	t.Helper()
	_, git, found := strings.Cut(page, "  git:\n")
	git, _, ended := strings.Cut(git, "  unseal:\n")
	if !found || !ended || !strings.Contains(kept, "  estate: estate\n") {
		t.Fatalf("the host file is\n%s", kept)
	}
	return strings.Replace(kept, "  estate: estate\n", "  git:\n"+git, 1)
}
