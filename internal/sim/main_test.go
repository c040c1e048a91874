// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

// all sums up what the tests of this package did, for the last line.
var all tally

// TestMain collects garbage rarely, since worlds are small, short-lived and many, and says in its last line what ran.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	code := m.Run()
	fmt.Printf("sim: total: %d schedules, %d invariant checks, violations: %d\n", all.schedules, all.checks, all.violations)
	os.Exit(code)
}
