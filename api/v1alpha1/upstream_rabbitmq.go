// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// RabbitMQUpstream is a RabbitMQ broker with its management interface.
type RabbitMQUpstream struct{}

// RabbitMQAccount is one account there.
type RabbitMQAccount struct{}
