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
	// Look for open sessions of the old user before it is revoked (mode alternate). The admin then needs pg_read_all_stats.
	Usage bool `json:"usage,omitempty"`
	// Further places that take the same credentials, such as PgBouncer. A credential counts as accepted when all accept it,
	// and as refused when all refuse it. The admin must be able to sign in there.
	AlsoAt []PostgresEndpoint `json:"alsoAt,omitempty"`
}

// PostgresEndpoint is a pooler before a PostgreSQL server, or another place that takes its credentials.
type PostgresEndpoint struct {
	// Host name, address, or folder of the Unix socket.
	Host string `json:"host"`
	// Port. Default 5432.
	Port int `json:"port,omitempty"`
	// Database to sign in to. Default that of the server.
	Database string `json:"database,omitempty"`
	// TLS: verify-full (default), verify-ca, require, disable. disable is refused unless the host is loopback or a socket.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// It keeps passwords of its own, which reach it after promotion: it must refuse what is revoked, and need not accept yet
	// what is new.
	OwnPasswords bool `json:"ownPasswords,omitempty"`
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
