// SPDX-License-Identifier: Apache-2.0

package acceptance_test

import (
	"os"
	"slices"
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/mysql/mysqltest"
	"custody.dev/custody/internal/upstream/postgres/postgrestest"
	"custody.dev/custody/internal/upstream/redis/redistest"
)

// related are the kinds that tests of relations run.
func related() []acceptance.Kind {
	return slices.Concat(postgrestest.Kinds(), mysqltest.Kinds(), redistest.Kinds())
}

// The test binary plays the client of the whole product's tests too, beside what acceptance.Main has it play.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "play-client" {
		os.Exit(acceptance.PlayClient(os.Args[2]))
	}
	acceptance.Main(m, related()...)
}
