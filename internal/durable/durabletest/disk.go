// SPDX-License-Identifier: Apache-2.0

// Package durabletest gives tests a disk that is really full: a tmpfs of its own, mounted in a namespace that ends with
// the test's process. It needs Linux, and root or unprivileged user namespaces; without them the test fails with that
// message. Cost: the test binary is started once more.
package durabletest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const childVariable = "DURABLETEST_DISK"

// OnSmallDisk runs body in a process of its own, on an empty file system of the given size (as tmpfs takes it, such as
// "1m"). It must be all that its test does.
func OnSmallDisk(t *testing.T, size string, body func(t *testing.T, dir string)) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
			t.Fatalf("mounting a tmpfs in a namespace of its own: %v; run as root, or allow mounts in user namespaces", err)
		}
		body(t, dir)
		return
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatalf("finding the test binary: %v", err)
	}
	name := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	child := exec.Command(binary, "-test.run", name, "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), childVariable+"="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	output, err := child.CombinedOutput()
	var failed *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &failed):
		t.Fatalf("starting a process with a mount namespace: %v; run as root, or allow unprivileged user namespaces (sysctl user.max_user_namespaces)", err)
	case err != nil:
		t.Fatalf("on a disk of %s: %v\n%s", size, err, output)
	case !strings.Contains(string(output), "--- PASS: "+t.Name()):
		t.Fatalf("on a disk of %s the test did not run:\n%s", size, output)
	}
}

// Fill writes the file name until the disk is full to the last byte; removing it frees the disk.
func Fill(t *testing.T, name string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, 64<<10)
	for {
		if _, err := file.Write(block); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
		if len(block) == 1 {
			return
		}
		block = block[:len(block)/2]
	}
}
