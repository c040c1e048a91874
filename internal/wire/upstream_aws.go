// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/aws"
)

func awsUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.AWS, b.account.AWS
	settle, err := intent.ParseDuration(spec.Settle)
	if err != nil {
		return nil, err
	}
	return aws.New(aws.Config{
		Server: aws.Server{
			AccountID: spec.AccountID, Region: spec.Region, Partition: spec.Partition,
			IAMEndpoint: spec.IAMEndpoint, STSEndpoint: spec.STSEndpoint, CACertificate: spec.CACertificate,
		},
		Admin: b.admin, User: account.User, Revocation: aws.Revocation(account.Revoke), Untagged: account.Untagged,
		Claim: b.claim, Settle: settle, Clock: Now, Random: Random(),
	})
}
