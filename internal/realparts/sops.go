// SPDX-License-Identifier: Apache-2.0

// Package realparts gives tests the real programs they are checked against, built from pinned modules.
//
// Guaranteed: what is returned was built from the go.mod and go.sum in tools/, by this Go; a part that cannot be built
// fails the test and says what to do. Builds are kept in the user's cache folder and made once, whatever number of tests
// ask at the same time. Not guaranteed: that old builds are removed.
//
// Cost: the first build of sops takes minutes (and the network, where modules are not yet in the cache); later calls
// take a file lock and a look.
package realparts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Sops returns the path of stock sops.
func Sops(t testing.TB) string {
	t.Helper()
	return build(t, "sops", "sops", "github.com/getsops/sops/v3/cmd/sops")
}

// Age returns the path of stock age.
func Age(t testing.TB) string {
	t.Helper()
	return build(t, "sops", "age", "filippo.io/age/cmd/age")
}

// build makes one program of a module beneath tools/ and returns its path.
func build(t testing.TB, module, name, pkg string) string {
	t.Helper()
	source := filepath.Join(moduleRoot(t), "tools", module)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("building %s: no cache folder: %v\nhint: set HOME or XDG_CACHE_HOME", name, err)
	}
	folder := filepath.Join(cache, "custody-realparts", fingerprint(t, source))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatalf("building %s: %v\nhint: make the folder writable", name, err)
	}
	program := filepath.Join(folder, name)
	lock, err := os.OpenFile(filepath.Join(folder, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("building %s: %v\nhint: make the folder writable", name, err)
	}
	defer func() { _ = lock.Close() }() // which releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatalf("building %s: locking: %v", name, err)
	}
	if _, err := os.Stat(program); err == nil {
		return program
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("building %s: %v", name, err)
	}
	// Built beside and renamed, so that a build that was cut off is never taken for a program.
	part := program + ".part"
	command := exec.CommandContext(t.Context(), "go", "build", "-o", part, pkg)
	command.Dir = source
	command.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s\nhint: run 'go build %s' in tools/%s; it needs the modules its go.mod names, from a proxy or the module cache",
			name, err, output, pkg, module)
	}
	if err := os.Rename(part, program); err != nil {
		t.Fatalf("building %s: %v", name, err)
	}
	return program
}

// fingerprint tells builds apart that would not give the same program.
func fingerprint(t testing.TB, source string) string {
	t.Helper()
	hash := sha256.New()
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			t.Fatalf("building real parts: %v\nhint: the tree is incomplete; restore tools/ from Git", err)
		}
		hash.Write(data)
	}
	hash.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH))
	return hex.EncodeToString(hash.Sum(nil)[:12])
}

// moduleRoot finds the tree from a test's working folder, which is its package's.
func moduleRoot(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if info, err := os.Stat(filepath.Join(folder, "tools", "sops")); err == nil && info.IsDir() {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("building real parts: tools/sops was not found above the test\nhint: run tests in the source tree")
		}
		folder = parent
	}
}
