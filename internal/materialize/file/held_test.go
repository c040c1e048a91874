// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/materializetest"
)

// A reader with another name for the file would keep the old content.
func TestHardLinkIsNotLeftBehind(t *testing.T) {
	config := config(t)
	file, other := filepath.Join(config.Folder, config.Path), filepath.Join(t.TempDir(), "other")
	deliver := func(number authority.Version) error {
		return open(t, config).Deliver(t.Context(), materializetest.Version(t, "a", "r", number))
	}
	if err := deliver(1); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, other); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := deliver(2); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "inPlace: true") {
		t.Errorf("got %v, want ErrHeld and what to do", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %v", err)
	}
	config.InPlace = true
	if err := deliver(2); err != nil {
		t.Fatal(err)
	}
	want, _ := os.ReadFile(file)
	if got, err := os.ReadFile(other); err != nil || string(got) != string(want) || string(got) == string(before) {
		t.Errorf("the other name does not hold the new content: %v", err)
	}
}

// container has the file mounted by itself until its input is written to or closed; it then prints what it reads there, and
// ends.
type container struct {
	point  string
	input  io.WriteCloser
	output io.Reader
	end    func()
}

// contain starts one: a user and mount namespace of its own, so that no privilege is needed.
func contain(t *testing.T, file string) container {
	t.Helper()
	c := container{point: filepath.Join(t.TempDir(), "mounted")}
	if err := os.WriteFile(c.point, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c",
		`mount --bind "$1" "$2" && echo ready && read line; cat "$2"`, "sh", file, c.point)
	var err error
	if c.input, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if c.output, err = command.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	c.end = func() { _ = command.Process.Kill(); _ = command.Wait() }
	t.Cleanup(c.end)
	ready := make([]byte, len("ready\n"))
	if _, err := c.output.Read(ready); err != nil {
		t.Fatalf("mounting in a namespace: %v", err)
	}
	return c
}

// A container that mounts the one file keeps the old one.
func TestMountOfTheOneFileIsNotLeftBehind(t *testing.T) {
	config := config(t)
	file := filepath.Join(config.Folder, config.Path)
	if err := open(t, config).Deliver(t.Context(), materializetest.Version(t, "a", "r", 1)); err != nil {
		t.Fatal(err)
	}
	held := contain(t, file)
	v := materializetest.Version(t, "a", "r", 2)
	if err := open(t, config).Deliver(t.Context(), v); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), held.point) {
		t.Errorf("got %v, want ErrHeld and where it is mounted", err)
	}
	config.InPlace = true
	if err := open(t, config).Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.input.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := held.output.Read(got); err != nil || string(got) != string(want) {
		t.Errorf("the container does not read the new content: %v", err)
	}
}

// Where the file was removed, nothing was asked: a new one was written and counted as delivered, while the container went on
// with the one that was removed.
func TestMountOfARemovedFileIsNotLeftBehind(t *testing.T) {
	for name, inPlace := range map[string]bool{"replaced": false, "in place": true} {
		t.Run(name, func(t *testing.T) {
			config := config(t)
			config.InPlace = inPlace
			file := filepath.Join(config.Folder, config.Path)
			if err := open(t, config).Deliver(t.Context(), materializetest.Version(t, "a", "r", 1)); err != nil {
				t.Fatal(err)
			}
			held := contain(t, file)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			v := materializetest.Version(t, "a", "r", 2)
			for range 2 { // the second finds the file that the first wrote
				if err := open(t, config).Deliver(t.Context(), v); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), held.point) {
					t.Errorf("got %v, want ErrHeld and where it is mounted", err)
				}
				if proof, err := open(t, config).Prove(t.Context(), v); err != nil || proof.Version == v.ID {
					t.Errorf("got %+v, %v while a container reads the file before", proof, err)
				}
			}
			held.end()
			contain(t, file) // started again, it has the new one
			if err := open(t, config).Deliver(t.Context(), v); err != nil {
				t.Error(err)
			}
			if proof, err := open(t, config).Prove(t.Context(), v); err != nil || proof.Version != v.ID {
				t.Errorf("got %+v, %v, want the version that was written", proof, err)
			}
		})
	}
}

func TestAccessListOutlivesDelivery(t *testing.T) {
	config := config(t)
	file := filepath.Join(config.Folder, config.Path)
	config.Mode = 0o640
	if err := open(t, config).Deliver(t.Context(), materializetest.Version(t, "a", "r", 1)); err != nil {
		t.Fatal(err)
	}
	// user::rw-, user:65534:r--, group::r--, mask::r--, other::---, as the kernel writes it.
	list := []byte("\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xfe\xff\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")
	if err := unix.Setxattr(file, "system.posix_acl_access", list, 0); err != nil {
		t.Fatalf("setting an access list (the folder for temporary files must take them): %v", err)
	}
	if err := open(t, config).Deliver(t.Context(), materializetest.Version(t, "a", "r", 2)); err != nil {
		t.Fatal(err)
	}
	folder, err := durable.Open(config.Folder)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if got, err := folder.AccessList(config.Path); err != nil || string(got) != string(list) {
		t.Errorf("got %x, %v, want the list that was there", got, err)
	}
}

// TestMissingFileIsWrittenAgain: a stamp alone counted as the version being held, so where an older state was put back
// and the file was gone, nothing was ever written.
func TestMissingFileIsWrittenAgain(t *testing.T) {
	config := config(t)
	c := open(t, config)
	older, newer := materializetest.Version(t, "a", "r", 1), materializetest.Version(t, "a", "s", 2)
	if err := c.Deliver(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	given, known, err := c.Given(t.Context(), newer.Path)
	if err != nil || !known || given != newer.ID {
		t.Errorf("got %v, %t, %v, want the version that was delivered", given, known, err)
	}
	if err := c.Deliver(t.Context(), older); !errors.Is(err, materialize.ErrStale) {
		t.Errorf("got %v while the file is there, want ErrStale", err)
	}
	if err := os.Remove(filepath.Join(config.Folder, config.Path)); err != nil {
		t.Fatal(err)
	}
	if proof, err := c.Prove(t.Context(), older); err != nil || proof.Version != (authority.VersionID{}) {
		t.Errorf("got %+v, %v, want a file that is gone to hold no version", proof, err)
	}
	if err := c.Deliver(t.Context(), older); err != nil {
		t.Errorf("got %v where the file is gone", err)
	}
	if proof, err := c.Prove(t.Context(), older); err != nil || proof.Version != older.ID {
		t.Errorf("got %+v, %v, want the version that was written", proof, err)
	}
}
