// SPDX-License-Identifier: Apache-2.0

package mysql

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

// ServerSpec is a MySQL or MariaDB server.
type ServerSpec struct {
	// Host name, IP address, or path of the Unix socket.
	Host string `json:"host"`
	// Port. Default 3306.
	Port int `json:"port,omitempty"`
	// Product of the server: mariadb (10.4.3 or later, default) or mysql (8.0.21 or later).
	Product Product `json:"product,omitempty"`
	// TLS mode: verify-full (default), verify-ca or disable. disable is allowed only for loopback addresses and sockets.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// Send the plain password instead of its hash. Needed on a MariaDB server if a password policy has to check it.
	SendPassword bool `json:"sendPassword,omitempty"`
	// Table in which Custody keeps claims and run ids, as DATABASE.TABLE. `custody upstream explain mysql` shows its
	// form. Without a table, MySQL keeps them in the attributes of the account, and MariaDB does not keep them.
	MarkerTable string `json:"markerTable,omitempty"`
	// Before the old user is revoked, check whether it still has open sessions. The admin then needs the privilege
	// PROCESS.
	Usage bool `json:"usage,omitempty"`
	// Minimum time between two sign-ins of Custody that are refused, for servers that lock accounts. Default: no limit.
	WrongEvery string `json:"wrongEvery,omitempty"`
}

// AccountSpec names the account or accounts of one secret.
type AccountSpec struct {
	// alternate (two users that take turns), dual (one user with two passwords) or overwrite (one user).
	Mode upstream.Capability `json:"mode"`
	// alternate: the two users. Default ROLE_a and ROLE_b if a role is given. Custody creates them if they do not exist.
	Users []string `json:"users,omitempty"`
	// dual, overwrite: the user. It must exist.
	User string `json:"user,omitempty"`
	// alternate: a role that Custody grants to both users. It must be active by default after a sign-in.
	Role string `json:"role,omitempty"`
	// Host part of the account names. Default %.
	Host string `json:"host,omitempty"`
	// Authentication plugin of the accounts: mysql_native_password (default on MariaDB), ed25519 (MariaDB) or
	// caching_sha2_password (the only one on MySQL). Mode dual on MariaDB needs mysql_native_password.
	Plugin string `json:"plugin,omitempty"`
}

// Type is accounts of a MySQL or MariaDB server.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "mysql", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount,
		AdminFields: func(server ServerSpec) []upstream.OneOf { return login.AdminFields(server.Host) },
		Defaults: func(server *ServerSpec) {
			server.Port = cmp.Or(server.Port, defaultPort)
			server.Product = cmp.Or(server.Product, MariaDB)
			server.TLS = cmp.Or(server.TLS, VerifyFull)
		},
		AccountDefaults: func(account *AccountSpec) {
			account.Host = strings.ToLower(cmp.Or(account.Host, "%")) // as servers keep it
			account.Users = fields.Pair(account.Mode, account.Role, account.Users)
		},
		Endpoints: func(server ServerSpec) []string {
			return []string{fields.Address(server.Host, server.Port, server.TLS, server.CACertificate)}
		},
		Interrupts: func(_ ServerSpec, account AccountSpec) bool { return account.Mode == upstream.Overwrite },
		Claims: func(server ServerSpec, account AccountSpec) []string {
			var accounts []string
			for _, user := range append([]string{account.User}, account.Users...) {
				if user != "" {
					accounts = append(accounts, user+"@"+account.Host)
				}
			}
			return fields.Claims(fmt.Sprintf("%s:%d", strings.ToLower(server.Host), server.Port), accounts...)
		},
		// No account has that name: whichever host part a server knows an admin by, signing in is right.
		SignsIn:  func(string) AccountSpec { return AccountSpec{Mode: upstream.Overwrite, User: "-"} },
		Describe: describe, Open: openAccount,
	}.Type()
}

