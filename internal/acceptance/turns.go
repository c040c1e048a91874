// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// turnsVariable names a file of one run. Packages that run beside each other lock it: what measures holds it alone, the rest
// together. Without it nothing waits.
const turnsVariable = "CUSTODY_TURNS"

// turns is one test's place among those of other packages, until the test ends.
type turns struct {
	t    *testing.T
	file *os.File
}

func takeTurns(t *testing.T) turns {
	t.Helper()
	path := os.Getenv(turnsVariable)
	if path == "" {
		return turns{t: t}
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return turns{t, file}
}

// alone waits until no other package works, however long that takes, and keeps them waiting.
func (w turns) alone() { w.wait(syscall.LOCK_EX) }

// together waits until no other package measures.
func (w turns) together() { w.wait(syscall.LOCK_SH) }

func (w turns) wait(how int) {
	w.t.Helper()
	if w.file == nil {
		return
	}
	err := error(syscall.EINTR)
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Flock(int(w.file.Fd()), how)
	}
	if err != nil {
		w.t.Fatalf("locking %s: %v", w.file.Name(), err)
	}
}
