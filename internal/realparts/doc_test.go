// SPDX-License-Identifier: Apache-2.0

// Package realparts_test starts every real part.
//
// How waits are bounded: tests wait for a process to start or stop as long as it lives, and for anything else until
// they see it; only -timeout ends a test that hangs. If a test depends on a time, its comment says so.
package realparts_test