const defaultPort = 3306

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	fields.Host(server.Host, bad)
	fields.Port(server.Port, bad)
	fields.Certificate(server.CACertificate, bad)
	fields.Duration("wrongEvery", server.WrongEvery, bad)
	switch server.TLS {
	case "", "verify-full", "verify-ca":
	case "disable":
		if !transport.Local(server.Host) {
			bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(server.TLS))
	}
	switch server.Product {
	case MariaDB:
	case MySQL:
		if server.SendPassword {
			bad(upstream.RuleForm, upstream.At("sendPassword"), "MySQL takes the hash whatever its password rule is")
		}
	default:
		bad(upstream.RuleForm, upstream.At("product"), "there is no product "+plaintext.Show(string(server.Product)))
	}
	if server.MarkerTable != "" && !tableForm.MatchString(server.MarkerTable) {
		bad(upstream.RuleForm, upstream.At("markerTable"), "the table is not DATABASE.TABLE in letters, digits and underscores")
	}
}

func checkAccount(server ServerSpec, account AccountSpec, bad upstream.Report) {
	longest := maxName // MariaDB's
	if server.Product == MySQL {
		longest = 32
	}
	name := func(step upstream.Trail, text string, longest int) {
		if !isName(text, longest) {
			bad(upstream.RuleAccount, step, fmt.Sprintf("the name is longer than %d characters or holds control characters", longest))
		}
	}
	name(upstream.At("user"), account.User, longest)
	name(upstream.At("role"), account.Role, longest)
	name(upstream.At("host"), account.Host, 60)
	for i, user := range account.Users {
		name(upstream.At("users", i), user, longest)
	}
	if account.Plugin != "" && server.Product.check(account.Plugin) != nil {
		bad(upstream.RuleAccount, upstream.At("plugin"), fmt.Sprintf("there is no plugin %s for product %s", plaintext.Show(account.Plugin), plaintext.Show(string(server.Product))))
	}
	switch account.Mode {
	case upstream.Alternate:
		switch {
		case len(account.Users) != 2:
			bad(upstream.RuleAlternate, upstream.At("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(account.Users)))
		case account.Users[0] == account.Users[1]:
			bad(upstream.RuleAlternate, upstream.At("users"), "both users are the same")
		case slices.Contains(account.Users, ""):
			bad(upstream.RuleAlternate, upstream.At("users"), "a user has no name")
		case account.Role != "" && slices.Contains(account.Users, account.Role):
			bad(upstream.RuleAlternate, upstream.At("users"), "the role is one of the users")
		}
		if account.User != "" {
			bad(upstream.RuleAlternate, upstream.At("user"), "user belongs to the modes dual and overwrite")
		}
	case upstream.Dual, upstream.Overwrite:
		if account.User == "" {
			bad(upstream.RuleOverwrite, nil, "mode "+string(account.Mode)+" without a user")
		}
		if account.Role != "" || len(account.Users) > 0 {
			bad(upstream.RuleOverwrite, nil, "role and users belong to mode alternate")
		}
		if account.Mode == upstream.Dual && account.Plugin == pluginEd25519 {
			bad(upstream.RuleAccount, upstream.At("plugin"), "mode dual wants mysql_native_password: clients cannot be asked twice by ed25519")
		}
		if account.Mode == upstream.Dual && server.SendPassword {
			bad(upstream.RuleAccount, nil, "mode dual sends hashes, and the upstream says sendPassword")
		}
	case "":
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
	}
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config := Config{
		Server: Server{
			Host: server.Host, Port: server.Port, Product: server.Product, TLS: server.TLS,
			CACertificate: server.CACertificate, MarkerTable: server.MarkerTable,
		},
		Admin: b.Admin, Mode: account.Mode, User: account.User, Role: account.Role, Host: account.Host,
		Plugin: account.Plugin, NewPassword: b.Password, SendPassword: server.SendPassword, Usage: server.Usage,
		Claim: b.Claim, Clock: b.Clock, Random: b.Random,
	}
	copy(config.Users[:], account.Users)
	var err error
	if config.WrongEvery, err = fields.Time("wrongEvery", server.WrongEvery); err != nil {
		return nil, err
	}
	return New(config)
}
