// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
	"custody.dev/custody/internal/upstream/login"
)

// ServerSpec is a PostgreSQL server, version 14 or later.
type ServerSpec struct {
	// Host name, IP address, or folder of the Unix socket.
	Host string `json:"host"`
	// Port. Default 5432.
	Port int `json:"port,omitempty"`
	// Database that the admin connects to. Default postgres.
	Database string `json:"database,omitempty"`
	// TLS mode: verify-full (default), verify-ca, require or disable. disable is allowed only for loopback addresses and
	// sockets.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// Send the plain password instead of a SCRAM verifier (hash). Needed if a password policy on the server has to check
	// it.
	SendPassword bool `json:"sendPassword,omitempty"`
	// mode alternate: before the old user is revoked, check whether it still has open sessions. The admin then needs the
	// role pg_read_all_stats.
	Usage bool `json:"usage,omitempty"`
	// Other servers that accept the same credentials, such as PgBouncer. A credential counts as accepted when all of
	// them accept it, and as refused when all refuse it. The admin must be able to sign in there.
	AlsoAt []EndpointSpec `json:"alsoAt,omitempty"`
}

// EndpointSpec is another server that accepts the credentials of a PostgreSQL server, such as a connection pooler in
// front of it.
type EndpointSpec struct {
	// Host name, IP address, or folder of the Unix socket.
	Host string `json:"host"`
	// Port. Default 5432.
	Port int `json:"port,omitempty"`
	// Database to sign in to. Default: the one of the server.
	Database string `json:"database,omitempty"`
	// TLS mode: verify-full (default), verify-ca, require or disable. disable is allowed only for loopback addresses and
	// sockets.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// The endpoint has its own copies of passwords, which reach it only after promotion. It must refuse a revoked
	// credential, but need not accept a new one yet.
	OwnPasswords bool `json:"ownPasswords,omitempty"`
}

// AccountSpec names the role or roles of one secret.
type AccountSpec struct {
	// alternate (two login users that take turns) or overwrite (one login user).
	Mode upstream.Capability `json:"mode"`
	// alternate: the role that both users act as and that owns the objects. It cannot log in. Custody creates it if it
	// does not exist.
	Owner string `json:"owner,omitempty"`
	// alternate: the two login users. Default OWNER_a and OWNER_b. Custody creates them if they do not exist.
	Users []string `json:"users,omitempty"`
	// overwrite: the login user. It must exist.
	User string `json:"user,omitempty"`
}

// Type is roles of a PostgreSQL server. It cuts names off after 63 bytes.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "postgres", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount, Defaults: defaults,
		AdminFields: func(server ServerSpec) []upstream.OneOf { return login.AdminFields(server.Host) },
		AccountDefaults: func(account *AccountSpec) {
			account.Users = fields.Pair(account.Mode, account.Owner, account.Users)
		},
		Endpoints: func(server ServerSpec) []string {
			all := []string{fields.PostgresAddress(server.Host, server.Port, server.TLS, server.CACertificate)}
			for _, place := range server.AlsoAt {
				all = append(all, fields.PostgresAddress(place.Host, place.Port, place.TLS, place.CACertificate))
			}
			return all
		},
		Interrupts: func(_ ServerSpec, account AccountSpec) bool { return account.Mode == upstream.Overwrite },
		Claims: func(server ServerSpec, account AccountSpec) []string {
			roles := append([]string{account.Owner, account.User}, account.Users...)
			return fields.Claims(fmt.Sprintf("%s:%d", strings.ToLower(server.Host), server.Port), roles...)
		},
		SignsIn:  func(name string) AccountSpec { return AccountSpec{Mode: upstream.Overwrite, User: name} },
		Describe: describe, Open: openAccount,
	}.Type()
}

func defaults(server *ServerSpec) {
	server.Port = cmp.Or(server.Port, defaultPort)
	server.Database = cmp.Or(server.Database, "postgres")
	server.TLS = cmp.Or(server.TLS, VerifyFull)
	server.AlsoAt = slices.Clone(server.AlsoAt)
	for i, place := range server.AlsoAt {
		server.AlsoAt[i].Port = cmp.Or(place.Port, defaultPort)
		server.AlsoAt[i].Database = cmp.Or(place.Database, server.Database)
		server.AlsoAt[i].TLS = cmp.Or(place.TLS, VerifyFull)
	}
}

const defaultPort = 5432

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	role := func(step upstream.Trail, name string) {
		if fault := roleFault(name); fault != "" {
			bad(upstream.RuleAccount, step, fault)
		}
	}
	switch account.Mode {
	case upstream.Alternate:
		switch {
		case account.Owner == "":
			bad(upstream.RuleAlternate, nil, "mode alternate without an owner")
		case len(account.Users) != 2:
			bad(upstream.RuleAlternate, upstream.At("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(account.Users)))
		case account.Users[0] == account.Users[1]:
			bad(upstream.RuleAlternate, upstream.At("users"), "both users are the same")
		case slices.Contains(account.Users, account.Owner):
			bad(upstream.RuleAlternate, upstream.At("users"), "the owner is one of the users")
		case slices.Contains(account.Users, ""):
			bad(upstream.RuleAlternate, upstream.At("users"), "a user has no name")
		}
		if account.User != "" {
			bad(upstream.RuleAlternate, upstream.At("user"), "user belongs to mode overwrite")
		}
		role(upstream.At("owner"), account.Owner)
		for i, user := range account.Users {
			role(upstream.At("users", i), user)
		}
	case upstream.Overwrite:
		if account.User == "" {
			bad(upstream.RuleOverwrite, nil, "mode overwrite without a user")
		}
		if account.Owner != "" || len(account.Users) > 0 {
			bad(upstream.RuleOverwrite, nil, "owner and users belong to mode alternate")
		}
		role(upstream.At("user"), account.User)
	case "":
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
	}
}

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	checkPlace(server.Host, server.Port, server.TLS, server.CACertificate, bad)
	for i, place := range server.AlsoAt {
		under := bad.Under("alsoAt", i)
		checkPlace(place.Host, place.Port, place.TLS, place.CACertificate, under)
		if place.Host == server.Host && place.Port == server.Port {
			under(upstream.RuleForm, nil, "this is the server itself")
		}
	}
}

func checkPlace(host string, port int, tls, certificate string, bad upstream.Report) {
	fields.Host(host, bad)
	fields.Port(port, bad)
	fields.Certificate(certificate, bad)
	switch tls {
	case "", "verify-full", "verify-ca", "require":
	case "disable":
		if !transport.Local(host) {
			bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(tls))
	}
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config := Config{
		Server: Server{Host: server.Host, Port: server.Port, Database: server.Database, TLS: server.TLS, CACertificate: server.CACertificate},
		Admin:  b.Admin, Mode: account.Mode, Owner: account.Owner, User: account.User,
		NewPassword: b.Password, SendPassword: server.SendPassword, Usage: server.Usage, Claim: b.Claim,
		Clock: b.Clock, Random: b.Random,
	}
	for _, place := range server.AlsoAt {
		config.AlsoAt = append(config.AlsoAt, Endpoint{
			Server:       Server{Host: place.Host, Port: place.Port, Database: place.Database, TLS: place.TLS, CACertificate: place.CACertificate},
			OwnPasswords: place.OwnPasswords,
		})
	}
	copy(config.Users[:], account.Users)
	return New(config)
}
