// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// node is a made-up file: others' files can only be made by root.
type node struct {
	mode  fs.FileMode
	owner int
	link  string
}

func (n node) Name() string       { return "" }
func (n node) Size() int64        { return 0 }
func (n node) Mode() fs.FileMode  { return n.mode }
func (n node) ModTime() time.Time { return time.Time{} }
func (n node) IsDir() bool        { return n.mode.IsDir() }
func (n node) Sys() any           { return &syscall.Stat_t{Uid: uint32(n.owner), Gid: 77} }

func TestWhoCouldHaveChangedIt(t *testing.T) {
	const (
		me    = 1000
		other = 1001
		file  = "/var/me/custody.yaml"
	)
	dir, sticky, link := fs.ModeDir|0o755, fs.ModeDir|fs.ModeSticky|0o777, fs.ModeSymlink|0o777
	for name, c := range map[string]struct {
		change map[string]node
		path   string
		says   string // "" where it is believed
	}{
		"my own":                           {nil, file, ""},
		"root's":                           {map[string]node{file: {0o644, 0, ""}}, file, ""},
		"somebody else's file":             {map[string]node{file: {0o600, other, ""}}, file, file + " belongs to user 1001"},
		"a file that its group may change": {map[string]node{file: {0o664, me, ""}}, file, file + " can be changed by group 77"},
		"a file that all may change":       {map[string]node{file: {0o646, me, ""}}, file, file + " can be changed by everybody"},
		"somebody else's folder":           {map[string]node{"/var/me": {dir, other, ""}}, file, "/var/me belongs to user 1001"},
		"a folder above that all may change": {
			map[string]node{"/var": {fs.ModeDir | 0o777, 0, ""}}, file, "/var can be changed by everybody"},
		"a folder of a group":            {map[string]node{"/var/me": {fs.ModeDir | 0o775, me, ""}}, file, "/var/me can be changed by group 77"},
		"in a sticky folder":             {map[string]node{"/scratch": {sticky, 0, ""}, "/scratch/custody.yaml": {0o644, me, ""}}, "/scratch/custody.yaml", ""},
		"in a sticky folder, of another": {map[string]node{"/scratch": {sticky, 0, ""}, "/scratch/custody.yaml": {0o644, other, ""}}, "/scratch/custody.yaml", "/scratch/custody.yaml belongs"},
		"in another's sticky folder":     {map[string]node{"/scratch": {sticky, other, ""}, "/scratch/custody.yaml": {0o644, me, ""}}, "/scratch/custody.yaml", "/scratch belongs"},
		"a link of mine to what is another's": {
			map[string]node{file: {link, me, "../you/custody.yaml"}, "/var/you": {dir, other, ""}, "/var/you/custody.yaml": {0o644, me, ""}},
			file, "/var/you belongs"},
		"a link of mine to what is root's":  {map[string]node{file: {link, me, "/etc/custody.yaml"}}, file, ""},
		"another's link in a sticky folder": {map[string]node{"/scratch": {sticky, 0, ""}, "/scratch/custody.yaml": {link, other, file}}, "/scratch/custody.yaml", "/scratch/custody.yaml belongs"},
		"a folder that is a link":           {map[string]node{"/srv": {link, 0, "var/./me"}}, "/srv/custody.yaml", ""},
		"a link to itself":                  {map[string]node{file: {link, me, "custody.yaml"}}, file, "too many"},
		"nothing":                           {nil, "/var/me/none.yaml", "file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := map[string]node{
				"/": {dir, 0, ""}, "/var": {dir, 0, ""}, "/var/me": {dir, me, ""}, file: {0o600, me, ""}, "/etc": {dir, 0, ""}, "/etc/custody.yaml": {0o644, 0, ""},
			}
			for at, n := range c.change {
				tree[at] = n
			}
			w := walk{
				users: []int{me},
				lstat: func(path string) (fs.FileInfo, error) {
					if n, ok := tree[path]; ok {
						return n, nil
					}
					return nil, fs.ErrNotExist
				},
				readlink: func(path string) (string, error) { return tree[path].link, nil },
			}
			_, err := w.all(c.path)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if found, is := errors.AsType[*Untrusted](err); is && found.Hint() == "" {
				t.Errorf("%v: no hint", err)
			}
		})
	}
}

