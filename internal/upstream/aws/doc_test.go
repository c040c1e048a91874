// SPDX-License-Identifier: Apache-2.0

// Package aws_test tests the adapter with a double of IAM and STS in this process.
//
// How waits are bounded: tests wait for a process to start or stop as long as it lives, and for anything else until
// they see it; only -timeout ends a test that hangs. If a test depends on a time, its comment says so.
package aws_test
