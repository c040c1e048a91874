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
		Admin:  b.admin, Mode: upstream.Capability(account.Mode), Owner: account.Owner, User: account.User,
		NewPassword: b.password, SendPassword: spec.SendPassword, Usage: spec.Usage, Claim: b.claim,
		Clock: Now, Random: Random(),
	}
	for _, place := range spec.AlsoAt {
		config.AlsoAt = append(config.AlsoAt, postgres.Endpoint{
			Server:       postgres.Server{Host: place.Host, Port: place.Port, Database: place.Database, TLS: place.TLS, CACertificate: place.CACertificate},
			OwnPasswords: place.OwnPasswords,
		})
	}
	copy(config.Users[:], account.Users)
	return postgres.New(config)
}
