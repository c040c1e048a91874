// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MailUpstream is a mail server: where its passwords are tried, and, in exactly one of passwdFile, sql and ldap, where
// they are kept.
type MailUpstream struct {
	// Where a password is tried, by signing in for submission.
	Submission MailSubmission `json:"submission"`
	// A passwd-file of Dovecot on this host. It needs no adminRef.
	PasswdFile *MailPasswdFile `json:"passwdFile,omitempty"`
	// A table in a database.
	SQL *MailSQL `json:"sql,omitempty"`
	// A directory; the account then names its entries.
	LDAP *LDAPUpstream `json:"ldap,omitempty"`
	// passwdFile, sql: cost of the bcrypt hashes that are written, 4 to 31. Default 10. Each step more doubles what a
	// sign-in costs the server. A generated password of 32 characters cannot be guessed, whatever the cost: 4 is enough
	// for it.
	Cost int `json:"cost,omitempty"`
	// How long the server goes by what it knew: Dovecot's auth_cache_ttl, or a replica's delay. Default 2s with passwdFile,
	// and 1s at least there, since Dovecot looks at the file once a second at most; else none.
	Settle string `json:"settle,omitempty"`
	// Least time between a refused sign-in by Custody and the next, for servers that lock accounts or addresses out.
	// Default none.
	WrongEvery string `json:"wrongEvery,omitempty"`
}

// MailSubmission is a server that takes mail for submission, with AUTH PLAIN.
type MailSubmission struct {
	// Host name or address.
	Host string `json:"host"`
	// Port. Default 587 with tls: starttls, else 465.
	Port int `json:"port,omitempty"`
	// TLS: starttls (default), tls (from the first byte), disable. disable is refused unless the host is loopback.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
}

// MailPasswdFile is a file with one line per user.
type MailPasswdFile struct {
	// Name of a folder in the host's configuration.
	Folder string `json:"folder"`
	// The file, relative to the folder.
	File string `json:"file"`
	// mode dual: the file of Dovecot's second passdb, relative to the folder.
	SecondFile string `json:"secondFile,omitempty"`
}

// MailSQL is a table with one row per user.
type MailSQL struct {
	// postgres or mysql (MariaDB too).
	Type string `json:"type"`
	// Host name, address, or path of the Unix socket (postgres: its folder).
	Host string `json:"host"`
	// Port. Default 5432 or 3306.
	Port int `json:"port,omitempty"`
	// Database that holds the table.
	Database string `json:"database"`
	// TLS: verify-full (default) or disable. disable is refused unless the host is loopback or a socket.
	TLS string `json:"tls,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// Table, with its schema where it needs one.
	Table string `json:"table"`
	// Column of the user's name. Default username.
	UserColumn string `json:"userColumn,omitempty"`
	// Column of the hash. Default password.
	PasswordColumn string `json:"passwordColumn,omitempty"`
	// Column of the marker, text of 1024 characters or more. Default custody.
	MarkerColumn string `json:"markerColumn,omitempty"`
	// mode dual: column that is 1 in the row of Dovecot's first passdb and 2 in that of its second.
	SlotColumn string `json:"slotColumn,omitempty"`
}

// MailAccount names the mail login or logins of one secret, which must exist.
type MailAccount struct {
	// dual (one login that two passdbs know), alternate (two logins that take turns) or overwrite (one login).
	Mode string `json:"mode"`
	// dual, overwrite: the login.
	User string `json:"user,omitempty"`
	// alternate: the two logins.
	Users []string `json:"users,omitempty"`
	// Passwords kept in a directory: the entry of user, or the entries of users in the same order.
	Entries []string `json:"entries,omitempty"`
}
