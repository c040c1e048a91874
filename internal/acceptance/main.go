// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"custody.dev/custody/internal/realparts/client"
)

// Main is the TestMain of a package that has kinds run. Its test binary plays other parts too: it starts itself again as
// clients of one of the kinds, and as a client's check.
func Main(m *testing.M, kinds ...Kind) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "play-check":
			os.Exit(client.PlayCheck(os.Args[2]))
		case "play-clients":
			os.Exit(playClients(kinds, os.Args[2]))
		}
	}
	code := m.Run()
	if binary.dir != "" {
		_ = os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

// built is the custody binary, built once.
type built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

var binary built

// binaryVariable names a binary that is built already, for the packages of one run. Its name must be custody.
const binaryVariable = "CUSTODY_ACCEPTANCE_BINARY"

// custody returns the path of the built binary.
func custody(t testing.TB) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.path = os.Getenv(binaryVariable); binary.path != "" {
			return
		}
		if binary.dir, binary.err = os.MkdirTemp("", "custody-binary-"); binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.dir, "custody")
		build := exec.Command("go", "build", "-o", binary.path, "custody.dev/custody/cmd/custody")
		if out, err := build.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("building custody: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}
