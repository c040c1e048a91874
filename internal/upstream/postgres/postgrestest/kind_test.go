// SPDX-License-Identifier: Apache-2.0

package postgrestest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/postgres/postgrestest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, postgrestest.Kinds()...)
}

// TestPostgresOnTheWholeProduct starts PostgreSQL and PgBouncer, the built binary and clients. acceptance.Test says what bounds it.
func TestPostgresOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, postgrestest.Kinds()...)
}
