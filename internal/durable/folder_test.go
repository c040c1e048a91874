// SPDX-License-Identifier: Apache-2.0

package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/durable/durabletest"
)

func open(t *testing.T) (*durable.Folder, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, name, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(name), got, err, want)
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names in folder (-want +got):\n%s", diff)
	}
}

func TestReplaceThenRead(t *testing.T) {
	f, dir := open(t)
	for _, content := range []string{"one", "", "a longer one", "two"} {
		must(t, f.Replace("name", []byte(content), durable.Private))
		got, err := f.Read("name")
		if err != nil || string(got) != content {
			t.Errorf("Read = %q, %v; want %q", got, err, content)
		}
	}
	wantNames(t, dir, "name")
}

func TestReplaceSetsMode(t *testing.T) {
	f, dir := open(t)
	defer syscall.Umask(syscall.Umask(0o077)) // the mode is what was asked for, whatever the process's mask
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o444, 0o666, 0o600} {
		as := durable.Attributes{Mode: mode, UID: os.Getuid(), GID: os.Getgid()}
		must(t, f.Replace("name", []byte("x"), as))
		info, err := os.Stat(filepath.Join(dir, "name"))
		if err != nil || info.Mode() != mode {
			t.Errorf("mode = %v, %v; want %v", info.Mode(), err, mode)
		}
	}
}

func TestReplaceKeepsOldReaders(t *testing.T) {
	f, dir := open(t)
	must(t, f.Replace("name", []byte("old"), durable.Private))
	reader, err := os.Open(filepath.Join(dir, "name"))
	must(t, err)
	defer reader.Close()
	must(t, f.Replace("name", []byte("newer"), durable.Private))
	content := make([]byte, 10)
	if n, _ := reader.Read(content); string(content[:n]) != "old" {
		t.Errorf("a reader of the old file sees %q", content[:n])
	}
}

func TestCreateOnce(t *testing.T) {
	f, dir := open(t)
	must(t, f.Create("name", []byte("first")))
	if err := f.Create("name", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create = %v, want fs.ErrExist", err)
	}
	wantContent(t, filepath.Join(dir, "name"), "first")
	wantNames(t, dir, "name")
	if info, err := os.Stat(filepath.Join(dir, "name")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
}

func TestCreateRace(t *testing.T) {
	f, dir := open(t)
	var won atomic.Int64
	var winner atomic.Value
	var done sync.WaitGroup
	start := make(chan struct{})
	for n := range 32 {
		done.Go(func() {
			<-start
			content := fmt.Sprintf("of %d", n)
			switch err := f.Create("name", []byte(content)); {
			case err == nil:
				won.Add(1)
				winner.Store(content)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("Create: %v", err)
			}
		})
	}
	close(start)
	done.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d creators won, want 1", won.Load())
	}
	wantContent(t, filepath.Join(dir, "name"), winner.Load().(string))
	wantNames(t, dir, "name")
}

func TestRemove(t *testing.T) {
	f, dir := open(t)
	must(t, f.Create("name", nil), f.Remove("name"), f.Remove("name"), f.Remove("no/such/folder"))
	wantNames(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	if err := f.Remove("folder"); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("Remove of a folder = %v, want ErrNotRegular", err)
	}
	wantNames(t, dir, "folder")
}

func TestRename(t *testing.T) {
	f, dir := open(t)
	must(t, f.Create("from", []byte("new")), f.Create("to", []byte("old")), f.Rename("from", "to"))
	wantNames(t, dir, "to")
	wantContent(t, filepath.Join(dir, "to"), "new")
	if err := f.Rename("from", "to"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Rename of nothing = %v, want fs.ErrNotExist", err)
	}
	wantContent(t, filepath.Join(dir, "to"), "new")
}

