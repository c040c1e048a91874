// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/minio"
)

func minioUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.MinIO, b.account.MinIO
	settle, err := intent.ParseDuration(spec.Settle)
	if err != nil {
		return nil, err
	}
	expires, err := intent.ParseDuration(cmp.Or(account.ExpiresAfter, "0s"))
	if err != nil {
		return nil, err
	}
	return minio.New(minio.Config{
		Server: minio.Server{Endpoint: spec.Endpoint, Region: spec.Region, CACertificate: spec.CACertificate},
		Admin:  b.admin, User: account.User, Policy: account.Policy, ExpiresAfter: expires,
		NewPassword: b.password, Claim: b.claim, Settle: settle, Clock: Now, Random: Random(),
	})
}
