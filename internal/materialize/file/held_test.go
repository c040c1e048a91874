// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
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

// A container that mounts the one file keeps the old one.
func TestMountOfTheOneFileIsNotLeftBehind(t *testing.T) {
	config := config(t)
	file := filepath.Join(config.Folder, config.Path)
	if err := open(t, config).Deliver(t.Context(), materializetest.Version(t, "a", "r", 1)); err != nil {
		t.Fatal(err)
	}
	point := filepath.Join(t.TempDir(), "mounted")
	if err := os.WriteFile(point, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// As in a container: a user and mount namespace of its own, so that no privilege is needed.
	container := exec.Command("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c",
		`mount --bind "$1" "$2" && echo ready && read line; cat "$2"`, "sh", file, point)
	input, err := container.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := container.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := container.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = container.Process.Kill(); _ = container.Wait() })
	ready := make([]byte, len("ready\n"))
	if _, err := output.Read(ready); err != nil {
		t.Fatalf("mounting in a namespace: %v", err)
	}
	v := materializetest.Version(t, "a", "r", 2)
	if err := open(t, config).Deliver(t.Context(), v); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), point) {
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
	if _, err := input.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := output.Read(got); err != nil || string(got) != string(want) {
		t.Errorf("the container does not read the new content: %v", err)
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
