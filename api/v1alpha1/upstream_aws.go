// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// AWSUpstream is Amazon Web Services, for access keys of IAM users.
type AWSUpstream struct{}

// AWSAccount is one account there.
type AWSAccount struct{}
