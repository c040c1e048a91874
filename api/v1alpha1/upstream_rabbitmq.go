// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// RabbitMQUpstream is a RabbitMQ broker with its management interface.
type RabbitMQUpstream struct {
	// Host name or address of the broker.
	Host string `json:"host"`
	// Port of its AMQP listener. Default 5671, without TLS 5672.
	Port int `json:"port,omitempty"`
	// Host name or address of its management interface. Default the broker's.
	ManagementHost string `json:"managementHost,omitempty"`
	// Port of its management interface. Default 15671, without TLS 15672.
	ManagementPort int `json:"managementPort,omitempty"`
	// Path under which the management interface lies (management.path_prefix).
	ManagementPath string `json:"managementPath,omitempty"`
	// TLS to both: verify-full (default) or disable, which is refused unless both hosts are loopback.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long the broker may answer sign-ins from a cache (auth_cache.cache_ttl). Default none.
	AuthCache string `json:"authCache,omitempty"`
}

// RabbitMQAccount names the user or users of one secret.
type RabbitMQAccount struct {
	// alternate (two users that take turns) or overwrite (one user).
	Mode string `json:"mode"`
	// alternate: the user whose tags, permissions and limits both users get. It must exist and have no password.
	Template string `json:"template,omitempty"`
	// alternate: the two users. Default TEMPLATE_a and TEMPLATE_b. Created if absent.
	Users []string `json:"users,omitempty"`
	// overwrite: the user. It must exist.
	User string `json:"user,omitempty"`
}
