// SPDX-License-Identifier: Apache-2.0

package miniotest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/minio/miniotest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, miniotest.Kinds()...)
}

// TestMinIOOnTheWholeProduct starts MinIO, the built binary and clients. acceptance.Test says what bounds it.
func TestMinIOOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, miniotest.Kinds()...)
}
