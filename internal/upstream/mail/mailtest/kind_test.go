// SPDX-License-Identifier: Apache-2.0

package mailtest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/mail/mailtest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, mailtest.Kinds()...)
}

// TestMailOnTheWholeProduct starts Dovecot and Postfix, the built binary and clients. acceptance.Test says what bounds it.
func TestMailOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, mailtest.Kinds()...)
}
