// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/materializetest"
)

// TestLeftovers: what a crash within a write leaves may hold a value, and goes with the next delivery.
func TestLeftovers(t *testing.T) {
	config := config(t)
	c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
	names := createdNames(t, config.Folder, func() {
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	})
	var temporary []string
	for _, name := range names {
		if strings.HasSuffix(name, materialize.TemporarySuffix) {
			temporary = append(temporary, name)
		}
	}
	if len(temporary) != 3 {
		t.Fatalf("got temporary files %q by one delivery, want those of the stamp, the file and the stamp", temporary)
	}
	keep := []string{".app.env.backup.tmp", ".app.env.0123456789abcdef.tmp", ".other.env.custody.tmp", "app.env.custody.tmp"}
	for _, name := range slices.Concat(temporary, keep) {
		write(name, "left behind")(t, config)
	}
	if err := c.Deliver(t.Context(), materializetest.Version(t, "a", "s", 2)); err != nil {
		t.Fatal(err)
	}
	for _, name := range temporary {
		if _, err := os.Stat(filepath.Join(config.Folder, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %s still there: %v", name, err)
		}
	}
	for _, name := range keep {
		if _, err := os.Stat(filepath.Join(config.Folder, name)); err != nil {
			t.Errorf("got %s taken away, which is not ours", name)
		}
	}
}

// TestFolderIsNotListed: what a delivery costs does not depend on how many files the folder has.
func TestFolderIsNotListed(t *testing.T) {
	config := config(t)
	c := open(t, config)
	const read = unix.IN_ACCESS | unix.IN_ONLYDIR
	for _, name := range watched(t, config.Folder, read, func() {
		for number := range authority.Version(3) {
			if err := c.Deliver(t.Context(), materializetest.Version(t, "a", "r", number+1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Prove(t.Context(), materializetest.Version(t, "a", "r", 3)); err != nil {
			t.Fatal(err)
		}
	}) {
		if name == "" {
			t.Error("the folder itself was read")
		}
	}
	if seen := watched(t, config.Folder, read, func() {
		if _, err := os.ReadDir(config.Folder); err != nil {
			t.Fatal(err)
		}
	}); !slices.Contains(seen, "") {
		t.Errorf("got %q while the folder was read, so that this test sees nothing", seen)
	}
}

// createdNames returns the names that appear in dir while body runs.
func createdNames(t *testing.T, dir string, body func()) []string {
	t.Helper()
	return watched(t, dir, unix.IN_CREATE, body)
}

// watched returns the names of which the kernel tells such events while body runs, "" for dir itself.
func watched(t *testing.T, dir string, events uint32, body func()) (names []string) {
	t.Helper()
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(watch) }()
	if _, err := unix.InotifyAddWatch(watch, dir, events); err != nil {
		t.Fatal(err)
	}
	body()
	buffer := make([]byte, 64<<10)
	n, err := unix.Read(watch, buffer)
	if err != nil {
		t.Fatal(err)
	}
	for event := buffer[:n]; len(event) > 0; {
		length := int(event[12]) | int(event[13])<<8 // of the name; the header has 16 bytes
		names = append(names, strings.TrimRight(string(event[16:16+length]), "\x00"))
		event = event[16+length:]
	}
	return names
}
