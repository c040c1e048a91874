// SPDX-License-Identifier: Apache-2.0

package oidctest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/oidc/oidctest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, oidctest.Kinds()...)
}

// TestOIDCOnTheWholeProduct starts an OpenID provider, the built binary and clients. acceptance.Test says what bounds it.
func TestOIDCOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, oidctest.Kinds()...)
}
