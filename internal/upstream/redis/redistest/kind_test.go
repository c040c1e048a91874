// SPDX-License-Identifier: Apache-2.0

package redistest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/redis/redistest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, redistest.Kinds()...)
}

// TestRedisOnTheWholeProduct starts Redis, the built binary and clients. acceptance.Test says what bounds it.
func TestRedisOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, redistest.Kinds()...)
}
