// SPDX-License-Identifier: Apache-2.0

package mysqltest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/mysql/mysqltest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, mysqltest.Kinds()...)
}

// TestMySQLOnTheWholeProduct starts MariaDB, the built binary and clients. acceptance.Test says what bounds it.
func TestMySQLOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, mysqltest.Kinds()...)
}
