// SPDX-License-Identifier: Apache-2.0

// Package realparts gives tests the real programs that they need.
//
// Guaranteed: tools/install-parts builds programs that are modules from the go.mod and go.sum in tools/, once for each
// version, however many tests ask at the same time. If a part is missing, the test fails and says what to do. Not
// guaranteed: that old builds are removed.
//
// Cost: the first build of a program takes minutes, and needs the network if modules are not in the cache. `make test`
// builds them before the tests start; later calls only check that they are there.
package realparts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// missing is the exit code of tools/install-parts --dry-run when something is.
const missing = 5

// Build returns where a part lies that tools/install-parts builds, once it is built, which may take minutes. It installs no
// packages. A build ends with ctx, and gives way to what else runs. The working folder lies in the source tree.
func Build(ctx context.Context, name string) (string, error) {
	path, _, err := printPath(ctx, "--print-path", name)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return path, nil
}

// Built returns where such a part lies that was built already, "" when it was not.
func Built(ctx context.Context, name string) (string, error) {
	path, code, err := printPath(ctx, "--dry-run", "--print-path", name)
	if err != nil && code != missing {
		return "", fmt.Errorf("looking for %s: %w", name, err)
	}
	return path, nil
}

// built is Build for a test, which fails without.
func built(t testing.TB, name string) string {
	t.Helper()
	path, err := Build(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// printPath runs tools/install-parts and returns the line that it prints, and its exit code.
func printPath(ctx context.Context, args ...string) (string, int, error) {
	installer, err := Installer()
	if err != nil {
		return "", 0, err
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, installer, args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	// A group of its own, which holds the compilers too, ends as one.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 10 * time.Second // what holds its output open after that is not waited for
	if err := command.Start(); err != nil {
		return "", 0, err
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, command.Process.Pid, niceness) // it may have ended
	err = command.Wait()
	if ctx.Err() != nil {
		return "", 0, ctx.Err()
	}
	if err != nil {
		return "", command.ProcessState.ExitCode(), fmt.Errorf("%w\n%s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), 0, nil
}

const niceness = 10

// Installer finds tools/install-parts from the working folder; a test's is its package's.
func Installer() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		installer := filepath.Join(folder, "tools", "install-parts")
		if executable(installer) {
			return installer, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("tools/install-parts was not found above the working folder\nhint: run in the source tree")
		}
		folder = parent
	}
}
