// SPDX-License-Identifier: Apache-2.0

package exectest_test

import (
	"os"
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/exec/exectest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "play-program" {
		os.Exit(exectest.PlayProgram())
	}
	acceptance.Main(m, exectest.Kinds()...)
}

// TestExecOnTheWholeProduct starts a program of the host, the built binary and clients. acceptance.Test says what bounds it.
func TestExecOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, exectest.Kinds()...)
}
