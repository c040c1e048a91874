// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestAWSKind(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*ServerSpec, *AccountSpec)
		want   []string
	}{
		{"as it should be", func(*ServerSpec, *AccountSpec) {}, nil},
		{"everything given", func(s *ServerSpec, a *AccountSpec) {
			s.Region, s.Partition, s.Settle = "cn-north-1", "aws-cn", "1m"
			s.IAMEndpoint, s.STSEndpoint = "https://iam.vpce.example.com", "http://127.0.0.1:4566"
			a.Revoke = "delete"
		}, nil},
		{"untagged", func(_ *ServerSpec, a *AccountSpec) { a.Untagged = true }, nil},
		{"untagged and inactive", func(_ *ServerSpec, a *AccountSpec) { a.Untagged, a.Revoke = true, "deactivate" }, []string{"account-form revoke"}},
		{"revoke by a word unknown", func(_ *ServerSpec, a *AccountSpec) { a.Revoke = "maybe" }, []string{"account-form revoke"}},
		{"account of letters", func(s *ServerSpec, _ *AccountSpec) { s.AccountID = "my-account" }, []string{"upstream-form accountId"}},
		{"region that is none", func(s *ServerSpec, _ *AccountSpec) { s.Region = "Frankfurt" }, []string{"upstream-form region"}},
		{"partition that is none", func(s *ServerSpec, _ *AccountSpec) { s.Partition = "azure" }, []string{"upstream-form partition"}},
		{"settle that is none", func(s *ServerSpec, _ *AccountSpec) { s.Settle = "soon" }, []string{"upstream-form settle"}},
		{"IAM elsewhere without TLS", func(s *ServerSpec, _ *AccountSpec) { s.IAMEndpoint = "http://iam.example.com" }, []string{"upstream-tls iamEndpoint"}},
		{"STS with a path", func(s *ServerSpec, _ *AccountSpec) { s.STSEndpoint = "https://sts.example.com/x" }, []string{"upstream-form stsEndpoint"}},
		{"CA that is none", func(s *ServerSpec, _ *AccountSpec) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"user with its path", func(_ *ServerSpec, a *AccountSpec) { a.User = "shop/orders" }, []string{"account-form user"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, account := ServerSpec{AccountID: "123456789012", Region: "eu-central-1"}, AccountSpec{User: "orders"}
			test.change(&server, &account)
			got := upstreamtest.Faults(Type(), true, &server, &account)
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
		if got := partitionOf(region); got != want {
			t.Errorf("%s: got %s, want %s", region, got, want)
		}
	}
}

func TestAWSUsersThatDifferInCaseAreOne(t *testing.T) {
	claims := func(user string) []string {
		return Type().Claims(&ServerSpec{AccountID: "123456789012", Region: "eu-central-1", Partition: "aws"}, &AccountSpec{User: user})
	}
	if diff := cmp.Diff(claims("orders"), claims("Orders")); diff != "" {
		t.Errorf("claims (-orders +Orders):\n%s", diff)
	}
}
