// SPDX-License-Identifier: Apache-2.0

package rabbitmqtest_test

import (
	"testing"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/upstream/rabbitmq/rabbitmqtest"
)

// The test binary plays the clients too.
func TestMain(m *testing.M) {
	acceptance.Main(m, rabbitmqtest.Kinds()...)
}

// TestRabbitMQOnTheWholeProduct starts RabbitMQ, the built binary and clients. acceptance.Test says what bounds it.
func TestRabbitMQOnTheWholeProduct(t *testing.T) {
	acceptance.Test(t, rabbitmqtest.Kinds()...)
}
