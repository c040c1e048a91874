// SPDX-License-Identifier: Apache-2.0

package durable_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/durable"
)

func appendFolder(t *testing.T) (*durable.Folder, string) {
	t.Helper()
	dir := t.TempDir()
	folder, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder, dir
}

func readAll(t *testing.T, folder *durable.Folder, name string) string {
	t.Helper()
	reader, err := folder.Reader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAppendAddsToWhatIsThere(t *testing.T) {
	folder, dir := appendFolder(t)
	for _, word := range []string{"one\n", "two\n"} {
		file, err := folder.Append("words")
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Append([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := readAll(t, folder, "words"); got != "one\ntwo\n" {
		t.Errorf("got %q", got)
	}
	info, err := os.Stat(filepath.Join(dir, "words"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
}

func TestCutThenAppend(t *testing.T) {
	folder, _ := appendFolder(t)
	file, err := folder.Append("words")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, step := range []error{file.Append([]byte("onetwo")), file.Cut(3), file.Append([]byte("three"))} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if got := readAll(t, folder, "words"); got != "onethree" || file.Size() != 8 {
		t.Errorf("got %q, size %d", got, file.Size())
	}
}

// A file that can no longer be written or cut says so for ever after.
func TestAppendThatCannotBeTakenBack(t *testing.T) {
	folder, _ := appendFolder(t)
	file, err := folder.Append("words")
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := file.Append([]byte("x")); !errors.Is(err, durable.ErrUncertain) {
			t.Errorf("got %v, want ErrUncertain", err)
		}
	}
}

func TestAppendStaysInsideItsFolder(t *testing.T) {
	folder, dir := appendFolder(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Append("link"); !errors.Is(err, durable.ErrSymlink) {
		t.Errorf("appending through a link: got %v, want ErrSymlink", err)
	}
	if _, err := folder.Reader("link"); !errors.Is(err, durable.ErrSymlink) {
		t.Errorf("reading through a link: got %v, want ErrSymlink", err)
	}
	if _, err := folder.Lock("link"); !errors.Is(err, durable.ErrSymlink) {
		t.Errorf("locking through a link: got %v, want ErrSymlink", err)
	}
	if _, err := folder.Append("../outside"); err == nil {
		t.Error("a name outside the folder was taken")
	}
	if _, err := folder.Reader("absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading what is absent: got %v, want fs.ErrNotExist", err)
	}
}

func TestLockIsHeldOnce(t *testing.T) {
	folder, dir := appendFolder(t)
	lock, err := folder.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	other, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Lock("lock"); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("second lock: got %v, want ErrLocked", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := other.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := folder.Names()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lock"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
