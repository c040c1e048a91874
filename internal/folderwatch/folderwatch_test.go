// SPDX-License-Identifier: Apache-2.0

package folderwatch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is what was told.
type event struct{ folder, name string }

// patience bounds the wait for what the kernel tells: it is at once, but for a machine that is very busy.
const patience = 30 * time.Second

func watching(t *testing.T, folders ...string) (*Watcher, chan event) {
	t.Helper()
	told := make(chan event, 1<<16)
	w, err := New(func(folder, name string) { told <- event{folder, name} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if fresh, unwatched := w.Follow(folders); len(fresh) != len(folders) || len(unwatched) > 0 {
		t.Fatalf("of %d folders %d are watched, %q are not", len(folders), len(fresh), unwatched)
	}
	return w, told
}

func await(t *testing.T, told chan event, want event) {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case got := <-told:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("%q was not told", want)
		}
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestWhatHappensToAFileIsTold(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "app.env")
	do(t, os.WriteFile(file, []byte("A=1\n"), 0o600))
	for what, change := range map[string]func() error{
		"written":  func() error { return os.WriteFile(file, []byte("A=2\n"), 0o600) },
		"its mode": func() error { return os.Chmod(file, 0o640) },
		"replaced": func() error {
			return errors.Join(os.WriteFile(file+".new", nil, 0o600), os.Rename(file+".new", file))
		},
		"removed": func() error { return errors.Join(os.Remove(file), os.WriteFile(file, nil, 0o600)) },
		"away":    func() error { return errors.Join(os.Rename(file, file+".old"), os.Rename(file+".old", file)) },
	} {
		t.Run(what, func(t *testing.T) {
			_, told := watching(t, folder)
			do(t, change())
			await(t, told, event{folder, "app.env"})
		})
	}
}

// A watch is on a folder, not on its name: whoever puts another one there has it watched from the next Follow on.
func TestReplacedFolderIsToldAndWatchedAgain(t *testing.T) {
	for what, replace := range map[string]func(above, folder string) error{
		"removed and made": func(_, folder string) error { return errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o700)) },
		"moved away": func(_, folder string) error {
			return errors.Join(os.Rename(folder, folder+".old"), os.Mkdir(folder, 0o700))
		},
		"one above it moved away": func(above, folder string) error {
			return errors.Join(os.Rename(above, above+".old"), os.MkdirAll(folder, 0o700))
		},
	} {
		t.Run(what, func(t *testing.T) {
			above := filepath.Join(t.TempDir(), "run")
			folder := filepath.Join(above, "app")
			do(t, os.MkdirAll(folder, 0o700))
			w, told := watching(t, folder)
			do(t, replace(above, folder))
			await(t, told, event{folder, ""})
			if fresh, unwatched := w.Follow([]string{folder}); len(fresh) != 1 || len(unwatched) > 0 {
				t.Fatalf("watched anew are %q, and %q cannot be", fresh, unwatched)
			}
			do(t, os.WriteFile(filepath.Join(folder, "app.env"), nil, 0o600))
			await(t, told, event{folder, "app.env"})
		})
	}
}

func TestFolderThatIsNotThereIsUnwatched(t *testing.T) {
	above := t.TempDir()
	folder := filepath.Join(above, "later")
	w, told := watching(t)
	if _, unwatched := w.Follow([]string{folder}); len(unwatched) != 1 {
		t.Fatalf("unwatched are %q", unwatched)
	}
	do(t, os.Mkdir(folder, 0o700))
	if fresh, unwatched := w.Follow([]string{folder}); len(fresh) != 1 || len(unwatched) > 0 {
		t.Fatalf("fresh are %q, unwatched are %q", fresh, unwatched)
	}
	if fresh, unwatched := w.Follow([]string{folder}); len(fresh)+len(unwatched) > 0 {
		t.Errorf("the second time fresh are %q, unwatched are %q", fresh, unwatched)
	}
	do(t, os.WriteFile(filepath.Join(folder, "a"), nil, 0o600))
	await(t, told, event{folder, "a"})
}

// A file system that other machines change tells only what this one does.
func TestFileSystemThatDoesNotTellIsUnwatched(t *testing.T) {
	w, _ := watching(t)
	if _, unwatched := w.Follow([]string{"/proc/self"}); len(unwatched) != 1 {
		t.Error("it is taken for watched")
	}
}

func TestFolderThatIsFollowedNoMoreIsNotTold(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	w, told := watching(t, one, other)
	w.Follow([]string{other})
	do(t, os.WriteFile(filepath.Join(one, "a"), nil, 0o600), os.WriteFile(filepath.Join(other, "b"), nil, 0o600))
	await(t, told, event{other, "b"})
	for len(told) > 0 {
		if got := <-told; got.folder == one {
			t.Errorf("%q was told", got)
		}
	}
}

// More changes than the kernel keeps must not be missed: it is told that anything may have changed.
func TestOverflowIsTold(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	files := []string{filepath.Join(folder, "a"), filepath.Join(folder, "b")}
	do(t, os.WriteFile(files[0], nil, 0o600), os.WriteFile(files[1], nil, 0o600))
	busy, told := make(chan struct{}), make(chan event, most*2+1<<16)
	w, err := New(func(folder, name string) {
		<-busy // nobody reads the queue meanwhile
		told <- event{folder, name}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	w.Follow([]string{folder})
	for i := range most + buffer/unix16 {
		do(t, os.Chmod(files[i%2], 0o600)) // two by turns: equal ones after each other are kept as one
	}
	close(busy)
	await(t, told, event{"", ""})
	do(t, os.WriteFile(filepath.Join(folder, "after"), nil, 0o600))
	await(t, told, event{folder, "after"})
}

// unix16 is less than the size of any event.
const unix16 = 16
