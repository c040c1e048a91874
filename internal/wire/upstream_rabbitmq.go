// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/rabbitmq"
)

func rabbitmqUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.RabbitMQ, b.account.RabbitMQ
	config := rabbitmq.Config{
		Server: rabbitmq.Server{
			Host: spec.Host, Port: spec.Port, ManagementHost: spec.ManagementHost, ManagementPort: spec.ManagementPort,
			ManagementPath: spec.ManagementPath, TLS: spec.TLS, CACertificate: spec.CACertificate,
		},
		Admin: b.admin, Mode: upstream.Capability(account.Mode), Template: account.Template, User: account.User,
		NewPassword: b.password, Claim: b.claim, Clock: Now, Random: Random(),
	}
	copy(config.Users[:], account.Users)
	if spec.AuthCache != "" {
		cache, err := intent.ParseDuration(spec.AuthCache)
		if err != nil {
			return nil, fmt.Errorf("authCache: %w", err)
		}
		config.AuthCache = cache
	}
	made, err := rabbitmq.New(config)
	if err != nil {
		return nil, err
	}
	if config.Mode == upstream.Alternate {
		return rabbitmq.Pair{Upstream: made}, nil
	}
	return made, nil
}
