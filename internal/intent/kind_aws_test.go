// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

func TestAWSKind(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.AWSUpstream, *v1alpha1.AWSAccount)
		want   []string
	}{
		{"as it should be", func(*v1alpha1.AWSUpstream, *v1alpha1.AWSAccount) {}, nil},
		{"everything given", func(s *v1alpha1.AWSUpstream, a *v1alpha1.AWSAccount) {
			s.Region, s.Partition, s.Settle = "cn-north-1", "aws-cn", "1m"
			s.IAMEndpoint, s.STSEndpoint = "https://iam.vpce.example.com", "http://127.0.0.1:4566"
			a.Revoke = "delete"
		}, nil},
		{"untagged", func(_ *v1alpha1.AWSUpstream, a *v1alpha1.AWSAccount) { a.Untagged = true }, nil},
		{"untagged and inactive", func(_ *v1alpha1.AWSUpstream, a *v1alpha1.AWSAccount) { a.Untagged, a.Revoke = true, "deactivate" }, []string{"account-form revoke"}},
		{"revoke by a word unknown", func(_ *v1alpha1.AWSUpstream, a *v1alpha1.AWSAccount) { a.Revoke = "maybe" }, []string{"account-form revoke"}},
		{"account of letters", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.AccountID = "my-account" }, []string{"upstream-form accountId"}},
		{"region that is none", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.Region = "Frankfurt" }, []string{"upstream-form region"}},
		{"partition that is none", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.Partition = "azure" }, []string{"upstream-form partition"}},
		{"settle that is none", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.Settle = "soon" }, []string{"upstream-form settle"}},
		{"IAM elsewhere without TLS", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.IAMEndpoint = "http://iam.example.com" }, []string{"upstream-tls iamEndpoint"}},
		{"STS with a path", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.STSEndpoint = "https://sts.example.com/x" }, []string{"upstream-form stsEndpoint"}},
		{"CA that is none", func(s *v1alpha1.AWSUpstream, _ *v1alpha1.AWSAccount) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"user with its path", func(_ *v1alpha1.AWSUpstream, a *v1alpha1.AWSAccount) { a.User = "shop/orders" }, []string{"account-form user"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, account := v1alpha1.AWSUpstream{AccountID: "123456789012", Region: "eu-central-1"}, v1alpha1.AWSAccount{User: "orders"}
			test.change(&server, &account)
			got := faultsOfKind(awsKind(), v1alpha1.UpstreamSpec{AWS: &server}, v1alpha1.RotationSpec{Account: v1alpha1.Account{AWS: &account}})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWSPartitionOfRegion(t *testing.T) {
	for region, want := range map[string]string{
		"eu-central-1": "aws", "us-east-1": "aws", "cn-northwest-1": "aws-cn", "us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-iso-b",
	} {
		if got := awsPartition(region); got != want {
			t.Errorf("%s: got %s, want %s", region, got, want)
		}
	}
}

func TestAWSUsersThatDifferInCaseAreOne(t *testing.T) {
	claims := func(user string) []string {
		spec := v1alpha1.UpstreamSpec{AWS: &v1alpha1.AWSUpstream{AccountID: "123456789012", Region: "eu-central-1", Partition: "aws"}}
		return awsKind().claims(spec, v1alpha1.RotationSpec{Account: v1alpha1.Account{AWS: &v1alpha1.AWSAccount{User: user}}})
	}
	if diff := cmp.Diff(claims("orders"), claims("Orders")); diff != "" {
		t.Errorf("claims (-orders +Orders):\n%s", diff)
	}
}