// The same on real files.
func TestFolderThatAllMayChange(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "deep", "custody.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(file, os.Geteuid()); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(file, os.Geteuid()); err == nil || !strings.Contains(err.Error(), "can be changed by everybody") {
		t.Errorf("got %v", err)
	}
}

// git runs the real one, without anybody's configuration.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=me", "-c", "user.email=me@example.org"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestHostFileThatAPullCanChange(t *testing.T) {
	for _, version := range []string{"2", "3", "4"} {
		t.Run("index version "+version, func(t *testing.T) {
			dir := t.TempDir()
			git(t, dir, "init", "-q")
			for _, name := range []string{"a/custody.yaml", "a/custody.yaml.orig", "a/long-name-of-a-file-that-is-there-as-well", "b/custody.yaml", "custody.yaml"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wants := func(name string, want bool) {
				t.Helper()
				tree, err := Tracked(filepath.Join(dir, name))
				if err != nil || (tree == dir) != want {
					t.Errorf("%s: got %q, %v, want %v", name, tree, err, want)
				}
			}
			wants("custody.yaml", false)
			git(t, dir, "update-index", "--index-version", version)
			git(t, dir, "add", "a", "b")
			wants("a/custody.yaml", true)
			wants("b/custody.yaml", true)
			wants("custody.yaml", false)
			git(t, dir, "commit", "-q", "-m", "x")
			beside := filepath.Join(t.TempDir(), "beside")
			git(t, dir, "worktree", "add", "-q", beside)
			if tree, err := Tracked(filepath.Join(beside, "b", "custody.yaml")); err != nil || tree != beside {
				t.Errorf("in a linked work tree: got %q, %v", tree, err)
			}
		})
	}
}

// A checkout writes a file first and lists it in the index at its end.
func TestAWorkTreeThatGitIsChangingIsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "nothing")
	git(t, dir, "switch", "-q", "-c", "forced-in")
	file := filepath.Join(dir, "custody.yaml")
	said := filepath.Join(t.TempDir(), "said")
	// A filter runs for each file that is written: those after ours find it written, and the checkout going on.
	for name, text := range map[string]string{
		".gitattributes": "zz.txt filter=look\n", "custody.yaml": "theirs", "zz.txt": "the last",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "forced in")
	git(t, dir, "switch", "-q", "-")
	look := os.Args[0] + " -test.run=^TestLooksDuringACheckout$ >&2; cat"
	t.Setenv("CUSTODY_TEST_LOOK", file)
	t.Setenv("CUSTODY_TEST_SAID", said)
	git(t, dir, "-c", "filter.look.smudge="+look, "switch", "-q", "forced-in")
	got, err := os.ReadFile(said)
	if err != nil || !strings.Contains(string(got), ErrBusy.Error()) {
		t.Errorf("during the checkout it was said %q (%v)", got, err)
	}
	if tree, err := Tracked(file); err != nil || tree != dir {
		t.Errorf("after it: %q, %v", tree, err)
	}
}

// TestLooksDuringACheckout is run by a checkout, in a process of its own.
func TestLooksDuringACheckout(t *testing.T) {
	file := os.Getenv("CUSTODY_TEST_LOOK")
	if file == "" {
		return // only a checkout runs it
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Tracked(file)
	if err := os.WriteFile(os.Getenv("CUSTODY_TEST_SAID"), fmt.Appendf(nil, "%s: tree %q, %v", data, tree, err), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestIndexThatCannotBeReadIsNotBelieved(t *testing.T) {
	for name, test := range map[string]struct {
		init, after []string
		says        string
	}{
		"split":   {[]string{"init", "-q"}, []string{"update-index", "--split-index"}, "git update-index --no-split-index"},
		"SHA-256": {[]string{"init", "-q", "--object-format=sha256"}, nil, "outside the work tree"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			git(t, dir, test.init...)
			if err := os.WriteFile(filepath.Join(dir, "custody.yaml"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			git(t, dir, "add", "custody.yaml")
			if test.after != nil {
				git(t, dir, test.after...)
			}
			if tree, err := Tracked(filepath.Join(dir, "custody.yaml")); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q, %v", tree, err)
			}
		})
	}
}
