// SPDX-License-Identifier: Apache-2.0

// Package acceptance runs the whole: the built binary, real servers, real client processes that sign in in a loop, real
// kills, replies that are lost. Its own tests are those of the product, at one PostgreSQL server, and of what relates
// kinds of upstream to each other; what it exports is for the packages internal/upstream/TYPE/TYPEtest, each of which says
// how one type of upstream is set up, and has Test run it.
//
// A stage is one platform with the kinds of a test. Nothing here waits for a time where there is a condition to wait for:
// what bounds a wait ends a test that hangs, and is far above what a busy machine needs. Nothing of it reaches the binary.
package acceptance
