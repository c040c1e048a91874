// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
)

func postgresUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.Postgres, b.account.Postgres
	config := postgres.Config{
		Server: postgres.Server{Host: spec.Host, Port: spec.Port, Database: spec.Database, TLS: spec.TLS, CACertificate: spec.CACertificate},
		Admin:  b.admin, Mode: postgres.Mode(account.Mode), Owner: account.Owner, User: account.User,
		NewPassword: b.password, SendPassword: spec.SendPassword, Claim: b.claim,
		Clock: Now, Random: Random(),
	}
	copy(config.Users[:], account.Users)
	return postgres.New(config)
}
