// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/github"
)

func githubUpstream(p *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.GitHub, b.account.GitHub
	settle, err := intent.ParseDuration(cmp.Or(spec.Settle, "10s"))
	if err != nil {
		return nil, err
	}
	return github.New(github.Config{
		URL: spec.APIURL, CACertificate: spec.CACertificate, Admin: b.admin, Settle: settle,
		InstallationID: int64(account.InstallationID), Repositories: account.Repositories, AllRepositories: account.AllRepositories,
		Permissions: account.Permissions, Clock: Now, Random: Random(),
		Tell: func(ctx context.Context, run authority.RunID, dead time.Time) {
			p.log.WarnContext(ctx, "a token that nobody knows may have been issued; it dies by itself",
				"installation", account.InstallationID, "run", run, "dead by", dead)
		},
	})
}
