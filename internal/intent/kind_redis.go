// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/transport"
)

const (
	defaultRedisPort = 6379
	redisDual        = "dual"
)

// redisKind: users in the access control lists of a Redis server.
func redisKind() kind {
	return kind{
		name: "redis", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			r := *spec.Redis
			r.Port = cmp.Or(r.Port, defaultRedisPort)
			r.TLS = cmp.Or(r.TLS, "verify-full")
			r.Persist = cmp.Or(r.Persist, "aclFile")
			spec.Redis = &r
		},
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.Redis
			account.Users = pairOf(account.Mode, account.Template, account.Users)
			rotation.Redis = &account
		},
		server: redisServer, account: redisAccount, endpoints: redisEndpoints,
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			// A template is only read: several pairs may have the same.
			users := append([]string{rotation.Redis.User}, rotation.Redis.Users...)
			var owned []string
			for _, address := range append([]string{net.JoinHostPort(spec.Redis.Host, strconv.Itoa(spec.Redis.Port))}, spec.Redis.Nodes...) {
				host, port, _ := transport.Address(address, spec.Redis.Port)
				owned = append(owned, claimsAt(strings.ToLower(net.JoinHostPort(host, strconv.Itoa(port))), users...)...)
			}
			return owned
		},
	}
}

// pairOf names a template's two users where they are left out.
func pairOf(mode, template string, users []string) []string {
	if mode == modeAlternate && len(users) == 0 && template != "" {
		return []string{template + "_a", template + "_b"}
	}
	return users
}

func redisServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.Redis
	hostRule(server.Host, bad)
	portRule(server.Port, bad)
	certificateRule(server.CACertificate, bad)
	hosts := []string{server.Host}
	for i, address := range server.Nodes {
		host, _, err := transport.Address(address, server.Port)
		if err != nil {
			bad("upstream-form", at("nodes", i), "of a node, "+err.Error())
		}
		hostRule(host, func(rule string, _ trail, reason string) { bad(rule, at("nodes", i), reason) })
		if host == "" {
			bad("upstream-form", at("nodes", i), "a node has no host")
		}
		hosts = append(hosts, host)
	}
	switch server.TLS {
	case "", "verify-full":
	case "disable":
		for _, host := range hosts {
			if !transport.Local(host) {
				bad("upstream-tls", at("tls"), "TLS is disabled to a host that is neither loopback nor a socket: "+show(host))
			}
		}
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(server.TLS))
	}
	switch server.Persist {
	case "", "aclFile", "configFile", "none":
	default:
		bad("upstream-form", at("persist"), "there is no way to persist called "+show(server.Persist))
	}
}

func redisAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.Redis
	name := func(step trail, name string) {
		if strings.ContainsFunc(name, func(r rune) bool { return r == 0 || unicode.IsSpace(r) }) {
			bad("account-form", step, "the name of a user holds a space")
		}
	}
	name(at("user"), account.User)
	name(at("template"), account.Template)
	for i, user := range account.Users {
		name(at("users", i), user)
	}
	switch account.Mode {
	case redisDual:
		if account.User == "" {
			bad("account-form", nil, "mode dual without a user")
		}
		if account.Template != "" || len(account.Users) > 0 {
			bad("account-form", nil, "template and users belong to mode alternate")
		}
	case modeAlternate:
		pairRule(account.Template, account.Users, bad)
		if account.User != "" {
			bad("account-alternate", at("user"), "user belongs to another mode")
		}
	case "":
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(account.Mode))
	}
}

// pairRule checks two users that take turns and get the rights of a template.
func pairRule(template string, users []string, bad report) {
	switch {
	case template == "":
		bad("account-alternate", nil, "mode alternate without a template")
	case len(users) != 2:
		bad("account-alternate", at("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(users)))
	case users[0] == users[1]:
		bad("account-alternate", at("users"), "both users are the same")
	case users[0] == template || users[1] == template:
		bad("account-alternate", at("users"), "the template is one of the users")
	case users[0] == "" || users[1] == "":
		bad("account-alternate", at("users"), "a user has no name")
	}
}

func redisEndpoints(spec v1alpha1.UpstreamSpec) []string {
	server := spec.Redis
	all := []string{addressOf(server.Host, server.Port, server.TLS, server.CACertificate)}
	for _, node := range server.Nodes {
		host, port, _ := transport.Address(node, server.Port) // checked by its rule
		all = append(all, addressOf(host, port, server.TLS, server.CACertificate))
	}
	return all
}
