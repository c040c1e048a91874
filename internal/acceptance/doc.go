// SPDX-License-Identifier: Apache-2.0

// Package acceptance tests the whole product: the built binary, real servers, real client processes that keep signing
// in, real kills, and lost replies. Its own tests cover the product on one PostgreSQL server, and what connects kinds
// of upstream with each other. It exports helpers for the packages internal/upstream/TYPE/TYPEtest: each of them
// describes how one type of upstream is set up, and calls Test.
//
// A stage is one platform with the kinds that a test needs. Nothing here waits for a time if it can wait for a
// condition. The limit of a wait only ends a test that hangs, and is far longer than a busy machine needs. Nothing of
// this package is in the binary.
package acceptance
