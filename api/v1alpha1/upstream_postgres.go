// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// PostgresUpstream is a PostgreSQL server.
type PostgresUpstream struct {
	// Host name, address, or folder of the Unix socket.
	Host string `json:"host"`
	// Port. Default 5432.
	Port int `json:"port,omitempty"`
	// Database for administration. Default postgres.
	Database string `json:"database,omitempty"`
	// TLS: verify-full (default), verify-ca, require, disable. disable is refused unless the host is loopback or a socket.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// Send the password itself instead of a SCRAM verifier, for servers whose password policy must see it.
	SendPassword bool `json:"sendPassword,omitempty"`
}

// PostgresAccount names the role or roles of one secret.
type PostgresAccount struct {
	// alternate (two login users that take turns) or overwrite (one login user).
	Mode string `json:"mode"`
	// alternate: the role both users become and that owns the objects; it cannot log in. Created if absent.
	Owner string `json:"owner,omitempty"`
	// alternate: the two login users. Default OWNER_a and OWNER_b. Created if absent.
	Users []string `json:"users,omitempty"`
	// overwrite: the login user. It must exist.
	User string `json:"user,omitempty"`
}
