// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/transport"
)

const (
	defaultMySQLPort = 3306
	mysqlDual        = "dual"

	productMariaDB = "mariadb"
	productMySQL   = "mysql"

	pluginNative  = "mysql_native_password"
	pluginEd25519 = "ed25519"
	pluginSHA2    = "caching_sha2_password"
)

// mysqlKind: accounts of a MySQL or MariaDB server.
func mysqlKind() kind {
	return kind{
		name: "mysql", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			m := *spec.MySQL
			m.Port = cmp.Or(m.Port, defaultMySQLPort)
			m.Product = cmp.Or(m.Product, productMariaDB)
			m.TLS = cmp.Or(m.TLS, "verify-full")
			spec.MySQL = &m
		},
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.MySQL
			account.Host = strings.ToLower(cmp.Or(account.Host, "%")) // as servers keep it
			if account.Mode == modeAlternate && len(account.Users) == 0 && account.Role != "" {
				account.Users = []string{account.Role + "_a", account.Role + "_b"}
			}
			rotation.MySQL = &account
		},
		server: mysqlServer, account: mysqlAccount,
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			return []string{addressOf(spec.MySQL.Host, spec.MySQL.Port, spec.MySQL.TLS, spec.MySQL.CACertificate)}
		},
		interrupts: func(rotation v1alpha1.RotationSpec) bool { return rotation.MySQL.Mode == modeOverwrite },
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			account := *rotation.MySQL
			var accounts []string
			for _, user := range append([]string{account.User}, account.Users...) {
				if user != "" {
					accounts = append(accounts, user+"@"+account.Host)
				}
			}
			return claimsAt(fmt.Sprintf("%s:%d", strings.ToLower(spec.MySQL.Host), spec.MySQL.Port), accounts...)
		},
	}
}

var mysqlTableForm = lazyregexp.New(`^[A-Za-z0-9_]{1,64}\.[A-Za-z0-9_]{1,64}$`)

func mysqlServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.MySQL
	hostRule(server.Host, bad)
	portRule(server.Port, bad)
	certificateRule(server.CACertificate, bad)
	ldapDuration("wrongEvery", server.WrongEvery, bad)
	switch server.TLS {
	case "", "verify-full", "verify-ca":
	case "disable":
		if !transport.Local(server.Host) {
			bad("upstream-tls", at("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(server.TLS))
	}
	switch server.Product {
	case productMariaDB:
	case productMySQL:
		if server.SendPassword {
			bad("upstream-form", at("sendPassword"), "MySQL takes the hash whatever its password rule is")
		}
	default:
		bad("upstream-form", at("product"), "there is no product "+show(server.Product))
	}
	if server.MarkerTable != "" && !mysqlTableForm.MatchString(server.MarkerTable) {
		bad("upstream-form", at("markerTable"), "the table is not DATABASE.TABLE in letters, digits and underscores")
	}
}

func mysqlAccount(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	server, account := *spec.MySQL, *rotation.MySQL
	longest := 80 // MariaDB's
	if server.Product == productMySQL {
		longest = 32
	}
	name := func(step trail, text string, longest int) {
		odd := strings.ContainsFunc(text, unicode.IsControl)
		if utf8.RuneCountInString(text) > longest || odd {
			bad("account-form", step, fmt.Sprintf("the name is longer than %d characters or holds control characters", longest))
		}
	}
	name(at("user"), account.User, longest)
	name(at("role"), account.Role, longest)
	name(at("host"), account.Host, 60)
	for i, user := range account.Users {
		name(at("users", i), user, longest)
	}
	switch {
	case account.Plugin == "",
		server.Product == productMariaDB && slices.Contains([]string{pluginNative, pluginEd25519}, account.Plugin),
		server.Product == productMySQL && account.Plugin == pluginSHA2:
	default:
		bad("account-form", at("plugin"), fmt.Sprintf("there is no plugin %s for product %s", show(account.Plugin), show(server.Product)))
	}
	switch account.Mode {
	case modeAlternate:
		switch {
		case len(account.Users) != 2:
			bad("account-alternate", at("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(account.Users)))
		case account.Users[0] == account.Users[1]:
			bad("account-alternate", at("users"), "both users are the same")
		case slices.Contains(account.Users, ""):
			bad("account-alternate", at("users"), "a user has no name")
		case account.Role != "" && slices.Contains(account.Users, account.Role):
			bad("account-alternate", at("users"), "the role is one of the users")
		}
		if account.User != "" {
			bad("account-alternate", at("user"), "user belongs to the modes dual and overwrite")
		}
	case mysqlDual, modeOverwrite:
		if account.User == "" {
			bad("account-overwrite", nil, "mode "+account.Mode+" without a user")
		}
		if account.Role != "" || len(account.Users) > 0 {
			bad("account-overwrite", nil, "role and users belong to mode alternate")
		}
		if account.Mode == mysqlDual && account.Plugin == pluginEd25519 {
			bad("account-form", at("plugin"), "mode dual wants mysql_native_password: clients cannot be asked twice by ed25519")
		}
		if account.Mode == mysqlDual && server.SendPassword {
			bad("account-form", nil, "mode dual sends hashes, and the upstream says sendPassword")
		}
	case "":
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(account.Mode))
	}
}
