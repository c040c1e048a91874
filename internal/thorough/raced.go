// SPDX-License-Identifier: Apache-2.0

//go:build race

package thorough

// Raced says whether the race detector is compiled in. It makes pools forget what they hold, so what a test counts of
// allocations is several times as much.
const Raced = true
