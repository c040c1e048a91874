// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"custody.dev/custody/internal/source/place"
)

var limits = Limits{
	Pack: 8 << 20, Object: 1 << 20, Entries: 100, Depth: 8, File: 1 << 20, Files: 2 << 20, Commits: 1000,
}

// work is a work tree with a bare repository that it pushes to, both of the real git.
type work struct {
	t               *testing.T
	home, dir, bare string
}

func newWork(t *testing.T) *work {
	t.Helper()
	w := &work{t: t, home: t.TempDir()}
	w.dir, w.bare = filepath.Join(w.home, "work"), filepath.Join(w.home, "bare.git")
	w.in(w.home, "git", "init", "--quiet", "--bare", "--initial-branch", "main", w.bare)
	w.in(w.home, "git", "init", "--quiet", "--initial-branch", "main", w.dir)
	settings := "[user]\n\tname = alice\n\temail = alice@example.org\n[remote \"origin\"]\n\turl = " + w.bare + "\n"
	if err := os.WriteFile(filepath.Join(w.home, ".gitconfig"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *work) in(dir, program string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+w.home, "GNUPGHOME="+filepath.Join(w.home, "gnupg"), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		w.t.Fatalf("%v: install it with tools/install-parts git ssh gnupg", err)
	}
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *work) git(args ...string) string { w.t.Helper(); return w.in(w.dir, "git", args...) }

func (w *work) write(name, text string) {
	w.t.Helper()
	name = filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

// commit makes a commit of one changed file, and returns it.
func (w *work) commit(text string, flags ...string) ID {
	w.t.Helper()
	w.write("estate/a.yaml", text)
	w.git("add", "--all")
	w.git(append([]string{"commit", "--quiet", "--message", text}, flags...)...)
	return ID(w.git("rev-parse", "HEAD"))
}

func (w *work) push(flags ...string) {
	w.t.Helper()
	w.git(append(append([]string{"push", "--quiet"}, flags...), "origin", "HEAD:main")...)
}

func (w *work) repository() Repository {
	w.t.Helper()
	at, err := place.Parse(w.bare)
	if err != nil {
		w.t.Fatal(err)
	}
	return Repository{Place: at}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func fetched(t *testing.T, c *Clone, r Repository) ID {
	t.Helper()
	head, err := c.Fetch(t.Context(), r, "main", noon)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func yaml(name string) bool { return strings.HasSuffix(name, ".yaml") }

func TestOneCommitIsRead(t *testing.T) {
	w := newWork(t)
	w.write("README.md", "no estate")
	w.write("estate/.hidden/x.yaml", "x")
	w.write("estate/deep/b.yaml", "b")
	if err := os.Symlink("a.yaml", filepath.Join(w.dir, "estate", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	first := w.commit("one")
	w.push()
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	if head := fetched(t, c, w.repository()); head != first {
		t.Fatalf("got %s, want %s", head, first)
	}
	second := w.commit("two")
	w.push()
	if head := fetched(t, c, w.repository()); head != second {
		t.Fatalf("got %s, want %s", head, second)
	}
	for id, want := range map[ID]string{first: "one", second: "two"} {
		files, err := c.Files(t.Context(), id, "estate", yaml)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range files {
			got += fmt.Sprintf("%s %v %s;", f.Name, f.Link, f.Data)
		}
		if want := "a.yaml false " + want + ";deep/b.yaml false b;link.yaml true ;"; got != want {
			t.Errorf("%s: got %s, want %s", id.Short(), got, want)
		}
	}
	if head, at, err := c.Head(); head != second || !at.Equal(noon) || err != nil {
		t.Errorf("got %s, %s, %v", head, at, err)
	}
}

// The host is not changed by what a repository holds.
func TestTreeThatCannotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		make func(*work)
		says string
	}{
		"a submodule": {func(w *work) {
			w.git("update-index", "--add", "--cacheinfo", "160000,"+w.git("rev-parse", "HEAD")+",estate/module")
			w.git("commit", "--quiet", "--message", "module")
		}, "module is a submodule"},
		"too many files": {func(w *work) {
			for i := range limits.Entries + 1 {
				w.write(fmt.Sprintf("estate/%d.txt", i), "x")
			}
			w.commit("many")
		}, "more than 100 files"},
		"nested too deep": {func(w *work) {
			w.write("estate/"+strings.Repeat("d/", limits.Depth+1)+"x.yaml", "x")
			w.commit("deep")
		}, "nested more than 8 deep"},
		"too large together": {func(w *work) {
			for i := range 3 {
				w.write(fmt.Sprintf("estate/%d.yaml", i), strings.Repeat(fmt.Sprint(i), 1<<20-1))
			}
			w.commit("large")
		}, "all together 2097152"},
		"no such folder": {func(w *work) { w.git("rm", "-r", "--quiet", "estate"); w.git("commit", "--quiet", "--message", "gone") }, "it has no folder estate"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWork(t)
			w.commit("one")
			c.make(w)
			w.push()
			clone := In(filepath.Join(t.TempDir(), "clone"), limits)
			head := fetched(t, clone, w.repository())
			_, err := clone.Files(t.Context(), head, "estate", yaml)
			if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestPackThatUnpacksToTooMuch(t *testing.T) {
	w := newWork(t)
	first := w.commit("one")
	w.push()
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	fetched(t, c, w.repository())
	w.write("bomb", strings.Repeat("\x00", int(limits.Object)+1))
	w.commit("two")
	w.push()
	if _, err := c.Fetch(t.Context(), w.repository(), "main", noon); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
	if head, _, err := c.Head(); head != first || err != nil {
		t.Errorf("the head is %s, %v, want %s", head, err, first)
	}
	small := limits
	small.Pack = 100
	if _, err := In(filepath.Join(t.TempDir(), "clone"), small).Fetch(t.Context(), w.repository(), "main", noon); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
}

// A difference of a few bytes that makes a gigabyte.
func TestDifferenceThatMakesTooMuch(t *testing.T) {
	b := &beginning{left: 100}
	_, _ = b.Write([]byte{0x05, 0x80, 0x80, 0x80, 0x80, 0x04, 0x90})
	if got := b.makes(); got != 1<<30 {
		t.Errorf("got %d, want %d", got, 1<<30)
	}
	if got := (&beginning{}).makes(); got < 1<<62 {
		t.Errorf("a difference without a size makes %d", got)
	}
}

func TestHistory(t *testing.T) {
	w := newWork(t)
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	first := w.commit("one")
	second := w.commit("two")
	w.push()
	fetched(t, c, w.repository())
	follow := func(from, to ID, want error) {
		t.Helper()
		if _, err := c.Follow(from, to, nil, noon); !errors.Is(err, want) {
			t.Errorf("from %s to %s: got %v, want %v", from.Short(), to.Short(), err, want)
		}
	}
	follow("", second, nil)
	follow(first, second, nil)
	follow(second, second, nil)
	follow(second, first, ErrOlder)
	w.git("reset", "--quiet", "--hard", string(first))
	other := w.commit("other")
	w.push("--force")
	fetched(t, c, w.repository())
	follow(second, other, ErrRewritten)
	follow(first, other, nil)
	follow("0123456789012345678901234567890123456789", other, ErrRewritten)
	w.git("checkout", "--quiet", "--orphan", "new")
	orphan := w.commit("orphan")
	w.push("--force")
	fetched(t, c, w.repository())
	follow(other, orphan, ErrRewritten)
	if _, err := c.Follow(first, "1123456789012345678901234567890123456789", nil, noon); !errors.Is(err, ErrDamaged) {
		t.Errorf("a commit that is not there: %v", err)
	}
}

func TestFetchThatFails(t *testing.T) {
	w := newWork(t)
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	if _, err := c.Fetch(t.Context(), w.repository(), "main", noon); !errors.Is(err, ErrNoBranch) {
		t.Errorf("an empty repository: got %v", err)
	}
	first := w.commit("one")
	w.push()
	fetched(t, c, w.repository())
	if err := os.Rename(w.bare, w.bare+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(t.Context(), w.repository(), "main", noon); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a repository that is gone: got %v", err)
	}
	if head, _, err := c.Head(); head != first || err != nil {
		t.Errorf("got %s, %v", head, err)
	}
	if err := os.Rename(w.bare+".away", w.bare); err != nil {
		t.Fatal(err)
	}
	second := w.commit("two")
	w.push()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Fetch(ended, w.repository(), "main", noon); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	// What a fetch that was killed left is no news to the next one.
	if err := os.WriteFile(filepath.Join(c.folder, "objects", "pack", "tmp_pack_1"), []byte("PACK"), 0o600); err != nil {
		t.Fatal(err)
	}
	if head := fetched(t, c, w.repository()); head != second {
		t.Errorf("got %s, want %s", head, second)
	}
	if left, _ := filepath.Glob(filepath.Join(c.folder, "objects", "pack", "tmp_*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// A clone that lost a pack says so, and is whole again once it was discarded.
	packs, _ := filepath.Glob(filepath.Join(c.folder, "objects", "pack", "*"))
	for _, pack := range packs {
		if err := os.Remove(pack); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Files(t.Context(), second, "estate", yaml); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want %v", err, ErrDamaged)
	}
	if err := c.Discard(); err != nil {
		t.Fatal(err)
	}
	fetched(t, c, w.repository())
	if _, err := c.Files(t.Context(), second, "estate", yaml); err != nil {
		t.Error(err)
	}
}

// A clone that many fetches added to is made anew; a commit that the branch no longer leads to is gone then, and not damaged.
func TestCloneOfManyFetches(t *testing.T) {
	w := newWork(t)
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	first := w.commit("one")
	w.push()
	fetched(t, c, w.repository())
	w.git("commit", "--quiet", "--amend", "--message", "another")
	w.push("--force")
	for i := range maxPacks {
		if err := os.WriteFile(filepath.Join(c.folder, "objects", "pack", fmt.Sprintf("pack-%040d.pack", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	head := fetched(t, c, w.repository())
	packs, err := filepath.Glob(filepath.Join(c.folder, "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Errorf("%d packs, %v", len(packs), err)
	}
	if _, err := c.Files(t.Context(), head, "estate", yaml); err != nil {
		t.Error(err)
	}
	if _, err := c.Files(t.Context(), first, "estate", yaml); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	if _, err := c.Follow(first, head, nil, noon); !errors.Is(err, ErrRewritten) {
		t.Errorf("got %v, want %v", err, ErrRewritten)
	}
}

// object is a commit as it is stored.
func (w *work) object(c *Clone, id ID) []byte {
	w.t.Helper()
	raw, err := rawCommit(c.open(), limits, plumbing.NewHash(string(id)))
	if err != nil {
		w.t.Fatal(err)
	}
	if want := w.git("cat-file", "commit", string(id)); strings.TrimSpace(string(raw)) != want {
		w.t.Fatalf("got %q, want %q", raw, want)
	}
	return bytes.Clone(raw)
}
