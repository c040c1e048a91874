// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/redis"
)

func redisUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.Redis, b.account.Redis
	config := redis.Config{
		Server: redis.Server{Host: spec.Host, Port: spec.Port, Nodes: spec.Nodes, TLS: spec.TLS, CACertificate: spec.CACertificate},
		Admin:  b.admin, Mode: upstream.Capability(account.Mode), User: account.User, Template: account.Template,
		Persist: redis.Persist(spec.Persist), NewPassword: b.password, Claim: b.claim,
		Clock: Now, Random: Random(),
	}
	copy(config.Users[:], account.Users)
	made, err := redis.New(config)
	if err != nil {
		return nil, err
	}
	if config.Mode == upstream.Alternate {
		return redis.Pair{Upstream: made}, nil
	}
	return made, nil
}
