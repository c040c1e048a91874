// SPDX-License-Identifier: Apache-2.0

package realparts

import "testing"

// Sops returns the path of stock sops.
func Sops(t testing.TB) string {
	t.Helper()
	return built(t, "sops")
}

// Age returns the path of stock age.
func Age(t testing.TB) string {
	t.Helper()
	return built(t, "age")
}
