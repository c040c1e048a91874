// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"errors"
	"testing"
)

// ErrNoPromtool: it is not installed here.
var ErrNoPromtool = errors.New("no promtool found in PATH or /usr/bin: install the package prometheus")

// Promtool is the path of Prometheus's checker of rules. Without it, the test fails.
func Promtool(t testing.TB) string {
	t.Helper()
	program, err := findProgram("", "promtool", ErrNoPromtool, "/usr/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	return program
}