func TestMakeParentsAlike(t *testing.T) {
	f, dir := open(t)
	must(t, os.Chmod(dir, 0o750|fs.ModeSetgid), f.MakeParentsAlike("name"), f.MakeParentsAlike("a/b/name"), f.MakeParentsAlike("a/b/name"))
	for _, name := range []string{"a", "a/b"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != fs.ModeDir|0o750|fs.ModeSetgid {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	wantNames(t, dir, "a")
}

func TestMakeParents(t *testing.T) {
	f, dir := open(t)
	must(t, f.MakeParents("name"), f.MakeParents("a/b/c/name"), f.MakeParents("a/b/c/name"), f.Create("a/b/c/name", nil))
	info, err := os.Stat(filepath.Join(dir, "a", "b"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a folder on the way has mode %v, %v; want 0700", info.Mode(), err)
	}
	made, err := durable.Make(filepath.Join(dir, "x", "y"))
	must(t, err)
	must(t, made.Create("name", nil), made.Close())
	wantNames(t, filepath.Join(dir, "x", "y"), "name")
}

// verbs are all that take a name, on a folder where "name" is what stands in the way.
func verbs(f *durable.Folder, name string) map[string]func() error {
	return map[string]func() error{
		"Read":             func() error { _, err := f.Read(name); return err },
		"Create":           func() error { return f.Create(name, []byte("mine")) },
		"Replace":          func() error { return f.Replace(name, []byte("mine"), durable.Private) },
		"MakeParents":      func() error { return f.MakeParents(name + "/below") },
		"MakeParentsAlike": func() error { return f.MakeParentsAlike(name + "/below") },
		"Rename from":      func() error { return f.Rename(name, "elsewhere") },
		"Rename to":        func() error { return f.Rename("present", name) },
	}
}

func TestLinksAreRefused(t *testing.T) {
	for depth, name := range []string{"link", "link/b/name", "a/link/name", "a/b/link"} {
		outside := t.TempDir()
		must(t, os.MkdirAll(filepath.Join(outside, "b"), 0o700))
		for _, below := range []string{"name", "b/name"} {
			must(t, os.WriteFile(filepath.Join(outside, below), []byte("theirs"), 0o600))
		}
		f, dir := open(t)
		must(t, f.MakeParents("a/b/name"), f.Create("present", []byte("present")))
		target := outside
		if strings.HasSuffix(name, "link") {
			target = filepath.Join(outside, "name")
		}
		must(t, os.Symlink(target, filepath.Join(dir, name[:strings.Index(name, "link")], "link")))
		for verb, call := range verbs(f, name) {
			if verb == "Create" && strings.HasSuffix(name, "link") {
				if err := call(); !errors.Is(err, fs.ErrExist) && !errors.Is(err, durable.ErrSymlink) {
					t.Errorf("Create(%s) = %v, want fs.ErrExist or ErrSymlink", name, err)
				}
				continue
			}
			if err := call(); !errors.Is(err, durable.ErrSymlink) {
				t.Errorf("%s(%s), link at depth %d = %v, want ErrSymlink", verb, name, depth, err)
			}
		}
		if err := f.Remove(name); (err == nil) != strings.HasSuffix(name, "link") {
			t.Errorf("Remove(%s) = %v: a link itself may be removed, nothing behind it", name, err)
		}
		wantContent(t, filepath.Join(outside, "name"), "theirs")
		wantContent(t, filepath.Join(outside, "b", "name"), "theirs")
		wantNames(t, outside, "b", "name")
	}
}

func TestLinkInsideTheFolderIsRefused(t *testing.T) {
	f, dir := open(t)
	must(t, f.Create("real", []byte("content")), os.Symlink("real", filepath.Join(dir, "link")))
	if err := f.Replace("link", []byte("mine"), durable.Private); !errors.Is(err, durable.ErrSymlink) {
		t.Errorf("Replace = %v, want ErrSymlink", err)
	}
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	if err := f.Replace("dangling", []byte("mine"), durable.Private); !errors.Is(err, durable.ErrSymlink) {
		t.Errorf("Replace of a dangling link = %v, want ErrSymlink", err)
	}
	wantContent(t, filepath.Join(dir, "real"), "content")
}

func TestOutsideIsRefused(t *testing.T) {
	f, dir := open(t)
	must(t, f.Create("present", nil))
	for _, name := range []string{"..", "../name", "a/../../name", filepath.Join(dir, "present"), "/etc/hostname", ""} {
		for verb, call := range verbs(f, name) {
			if strings.HasPrefix(verb, "MakeParents") && name == "" {
				continue // "/below"
			}
			if err := call(); !errors.Is(err, durable.ErrOutside) {
				t.Errorf("%s(%q) = %v, want ErrOutside", verb, name, err)
			}
		}
		if err := f.Remove(name); err == nil {
			t.Errorf("Remove(%q) succeeded", name)
		}
	}
	wantNames(t, filepath.Dir(dir), filepath.Base(dir))
}

func TestReadDoesNotWaitOnPipe(t *testing.T) {
	f, dir := open(t)
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	if _, err := f.Read("pipe"); !errors.Is(err, durable.ErrNotRegular) {
		t.Errorf("Read = %v, want ErrNotRegular", err)
	}
}

// TestLeftOfCrash: a writer that is alone finds what a crash left by its name, and touches nothing of others.
func TestLeftOfCrash(t *testing.T) {
	f, dir := open(t)
	must(t, f.MakeParents("below/name"))
	alone := durable.Private
	alone.Alone = true
	others := []string{".name.0123456789abcdef.tmp", ".other.custody.tmp", "name.custody.tmp"}
	for _, name := range append(others, durable.Temporary("name"), durable.Temporary("below/name")) {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600))
	}
	must(t, f.Create("name", []byte("one")), f.Replace("name", []byte("two"), durable.Private))
	wantContent(t, filepath.Join(dir, durable.Temporary("name")), "half")
	must(t, f.Replace("name", []byte("three"), alone))
	wantContent(t, filepath.Join(dir, "name"), "three")
	wantNames(t, dir, ".name.0123456789abcdef.tmp", ".other.custody.tmp", "below", "name", "name.custody.tmp")
	must(t, f.Clear("below/name"), f.Clear("below/name"))
	wantNames(t, filepath.Join(dir, "below"))
	if err := f.Clear("../name"); !errors.Is(err, durable.ErrOutside) {
		t.Errorf("Clear(../name) = %v, want ErrOutside", err)
	}
}

// TestTemporaryNames: a write that is alone uses the name that Clear looks for; any other draws one, since two may write.
func TestTemporaryNames(t *testing.T) {
	f, dir := open(t)
	created := func(as durable.Attributes) string {
		watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		must(t, err)
		defer func() { _ = unix.Close(watch) }()
		_, err = unix.InotifyAddWatch(watch, dir, unix.IN_CREATE)
		must(t, err, f.Replace("name", []byte("content"), as))
		events := make([]byte, 4096)
		n, err := unix.Read(watch, events)
		if err != nil || n <= unix.SizeofInotifyEvent {
			t.Fatalf("no temporary file was seen: %d bytes, %v", n, err)
		}
		seen, _, _ := strings.Cut(string(events[unix.SizeofInotifyEvent:n]), "\x00")
		return seen
	}
	alone := durable.Private
	alone.Alone = true
	if got, again := created(alone), created(alone); got != durable.Temporary("name") || again != got {
		t.Errorf("alone it was written as %q and %q, want %q", got, again, durable.Temporary("name"))
	}
	if got, again := created(durable.Private), created(durable.Private); got == again || got == durable.Temporary("name") {
		t.Errorf("with company it was written as %q and %q, want two names", got, again)
	}
	wantNames(t, dir, "name")
}

func TestFailedReplaceLeavesNothing(t *testing.T) {
	f, dir := open(t)
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	if err := f.Replace("folder", []byte("x"), durable.Private); err == nil {
		t.Fatal("Replace of a folder succeeded")
	}
	wantNames(t, dir, "folder")
}

func TestFullDiskKeepsOldContent(t *testing.T) {
	durabletest.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		f, err := durable.Open(dir)
		must(t, err)
		must(t, f.Replace("name", []byte("old"), durable.Private))
		durabletest.Fill(t, filepath.Join(dir, "ballast"))
		for verb, call := range map[string]func() error{
			"Replace": func() error { return f.Replace("name", make([]byte, 8192), durable.Private) },
			"Create":  func() error { return f.Create("new", make([]byte, 8192)) },
		} {
			if err := call(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s on a full disk = %v, want ENOSPC", verb, err)
			}
		}
		wantContent(t, filepath.Join(dir, "name"), "old")
		wantNames(t, dir, "ballast", "name")
		must(t, f.Remove("ballast"), f.Replace("name", []byte("new"), durable.Private))
		wantContent(t, filepath.Join(dir, "name"), "new")
		wantNames(t, dir, "name")
	})
}

func TestFillWritesAllOrSaysWhyNot(t *testing.T) {
	f, dir := open(t)
	files := map[string][]byte{"a": []byte("1"), "b/c/d": []byte("2"), "b/e": nil}
	must(t, f.Fill(maps.All(files)))
	for name, data := range files {
		wantContent(t, filepath.Join(dir, name), string(data))
	}
	must(t, os.WriteFile(filepath.Join(dir, "there"), []byte("old"), 0o600), os.Symlink("elsewhere", filepath.Join(dir, "link")))
	for _, name := range []string{"there", "../outside", "link", "link/x"} {
		if err := f.Fill(maps.All(map[string][]byte{name: []byte("new")})); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	wantContent(t, filepath.Join(dir, "there"), "old")
}
