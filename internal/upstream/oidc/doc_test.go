// SPDX-License-Identifier: Apache-2.0

// Package oidc_test tests the adapter with an OpenID provider, started by the tests.
//
// How waits are bounded: tests wait for a server to start or stop as long as its process lives, and for what the server
// does until they see it; only -timeout ends a test that hangs. A test of a call's deadline sets a short one, which is
// doubled on a machine that is too busy for it (upstreamtest.Deadlines).
package oidc_test
