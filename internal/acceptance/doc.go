// SPDX-License-Identifier: Apache-2.0

// Package acceptance holds the tests of the whole: the built binary, a real PostgreSQL server, real client processes
// that sign in in a loop, and real kills. It has no code of its own.
package acceptance
