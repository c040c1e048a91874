// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// AWSUpstream is one account of Amazon Web Services, for access keys of IAM users.
type AWSUpstream struct {
	// Number of the AWS account: 12 digits, quoted. Keys and users of any other account are refused.
	AccountID string `json:"accountId"`
	// Region whose security token service (STS) checks the keys, such as eu-central-1.
	Region string `json:"region"`
	// aws, aws-cn, aws-us-gov, or another partition. Default: the region's.
	Partition string `json:"partition,omitempty"`
	// How long a change takes to show everywhere in AWS. Default 15s.
	Settle string `json:"settle,omitempty"`
	// URL of IAM in place of AWS's own, such as an interface endpoint. http is refused unless the host is loopback.
	IAMEndpoint string `json:"iamEndpoint,omitempty"`
	// URL of STS in place of AWS's own. http is refused unless the host is loopback.
	STSEndpoint string `json:"stsEndpoint,omitempty"`
	// PEM of the certificate authority of the endpoints given here; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
}

// AWSAccount names the IAM user whose access keys one secret is.
type AWSAccount struct {
	// IAM user, without its path. It must exist, with at most one access key when Custody takes it on.
	User string `json:"user"`
	// deactivate (default): a revoked key is made inactive and deleted when the next is issued, so that it can be brought
	// back until then. delete: it is deleted at once.
	Revoke string `json:"revoke,omitempty"`
	// Do not tag the user. Nothing then keeps others from rotating it as well, and revoke is delete.
	Untagged bool `json:"untagged,omitempty"`
}
