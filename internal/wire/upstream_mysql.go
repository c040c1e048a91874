// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"fmt"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/mysql"
)

func mysqlUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.MySQL, b.account.MySQL
	config := mysql.Config{
		Server: mysql.Server{
			Host: spec.Host, Port: spec.Port, Product: mysql.Product(spec.Product), TLS: spec.TLS,
			CACertificate: spec.CACertificate, MarkerTable: spec.MarkerTable,
		},
		Admin: b.admin, Mode: upstream.Capability(account.Mode), User: account.User, Role: account.Role, Host: account.Host,
		Plugin: account.Plugin, NewPassword: b.password, SendPassword: spec.SendPassword, Usage: spec.Usage,
		Claim: b.claim, Clock: Now, Random: Random(),
	}
	copy(config.Users[:], account.Users)
	var err error
	if config.WrongEvery, err = intent.ParseDuration(cmp.Or(spec.WrongEvery, "0s")); err != nil {
		return nil, fmt.Errorf("reading wrongEvery: %w", err)
	}
	return mysql.New(config)
}
