// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/transport"
)

const defaultPostgresPort = 5432

// postgresKind: roles of a PostgreSQL server. It cuts names off after 63 bytes.
func postgresKind() kind {
	return kind{
		name: "postgres", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			p := *spec.Postgres
			p.Port = cmp.Or(p.Port, defaultPostgresPort)
			p.Database = cmp.Or(p.Database, "postgres")
			p.TLS = cmp.Or(p.TLS, "verify-full")
			p.AlsoAt = slices.Clone(p.AlsoAt)
			for i, place := range p.AlsoAt {
				p.AlsoAt[i].Port = cmp.Or(place.Port, defaultPostgresPort)
				p.AlsoAt[i].Database = cmp.Or(place.Database, p.Database)
				p.AlsoAt[i].TLS = cmp.Or(place.TLS, "verify-full")
			}
			spec.Postgres = &p
		},
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.Postgres
			if account.Mode == modeAlternate && len(account.Users) == 0 && account.Owner != "" {
				account.Users = []string{account.Owner + "_a", account.Owner + "_b"}
			}
			rotation.Postgres = &account
		},
		server: postgresServer, account: postgresAccount,
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			server := spec.Postgres
			all := []string{postgresAt(server.Host, server.Port, server.TLS, server.CACertificate)}
			for _, place := range server.AlsoAt {
				all = append(all, postgresAt(place.Host, place.Port, place.TLS, place.CACertificate))
			}
			return all
		},
		interrupts: func(rotation v1alpha1.RotationSpec) bool { return rotation.Postgres.Mode == modeOverwrite },
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			account := *rotation.Postgres
			roles := append([]string{account.Owner, account.User}, account.Users...)
			return claimsAt(fmt.Sprintf("%s:%d", strings.ToLower(spec.Postgres.Host), spec.Postgres.Port), roles...)
		},
	}
}

func postgresAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.Postgres
	role := func(step trail, name string) {
		if len(name) > 63 || strings.HasPrefix(name, "pg_") {
			bad("account-form", step, "the role name is longer than 63 bytes or begins with pg_")
		}
	}
	switch account.Mode {
	case modeAlternate:
		switch {
		case account.Owner == "":
			bad("account-alternate", nil, "mode alternate without an owner")
		case len(account.Users) != 2:
			bad("account-alternate", at("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(account.Users)))
		case account.Users[0] == account.Users[1]:
			bad("account-alternate", at("users"), "both users are the same")
		case slices.Contains(account.Users, account.Owner):
			bad("account-alternate", at("users"), "the owner is one of the users")
		case slices.Contains(account.Users, ""):
			bad("account-alternate", at("users"), "a user has no name")
		}
		if account.User != "" {
			bad("account-alternate", at("user"), "user belongs to mode overwrite")
		}
		role(at("owner"), account.Owner)
		for i, user := range account.Users {
			role(at("users", i), user)
		}
	case modeOverwrite:
		if account.User == "" {
			bad("account-overwrite", nil, "mode overwrite without a user")
		}
		if account.Owner != "" || len(account.Users) > 0 {
			bad("account-overwrite", nil, "owner and users belong to mode alternate")
		}
		role(at("user"), account.User)
	case "":
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(account.Mode))
	}
}

var hostForm = lazyregexp.New(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

func postgresServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.Postgres
	postgresPlace(server.Host, server.Port, server.TLS, server.CACertificate, bad)
	for i, place := range server.AlsoAt {
		under := func(rule string, where trail, reason string) { bad(rule, at("alsoAt", i).to(where...), reason) }
		postgresPlace(place.Host, place.Port, place.TLS, place.CACertificate, under)
		if place.Host == server.Host && place.Port == server.Port {
			under("upstream-form", nil, "this is the server itself")
		}
	}
}

func postgresPlace(host string, port int, tls, certificate string, bad report) {
	hostRule(host, bad)
	portRule(port, bad)
	certificateRule(certificate, bad)
	switch tls {
	case "", "verify-full", "verify-ca", "require":
	case "disable":
		if !transport.Local(host) {
			bad("upstream-tls", at("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(tls))
	}
}

// hostRule, portRule and certificateRule check fields that many types share: host, port and caCertificate.
func hostRule(host string, bad report) {
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !strings.HasPrefix(host, "/") && !hostForm.MatchString(host) {
		bad("upstream-form", at("host"), "the host is neither a name, nor an address, nor the folder of a socket")
	}
}

func portRule(port int, bad report) {
	if port < 0 || port > 65535 {
		bad("upstream-form", at("port"), fmt.Sprintf("there is no port %d", port))
	}
}

func certificateRule(text string, bad report) {
	if text != "" && !certificates(text) {
		bad("upstream-form", at("caCertificate"), "not a sequence of certificates in PEM")
	}
}
