// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/transport"
)

// RabbitMQ's ports, with and without TLS.
const (
	amqpsPort         = 5671
	amqpPort          = 5672
	managementTLSPort = 15671
	managementPort    = 15672
	maxRabbitMQName   = 255
	rabbitMQLocalUser = "guest"
	longestAuthCache  = "1h"
)

// rabbitmqKind: users of a RabbitMQ broker.
func rabbitmqKind() kind {
	return kind{
		name: "rabbitmq", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			r := *spec.RabbitMQ
			r.TLS = cmp.Or(r.TLS, "verify-full")
			r.ManagementHost = cmp.Or(r.ManagementHost, r.Host)
			amqp, management := amqpsPort, managementTLSPort
			if r.TLS == "disable" {
				amqp, management = amqpPort, managementPort
			}
			r.Port, r.ManagementPort = cmp.Or(r.Port, amqp), cmp.Or(r.ManagementPort, management)
			spec.RabbitMQ = &r
		},
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.RabbitMQ
			account.Users = pairOf(account.Mode, account.Template, account.Users)
			rotation.RabbitMQ = &account
		},
		server: rabbitmqServer, account: rabbitmqAccount,
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			r := spec.RabbitMQ
			return []string{addressOf(r.Host, r.Port, r.TLS, r.CACertificate), addressOf(r.ManagementHost, r.ManagementPort, r.TLS, r.CACertificate)}
		},
		interrupts: func(rotation v1alpha1.RotationSpec) bool { return rotation.RabbitMQ.Mode == modeOverwrite },
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			account := *rotation.RabbitMQ
			users := append([]string{account.Template, account.User}, account.Users...)
			return claimsAt(fmt.Sprintf("%s:%d", strings.ToLower(spec.RabbitMQ.Host), spec.RabbitMQ.Port), users...)
		},
	}
}

func rabbitmqServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.RabbitMQ
	for _, part := range []struct {
		host, hostKey, portKey string
		port                   int
	}{{server.Host, "host", "port", server.Port}, {server.ManagementHost, "managementHost", "managementPort", server.ManagementPort}} {
		hostRule(part.host, func(rule string, _ trail, reason string) { bad(rule, at(part.hostKey), reason) })
		portRule(part.port, func(rule string, _ trail, reason string) { bad(rule, at(part.portKey), reason) })
		if strings.HasPrefix(part.host, "/") {
			bad("upstream-form", at(part.hostKey), "the broker is not reached through a socket")
		}
		if server.TLS == "disable" && !transport.Local(part.host) {
			bad("upstream-tls", at("tls"), "TLS is disabled to a host that is not loopback: "+show(part.host))
		}
	}
	certificateRule(server.CACertificate, bad)
	if path := server.ManagementPath; path != "" && (!strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#%\\ ") || strings.Contains(path, "//") || strings.Contains(path, "..")) {
		bad("upstream-form", at("managementPath"), "the path does not begin with a slash, ends with one, or is more than a path")
	}
	switch server.TLS {
	case "", "verify-full", "disable":
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(server.TLS))
	}
	if server.AuthCache != "" {
		longest, _ := ParseDuration(longestAuthCache)
		if cache, err := ParseDuration(server.AuthCache); err != nil || cache > longest {
			bad("upstream-form", at("authCache"), "not a duration of "+longestAuthCache+" at most")
		}
	}
}

func rabbitmqAccount(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.RabbitMQ
	name := func(step trail, name string) {
		if len(name) > maxRabbitMQName {
			bad("account-form", step, "the name of a user is longer than 255 bytes")
		}
		if name == rabbitMQLocalUser && !transport.Local(spec.RabbitMQ.Host) {
			bad("account-form", step, "the user guest signs in from the broker's own machine alone")
		}
	}
	name(at("user"), account.User)
	name(at("template"), account.Template)
	for i, user := range account.Users {
		name(at("users", i), user)
	}
	switch account.Mode {
	case modeAlternate:
		pairRule(account.Template, account.Users, bad)
		if account.User != "" {
			bad("account-alternate", at("user"), "user belongs to mode overwrite")
		}
	case modeOverwrite:
		if account.User == "" {
			bad("account-overwrite", nil, "mode overwrite without a user")
		}
		if account.Template != "" || len(account.Users) > 0 {
			bad("account-overwrite", nil, "template and users belong to mode alternate")
		}
	case "":
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(account.Mode))
	}
}
