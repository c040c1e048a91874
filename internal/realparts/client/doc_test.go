// SPDX-License-Identifier: Apache-2.0

// Package client_test lets a client play in this process.
//
// What bounds the tests: what starts or stops is waited for as long as it lives, and a wait ends when what is waited for is
// seen; only -timeout ends what hangs. Where a time is part of what is tried, it is said there.
package client_test
