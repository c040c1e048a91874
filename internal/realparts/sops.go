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
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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

// build makes one program of a module beneath tools/ and returns its path, or fails the test.
func build(t testing.TB, module, name, pkg string, tags ...string) string {
	t.Helper()
	program, err := buildProgram(t.Context(), module, name, pkg, tags...)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// buildProgram makes one program of a module beneath tools/, with Go's build tags, and returns its path. The working
// folder lies in the source tree.
func buildProgram(ctx context.Context, module, name, pkg string, tags ...string) (string, error) {
	source, program, err := programPath(module, name, tags)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		return "", fmt.Errorf("building %s: %w\nhint: make the folder writable", name, err)
	}
	lock, err := os.OpenFile(program+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("building %s: %w\nhint: make the folder writable", name, err)
	}
	defer func() { _ = lock.Close() }() // which releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("building %s: locking: %w", name, err)
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	// Built beside and renamed, so that a build that was cut off is never taken for a program.
	part := program + ".part"
	arguments := []string{"build", "-o", part}
	if len(tags) > 0 {
		arguments = append(arguments, "-tags", strings.Join(tags, ","))
	}
	arguments = append(arguments, pkg)
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = source
	command.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s\nhint: run 'go %s' in tools/%s; it needs the modules its go.mod names, from a proxy or the module cache",
			name, err, output, strings.Join(arguments, " "), module)
	}
	if err := os.Rename(part, program); err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return program, nil
}

// programPath says where a program is built from, and where it is once it was.
func programPath(module, name string, tags []string) (source, program string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", fmt.Errorf("no cache folder: %w\nhint: set HOME or XDG_CACHE_HOME", err)
	}
	source = filepath.Join(root, "tools", module)
	mark, err := fingerprint(source, tags)
	if err != nil {
		return "", "", err
	}
	return source, filepath.Join(cache, "custody-realparts", mark, name), nil
}

// moduleFolder returns where the sources of a dependency of a module beneath tools/ lie.
func moduleFolder(ctx context.Context, module, dependency string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", dependency)
	command.Dir = filepath.Join(root, "tools", module)
	command.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	output, err := command.Output()
	folder := strings.TrimSpace(string(output))
	if err != nil || folder == "" {
		return "", fmt.Errorf("finding the sources of %s: %w\nhint: run 'go mod download' in tools/%s", dependency, err, module)
	}
	return folder, nil
}

// fingerprint tells builds apart that would not give the same program.
func fingerprint(source string, tags []string) (string, error) {
	hash := sha256.New()
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			return "", fmt.Errorf("%w\nhint: the tree is incomplete; restore tools/ from Git", err)
		}
		hash.Write(data)
	}
	hash.Write([]byte(runtime.Version() + runtime.GOOS + runtime.GOARCH + strings.Join(tags, ",")))
	return hex.EncodeToString(hash.Sum(nil)[:12]), nil
}

// moduleRoot finds the tree from the working folder; a test's is its package's.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if info, err := os.Stat(filepath.Join(folder, "tools", "sops")); err == nil && info.IsDir() {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("tools/sops was not found above the working folder\nhint: run in the source tree")
		}
		folder = parent
	}
}
