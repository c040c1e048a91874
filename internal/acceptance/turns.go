// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// turnsVariable names a folder of one run. Packages that run beside each other lock its files: what measures holds the
// machine alone, the rest shares it. Without it nothing waits.
const turnsVariable = "CUSTODY_TURNS"

// turns is one test's place among those of other packages, until the test ends. What measures goes first: were work let in
// while others wait to measure, they would wait until it ended, and it alone would run.
type turns struct {
	t *testing.T
	// machine is held alone or together. wanted is held together by those that measure or wait for it, and alone, for a
	// moment, by whoever begins to work.
	machine, wanted *os.File
}

func takeTurns(t *testing.T) turns {
	t.Helper()
	folder := os.Getenv(turnsVariable)
	if folder == "" {
		return turns{t: t}
	}
	open := func(name string) *os.File {
		file, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		return file
	}
	return turns{t, open("machine"), open("wanted")}
}

// alone waits until no other package works, however long that takes, and keeps them waiting.
func (w turns) alone() {
	w.lock(w.wanted, syscall.LOCK_SH)
	w.lock(w.machine, syscall.LOCK_EX)
}

// together waits until no other package measures or waits to.
func (w turns) together() {
	w.lock(w.machine, syscall.LOCK_UN)
	w.lock(w.wanted, syscall.LOCK_EX)
	w.lock(w.machine, syscall.LOCK_SH)
	w.lock(w.wanted, syscall.LOCK_UN)
}

func (w turns) lock(file *os.File, how int) {
	w.t.Helper()
	if file == nil {
		return
	}
	err := error(syscall.EINTR)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(int(file.Fd()), how)
	}
	if err != nil {
		w.t.Fatalf("locking %s: %v", file.Name(), err)
	}
}
