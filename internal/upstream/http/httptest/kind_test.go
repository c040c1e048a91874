// SPDX-License-Identifier: Apache-2.0

package httptest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/http/httptest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, httptest.Kinds()...)
}

// TestHTTPOnTheWholeProduct starts Gitea, the built binary and clients. acceptance.Test says what bounds it.
func TestHTTPOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, httptest.Kinds()...)
}
