// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MySQLUpstream is a MySQL or MariaDB server.
type MySQLUpstream struct {
	// Host name, address, or path of the Unix socket.
	Host string `json:"host"`
	// Port. Default 3306.
	Port int `json:"port,omitempty"`
	// The server's product: mariadb (10.4.3 or later, default) or mysql (8.0.21 or later).
	Product string `json:"product,omitempty"`
	// TLS: verify-full (default), verify-ca, disable. disable is refused unless the host is loopback or a socket.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// Send the password itself instead of its hash, for MariaDB servers whose password rule must see it.
	SendPassword bool `json:"sendPassword,omitempty"`
	// Table that holds claims and runs, as DATABASE.TABLE; see the type's page for its form. Without it, MySQL keeps them
	// in the account's attributes, and MariaDB nowhere.
	MarkerTable string `json:"markerTable,omitempty"`
	// Look for open sessions of the old user before it is revoked. The admin then needs the right PROCESS.
	Usage bool `json:"usage,omitempty"`
	// Least time between a refused sign-in by Custody and the next, for servers that lock accounts out. Default none.
	WrongEvery string `json:"wrongEvery,omitempty"`
}

// MySQLAccount names the account or accounts of one secret.
type MySQLAccount struct {
	// alternate (two users that take turns), dual (one user with two passwords) or overwrite (one user).
	Mode string `json:"mode"`
	// alternate: the two users. Default ROLE_a and ROLE_b when a role is named. Created if absent.
	Users []string `json:"users,omitempty"`
	// dual, overwrite: the user. It must exist.
	User string `json:"user,omitempty"`
	// alternate: a role that is granted to both users, and that a sign-in must have by default.
	Role string `json:"role,omitempty"`
	// Host part of the accounts. Default %.
	Host string `json:"host,omitempty"`
	// How the password is checked: mysql_native_password (default on MariaDB), ed25519 (MariaDB) or caching_sha2_password
	// (default, and the only one, on MySQL). dual on MariaDB wants mysql_native_password.
	Plugin string `json:"plugin,omitempty"`
}
