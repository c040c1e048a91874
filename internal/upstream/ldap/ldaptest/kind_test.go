// SPDX-License-Identifier: Apache-2.0

package ldaptest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/ldap/ldaptest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, ldaptest.Kinds()...)
}

// TestLDAPOnTheWholeProduct starts OpenLDAP, the built binary and clients. acceptance.Test says what bounds it.
func TestLDAPOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, ldaptest.Kinds()...)
}
