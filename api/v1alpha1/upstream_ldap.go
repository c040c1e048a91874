// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LDAPUpstream is an LDAP directory that knows the assertion control (RFC 4528), such as OpenLDAP.
type LDAPUpstream struct {
	// Host name, address, or path of the Unix socket (ldapi).
	Host string `json:"host"`
	// Port. Default 636 with tls: ldaps, else 389.
	Port int `json:"port,omitempty"`
	// TLS: ldaps (default), starttls, disable. disable is refused unless the host is loopback or a socket.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// How a password is hashed before it is sent: ssha (default), ssha512, argon2, bcrypt; or server: the password itself is
	// sent by the password modify operation, and the server hashes it.
	Hash string `json:"hash,omitempty"`
	// Attribute of the account's entry that carries the marker; the entry may have other values of it. Default description.
	MarkerAttribute string `json:"markerAttribute,omitempty"`
	// Least time between a refused sign-in by Custody and the next, for directories that lock accounts out: at least twice
	// pwdFailureCountInterval / pwdMaxFailure. Default none.
	WrongEvery string `json:"wrongEvery,omitempty"`
	// How long a change takes to reach every replica. Default none.
	Settle string `json:"settle,omitempty"`
	// Operational attribute that holds when an entry last signed in, for mode alternate: pwdLastSuccess (OpenLDAP 2.5 with
	// lastbind on) or authTimestamp (overlay lastbind). Default none.
	LastUse string `json:"lastUse,omitempty"`
}

// LDAPAccount names the entry or entries of one secret, which must exist.
type LDAPAccount struct {
	// dual (two passwords on one entry), alternate (two entries that take turns) or overwrite (one password on one entry).
	Mode string `json:"mode"`
	// dual, overwrite: the entry's distinguished name.
	DN string `json:"dn,omitempty"`
	// alternate: the distinguished names of the two entries.
	Entries []string `json:"entries,omitempty"`
}
