// SPDX-License-Identifier: Apache-2.0

// Package kinds is the only list, written by hand, of the types of upstream. Nothing else imports the adapters'
// packages.
package kinds

import (
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/aws"
	"custody.dev/custody/internal/upstream/exec"
	"custody.dev/custody/internal/upstream/github"
	"custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/mail"
	"custody.dev/custody/internal/upstream/minio"
	"custody.dev/custody/internal/upstream/mysql"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/redis"
)

// Upstreams are all types of upstream, in the order in which people are told of them.
func Upstreams() upstream.Types {
	return upstream.Types{
		postgres.Type(), mysql.Type(), redis.Type(), rabbitmq.Type(), ldap.Type(), mail.Type(),
		oidc.Type(), github.Type(), aws.Type(), minio.Type(), http.Type(), exec.Type(),
	}
}
