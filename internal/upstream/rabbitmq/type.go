// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
	"custody.dev/custody/internal/upstream/login"
)

// ServerSpec is a RabbitMQ broker with its management interface.
type ServerSpec struct {
	// Host name or IP address of the broker.
	Host string `json:"host"`
	// Port of the AMQP listener. Default 5671, without TLS 5672.
	Port int `json:"port,omitempty"`
	// Host name or IP address of the management interface. Default: host.
	ManagementHost string `json:"managementHost,omitempty"`
	// Port of the management interface. Default 15671, without TLS 15672.
	ManagementPort int `json:"managementPort,omitempty"`
	// Path prefix of the management interface (management.path_prefix).
	ManagementPath string `json:"managementPath,omitempty"`
	// TLS mode of both: verify-full (default) or disable. disable is allowed only if both hosts are loopback addresses.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long the broker may answer sign-ins from its cache (auth_cache.cache_ttl). Default: it has no cache.
	AuthCache string `json:"authCache,omitempty"`
}

// AccountSpec names the user or users of one secret.
type AccountSpec struct {
	// alternate (two users that take turns) or overwrite (one user).
	Mode upstream.Capability `json:"mode"`
	// alternate: the user whose tags, permissions and limits are copied to both users. It must exist and have no
	// password.
	Template string `json:"template,omitempty"`
	// alternate: the two users. Default TEMPLATE_a and TEMPLATE_b. Custody creates them if they do not exist.
	Users []string `json:"users,omitempty"`
	// overwrite: the user. It must exist.
	User string `json:"user,omitempty"`
}

// Type is users of a RabbitMQ broker.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "rabbitmq", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount,
		AdminFields: func(server ServerSpec) []upstream.OneOf { return login.AdminFields(server.ManagementHost) },
		Defaults: func(server *ServerSpec) {
			server.TLS = cmp.Or(server.TLS, VerifyFull)
			server.ManagementHost = cmp.Or(server.ManagementHost, server.Host)
			amqp, management := amqpsPort, managementTLSPort
			if server.TLS == Disable {
				amqp, management = amqpPort, managementPort
			}
			server.Port, server.ManagementPort = cmp.Or(server.Port, amqp), cmp.Or(server.ManagementPort, management)
		},
		AccountDefaults: func(account *AccountSpec) {
			account.Users = fields.Pair(account.Mode, account.Template, account.Users)
		},
		Endpoints: func(server ServerSpec) []string {
			return []string{
				fields.Address(server.Host, server.Port, server.TLS, server.CACertificate),
				fields.Address(server.ManagementHost, server.ManagementPort, server.TLS, server.CACertificate),
			}
		},
		Interrupts: func(_ ServerSpec, account AccountSpec) bool { return account.Mode == upstream.Overwrite },
		Claims: func(server ServerSpec, account AccountSpec) []string {
			users := append([]string{account.Template, account.User}, account.Users...)
			return fields.Claims(fmt.Sprintf("%s:%d", strings.ToLower(server.Host), server.Port), users...)
		},
		SignsIn:  func(name string) AccountSpec { return AccountSpec{Mode: upstream.Overwrite, User: name} },
		Describe: describe, Open: openAccount,
	}.Type()
}

// RabbitMQ's ports, with and without TLS.
const (
	amqpsPort         = 5671
	amqpPort          = 5672
	managementTLSPort = 15671
	managementPort    = 15672
	localUser         = "guest"
	longestAuthCache  = time.Hour
)

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	for _, part := range []struct {
		host, hostKey, portKey string
		port                   int
	}{{server.Host, "host", "port", server.Port}, {server.ManagementHost, "managementHost", "managementPort", server.ManagementPort}} {
		fields.Host(part.host, func(rule string, _ upstream.Trail, reason string) { bad(rule, upstream.At(part.hostKey), reason) })
		fields.Port(part.port, func(rule string, _ upstream.Trail, reason string) { bad(rule, upstream.At(part.portKey), reason) })
		if strings.HasPrefix(part.host, "/") {
			bad(upstream.RuleForm, upstream.At(part.hostKey), "the broker is not reached through a socket")
		}
		if server.TLS == "disable" && !transport.Local(part.host) {
			bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is not loopback: "+plaintext.Show(part.host))
		}
	}
	fields.Certificate(server.CACertificate, bad)
	if server.ManagementPath != "" && !isPath(server.ManagementPath) {
		bad(upstream.RuleForm, upstream.At("managementPath"), "the path does not begin with a slash, ends with one, or is more than a path")
	}
	switch server.TLS {
	case "", "verify-full", "disable":
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(server.TLS))
	}
	if server.AuthCache != "" {
		if cache, err := duration.Parse(server.AuthCache); err != nil || cache > longestAuthCache {
			bad(upstream.RuleForm, upstream.At("authCache"), "not a duration of "+duration.Format(longestAuthCache)+" at most")
		}
	}
}

func checkAccount(server ServerSpec, account AccountSpec, bad upstream.Report) {
	name := func(step upstream.Trail, name string) {
		if fault := nameFault(name); fault != "" {
			bad(upstream.RuleAccount, step, fault)
		}
		if name == localUser && !transport.Local(server.Host) {
			bad(upstream.RuleAccount, step, "the user guest signs in from the broker's own machine alone")
		}
	}
	name(upstream.At("user"), account.User)
	name(upstream.At("template"), account.Template)
	for i, user := range account.Users {
		name(upstream.At("users", i), user)
	}
	switch account.Mode {
	case upstream.Alternate:
		fields.PairOfTemplate(account.Template, account.Users, bad)
		if account.User != "" {
			bad(upstream.RuleAlternate, upstream.At("user"), "user belongs to mode overwrite")
		}
	case upstream.Overwrite:
		if account.User == "" {
			bad(upstream.RuleOverwrite, nil, "mode overwrite without a user")
		}
		if account.Template != "" || len(account.Users) > 0 {
			bad(upstream.RuleOverwrite, nil, "template and users belong to mode alternate")
		}
	case "":
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
	}
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config := Config{
		Server: Server{
			Host: server.Host, Port: server.Port, ManagementHost: server.ManagementHost, ManagementPort: server.ManagementPort,
			ManagementPath: server.ManagementPath, TLS: server.TLS, CACertificate: server.CACertificate,
		},
		Admin: b.Admin, Mode: account.Mode, Template: account.Template, User: account.User,
		NewPassword: b.Password, Claim: b.Claim, Clock: b.Clock, Random: b.Random,
	}
	copy(config.Users[:], account.Users)
	var err error
	if config.AuthCache, err = fields.Time("authCache", server.AuthCache); err != nil {
		return nil, err
	}
	made, err := New(config)
	if err != nil {
		return nil, err
	}
	if config.Mode == upstream.Alternate {
		return Pair{Upstream: made}, nil
	}
	return made, nil
}
