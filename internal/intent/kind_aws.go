// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	awsAccountForm   = lazyregexp.New(`^[0-9]{12}$`)
	awsPartitionForm = lazyregexp.New(`^aws(-[a-z]+)*$`)
	awsUserForm      = lazyregexp.New(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	regionForm       = lazyregexp.New(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

const (
	revokeDeactivate = "deactivate"
	revokeDelete     = "delete"
)

// awsKind: access keys of IAM users. A user has two at most, so it belongs to one secret.
func awsKind() kind {
	return kind{
		name: "aws", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			a := *spec.AWS
			a.Partition = cmp.Or(a.Partition, awsPartition(a.Region))
			a.Settle = cmp.Or(a.Settle, "15s")
			spec.AWS = &a
		},
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.AWS
			if account.Revoke == "" {
				account.Revoke = revokeDeactivate
				if account.Untagged {
					account.Revoke = revokeDelete
				}
			}
			rotation.AWS = &account
		},
		server: awsServer, account: awsAccount, endpoints: awsEndpoints,
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			// IAM takes names that differ in case alone for the same.
			return claimsAt(spec.AWS.Partition+"/"+spec.AWS.AccountID, strings.ToLower(rotation.AWS.User))
		},
	}
}

// awsPartition is the partition of a region, by its name.
func awsPartition(region string) string {
	for prefix, partition := range map[string]string{
		"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eusc-": "aws-eusc",
	} {
		if strings.HasPrefix(region, prefix) {
			return partition
		}
	}
	return "aws"
}

func awsServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.AWS
	if server.AccountID != "" && !awsAccountForm.MatchString(server.AccountID) {
		bad("upstream-form", at("accountId"), "not the 12 digits of an AWS account")
	}
	if server.Region != "" && !regionForm.MatchString(server.Region) {
		bad("upstream-form", at("region"), "not the name of a region")
	}
	if !awsPartitionForm.MatchString(server.Partition) {
		bad("upstream-form", at("partition"), "not the name of a partition")
	}
	if settle, err := ParseDuration(server.Settle); err != nil || settle > time.Hour {
		bad("upstream-form", at("settle"), "not a duration of at most 1h")
	}
	endpointRule("iamEndpoint", server.IAMEndpoint, bad)
	endpointRule("stsEndpoint", server.STSEndpoint, bad)
	certificateRule(server.CACertificate, bad)
}

func awsAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.AWS
	if account.User != "" && !awsUserForm.MatchString(account.User) {
		bad("account-form", at("user"), "not the name of an IAM user: letters, digits and _+=,.@- , 64 at most, without its path")
	}
	switch account.Revoke {
	case revokeDelete:
	case revokeDeactivate:
		if account.Untagged {
			bad("account-form", at("revoke"), "without tags nothing tells which keys Custody made inactive; they must be deleted")
		}
	default:
		bad("account-form", at("revoke"), "revoke is deactivate or delete, not "+show(account.Revoke))
	}
}

// awsEndpoints are AWS's own, named by account, partition and region, unless the document names others.
func awsEndpoints(spec v1alpha1.UpstreamSpec) []string {
	a := spec.AWS
	all := []string{"IAM of AWS account " + a.AccountID + ", partition " + a.Partition, "STS of AWS account " + a.AccountID + ", region " + a.Region}
	for i, own := range []string{a.IAMEndpoint, a.STSEndpoint} {
		if own != "" {
			all[i] = originOf(own, a.CACertificate)
		}
	}
	return all
}
