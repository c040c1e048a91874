// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"cmp"
	"strings"
	"time"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/fields"
)

// ServerSpec is one AWS account, for access keys of IAM users.
type ServerSpec struct {
	// Number of the AWS account: 12 digits, in quotes. Custody rejects keys and users of any other account.
	AccountID string `json:"accountId"`
	// Region of the security token service (STS) that checks the keys, such as eu-central-1.
	Region string `json:"region"`
	// aws, aws-cn, aws-us-gov or another partition. Default: the one of the region.
	Partition string `json:"partition,omitempty"`
	// How long a change takes to reach every part of AWS. Default 15s.
	Settle string `json:"settle,omitempty"`
	// URL of IAM instead of the public one, such as an interface endpoint. http is allowed only for loopback addresses.
	IAMEndpoint string `json:"iamEndpoint,omitempty"`
	// URL of STS instead of the public one. http is allowed only for loopback addresses.
	STSEndpoint string `json:"stsEndpoint,omitempty"`
	// PEM certificate of the CA that signs the certificates of these two endpoints. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
}

// AccountSpec names the IAM user that the access keys of one secret belong to.
type AccountSpec struct {
	// Name of the IAM user, without its path. It must exist, and have at most one access key when Custody begins to
	// manage it.
	User string `json:"user"`
	// deactivate (default): a revoked key is made inactive, and deleted when the next key is created; until then you can
	// activate it again. delete: it is deleted at once.
	Revoke Revocation `json:"revoke,omitempty"`
	// Do not put tags on the user. Then nothing stops somebody else from rotating it too, and revoke is delete.
	Untagged bool `json:"untagged,omitempty"`
}

// Type is access keys of IAM users. A user has two at most, so it belongs to one secret.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "aws", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount, Endpoints: endpoints,
		AdminFields: func(ServerSpec) []upstream.OneOf { return accesskey.AdminFields() },
		Defaults: func(server *ServerSpec) {
			server.Partition = cmp.Or(server.Partition, partitionOf(server.Region))
			server.Settle = cmp.Or(server.Settle, "15s")
		},
		AccountDefaults: func(account *AccountSpec) {
			if account.Revoke == "" {
				account.Revoke = Deactivate
				if account.Untagged {
					account.Revoke = Delete
				}
			}
		},
		Claims: func(server ServerSpec, account AccountSpec) []string {
			// IAM takes names that differ in case alone for the same.
			return fields.Claims(server.Partition+"/"+server.AccountID, strings.ToLower(account.User))
		},
		Describe: describe, Open: openAccount,
	}.Type()
}

var partitionForm = lazyregexp.New(`^aws(-[a-z]+)*$`)

// partitionOf is the partition of a region, by its name.
func partitionOf(region string) string {
	for prefix, partition := range map[string]string{
		"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eusc-": "aws-eusc",
	} {
		if strings.HasPrefix(region, prefix) {
			return partition
		}
	}
	return "aws"
}

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	if server.AccountID != "" && !accountForm.MatchString(server.AccountID) {
		bad(upstream.RuleForm, upstream.At("accountId"), "not the 12 digits of an AWS account")
	}
	if server.Region != "" && !fields.Region(server.Region) {
		bad(upstream.RuleForm, upstream.At("region"), "not the name of a region")
	}
	if !partitionForm.MatchString(server.Partition) {
		bad(upstream.RuleForm, upstream.At("partition"), "not the name of a partition")
	}
	if settle, err := duration.Parse(server.Settle); err != nil || settle > time.Hour {
		bad(upstream.RuleForm, upstream.At("settle"), "not a duration of at most 1h")
	}
	fields.Origin("iamEndpoint", server.IAMEndpoint, bad)
	fields.Origin("stsEndpoint", server.STSEndpoint, bad)
	fields.Certificate(server.CACertificate, bad)
}

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	if account.User != "" && !userForm.MatchString(account.User) {
		bad(upstream.RuleAccount, upstream.At("user"), "not the name of an IAM user: letters, digits and _+=,.@- , 64 at most, without its path")
	}
	switch account.Revoke {
	case Delete:
	case Deactivate:
		if account.Untagged {
			bad(upstream.RuleAccount, upstream.At("revoke"), "without tags nothing tells which keys Custody made inactive; they must be deleted")
		}
	default:
		bad(upstream.RuleAccount, upstream.At("revoke"), "revoke is deactivate or delete, not "+plaintext.Show(string(account.Revoke)))
	}
}

// endpoints are AWS's own, named by account, partition and region, unless the document names others.
func endpoints(server ServerSpec) []string {
	all := []string{"IAM of AWS account " + server.AccountID + ", partition " + server.Partition, "STS of AWS account " + server.AccountID + ", region " + server.Region}
	for i, own := range []string{server.IAMEndpoint, server.STSEndpoint} {
		if own != "" {
			all[i] = fields.OriginOf(own, server.CACertificate)
		}
	}
	return all
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	settle, err := fields.Time("settle", server.Settle)
	if err != nil {
		return nil, err
	}
	return New(Config{
		Server: Server{
			AccountID: server.AccountID, Region: server.Region, Partition: server.Partition,
			IAMEndpoint: server.IAMEndpoint, STSEndpoint: server.STSEndpoint, CACertificate: server.CACertificate,
		},
		Admin: b.Admin, User: account.User, Revocation: account.Revoke, Untagged: account.Untagged,
		Claim: b.Claim, Settle: settle, Clock: b.Clock, Random: b.Random,
	})
}
