// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"net"
	"strconv"
	"strings"

	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
	"custody.dev/custody/internal/upstream/login"
)

// ServerSpec is a Redis or Valkey server with access control lists (ACLs).
type ServerSpec struct {
	// Host name, IP address, or path of the Unix socket.
	Host string `json:"host"`
	// Port. Default 6379.
	Port int `json:"port,omitempty"`
	// Other servers with the same users, as HOST or HOST:PORT: replicas and cluster nodes, to which Redis does not
	// replicate users. Custody changes users on all of them. A sign-in counts as accepted or refused only if all of them
	// agree.
	Nodes []string `json:"nodes,omitempty"`
	// TLS mode: verify-full (default) or disable. disable is allowed only if every host is a loopback address or a
	// socket.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the servers' certificates. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// How the server keeps users over a restart: aclFile (default; Custody runs ACL SAVE), configFile (CONFIG REWRITE),
	// or none (a restart loses every change).
	Persist Persist `json:"persist,omitempty"`
}

// AccountSpec names the user or users of one secret.
type AccountSpec struct {
	// dual (one user with two passwords) or alternate (two users that take turns).
	Mode upstream.Capability `json:"mode"`
	// dual: the user. It must exist.
	User string `json:"user,omitempty"`
	// alternate: the user whose permissions are copied to both users. It must exist, be off, and have no password.
	Template string `json:"template,omitempty"`
	// alternate: the two users. Default TEMPLATE_a and TEMPLATE_b. Custody creates them if they do not exist.
	Users []string `json:"users,omitempty"`
}

// Type is users in the access control lists of a Redis server.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "redis", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount, Endpoints: endpoints, Claims: claims,
		AdminFields: func(server ServerSpec) []upstream.OneOf { return login.AdminFields(server.Host) },
		Defaults: func(server *ServerSpec) {
			server.Port = cmp.Or(server.Port, defaultPort)
			server.TLS = cmp.Or(server.TLS, VerifyFull)
			server.Persist = cmp.Or(server.Persist, ACLFile)
		},
		AccountDefaults: func(account *AccountSpec) {
			account.Users = fields.Pair(account.Mode, account.Template, account.Users)
		},
		SignsIn:  func(name string) AccountSpec { return AccountSpec{Mode: upstream.Dual, User: name} },
		Describe: describe, Open: openAccount,
	}.Type()
}

// claims are users at every node. A template is only read: several pairs may have the same.
func claims(server ServerSpec, account AccountSpec) []string {
	users := append([]string{account.User}, account.Users...)
	var owned []string
	for _, address := range append([]string{net.JoinHostPort(server.Host, strconv.Itoa(server.Port))}, server.Nodes...) {
		host, port, _ := transport.Address(address, server.Port)
		owned = append(owned, fields.Claims(strings.ToLower(net.JoinHostPort(host, strconv.Itoa(port))), users...)...)
	}
	return owned
}

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	fields.Host(server.Host, bad)
	fields.Port(server.Port, bad)
	fields.Certificate(server.CACertificate, bad)
	hosts := []string{server.Host}
	for i, address := range server.Nodes {
		host, _, err := transport.Address(address, server.Port)
		if err != nil {
			bad(upstream.RuleForm, upstream.At("nodes", i), "of a node, "+err.Error())
		}
		fields.Host(host, func(rule string, _ upstream.Trail, reason string) { bad(rule, upstream.At("nodes", i), reason) })
		if host == "" {
			bad(upstream.RuleForm, upstream.At("nodes", i), "a node has no host")
		}
		hosts = append(hosts, host)
	}
	switch server.TLS {
	case "", "verify-full":
	case "disable":
		for _, host := range hosts {
			if !transport.Local(host) {
				bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is neither loopback nor a socket: "+plaintext.Show(host))
			}
		}
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(server.TLS))
	}
	switch server.Persist {
	case "", ACLFile, ConfigFile, None:
	default:
		bad(upstream.RuleForm, upstream.At("persist"), "there is no way to persist called "+plaintext.Show(string(server.Persist)))
	}
}

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	name := func(step upstream.Trail, name string) {
		if !isName(name) {
			bad(upstream.RuleAccount, step, "the name of a user holds a space")
		}
	}
	name(upstream.At("user"), account.User)
	name(upstream.At("template"), account.Template)
	for i, user := range account.Users {
		name(upstream.At("users", i), user)
	}
	switch account.Mode {
	case upstream.Dual:
		if account.User == "" {
			bad(upstream.RuleAccount, nil, "mode dual without a user")
		}
		if account.Template != "" || len(account.Users) > 0 {
			bad(upstream.RuleAccount, nil, "template and users belong to mode alternate")
		}
	case upstream.Alternate:
		fields.PairOfTemplate(account.Template, account.Users, bad)
		if account.User != "" {
			bad(upstream.RuleAlternate, upstream.At("user"), "user belongs to another mode")
		}
	case "":
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
	}
}

func endpoints(server ServerSpec) []string {
	all := []string{fields.Address(server.Host, server.Port, server.TLS, server.CACertificate)}
	for _, node := range server.Nodes {
		host, port, _ := transport.Address(node, server.Port) // checked by its rule
		all = append(all, fields.Address(host, port, server.TLS, server.CACertificate))
	}
	return all
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config := Config{
		Server: Server{Host: server.Host, Port: server.Port, Nodes: server.Nodes, TLS: server.TLS, CACertificate: server.CACertificate},
		Admin:  b.Admin, Mode: account.Mode, User: account.User, Template: account.Template, Persist: server.Persist,
		NewPassword: b.Password, Claim: b.Claim, Clock: b.Clock, Random: b.Random,
	}
	copy(config.Users[:], account.Users)
	made, err := New(config)
	if err != nil {
		return nil, err
	}
	if config.Mode == upstream.Alternate {
		return Pair{Upstream: made}, nil
	}
	return made, nil
}
