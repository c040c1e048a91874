// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// RedisUpstream is a Redis or Valkey server with access control lists.
type RedisUpstream struct {
	// Host name, address, or path of the Unix socket.
	Host string `json:"host"`
	// Port. Default 6379.
	Port int `json:"port,omitempty"`
	// Further servers that hold the same users, as HOST or HOST:PORT: replicas and cluster nodes, which do not replicate
	// users. Each change is made at all of them, and all must agree on each verdict.
	Nodes []string `json:"nodes,omitempty"`
	// TLS: verify-full (default) or disable, which is refused unless every host is loopback or a socket.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// How the server keeps users over a restart: aclFile (default; ACL SAVE), configFile (CONFIG REWRITE), or none: it
	// forgets every change.
	Persist string `json:"persist,omitempty"`
}

// RedisAccount names the user or users of one secret.
type RedisAccount struct {
	// dual (one user with two passwords) or alternate (two users that take turns).
	Mode string `json:"mode"`
	// dual: the user. It must exist.
	User string `json:"user,omitempty"`
	// alternate: the user whose rights both users get. It must exist, be off and have no password.
	Template string `json:"template,omitempty"`
	// alternate: the two users. Default TEMPLATE_a and TEMPLATE_b. Created if absent.
	Users []string `json:"users,omitempty"`
}
