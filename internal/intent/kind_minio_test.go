// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

// faultsOfKind applies a kind's defaults and rules to parameters, and gives what they report as "rule at".
func faultsOfKind(k kind, server v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
	var found []string
	noted := func(rule string, where trail, _ string) {
		found = append(found, strings.TrimSpace(rule+" "+where.describe()))
	}
	if k.serverDefaults != nil {
		k.serverDefaults(&server)
	}
	if k.accountDefaults != nil {
		k.accountDefaults(&rotation)
	}
	k.server(server, noted)
	k.account(server, rotation, noted)
	return found
}

func TestMinIOKind(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.MinIOUpstream, *v1alpha1.MinIOAccount)
		want   []string
	}{
		{"as it should be", func(*v1alpha1.MinIOUpstream, *v1alpha1.MinIOAccount) {}, nil},
		{"everything given", func(s *v1alpha1.MinIOUpstream, a *v1alpha1.MinIOAccount) {
			s.Region, s.Settle = "eu-central-1", "0s"
			a.Policy, a.ExpiresAfter = `{"Statement": [{}]}`, "90d"
		}, nil},
		{"loopback without TLS", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.Endpoint = "http://127.0.0.1:9000" }, nil},
		{"elsewhere without TLS", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.Endpoint = "http://minio.internal" }, []string{"upstream-tls endpoint"}},
		{"endpoint with a path", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.Endpoint = "https://minio.internal/shop" }, []string{"upstream-form endpoint"}},
		{"endpoint without a scheme", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.Endpoint = "minio.internal:9000" }, []string{"upstream-form endpoint"}},
		{"CA that is none", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"settle for ever", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.Settle = "1d" }, []string{"upstream-form settle"}},
		{"region that is none", func(s *v1alpha1.MinIOUpstream, _ *v1alpha1.MinIOAccount) { s.Region = "Frankfurt am Main" }, []string{"upstream-form region"}},
		{"user with a space", func(_ *v1alpha1.MinIOUpstream, a *v1alpha1.MinIOAccount) { a.User = " shop" }, []string{"account-form user"}},
		{"policy without statements", func(_ *v1alpha1.MinIOUpstream, a *v1alpha1.MinIOAccount) { a.Policy = "{}" }, []string{"account-form policy"}},
		{"policy that is too long", func(_ *v1alpha1.MinIOUpstream, a *v1alpha1.MinIOAccount) {
			a.Policy = `{"Statement": [{"Sid": "` + strings.Repeat("s", 2048) + `"}]}`
		}, []string{"account-form policy"}},
		{"expiry that is too soon", func(_ *v1alpha1.MinIOUpstream, a *v1alpha1.MinIOAccount) { a.ExpiresAfter = "5m" }, []string{"account-form expiresAfter"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, account := v1alpha1.MinIOUpstream{Endpoint: "https://minio.internal:9000"}, v1alpha1.MinIOAccount{User: "shop"}
			test.change(&server, &account)
			got := faultsOfKind(minioKind(), v1alpha1.UpstreamSpec{MinIO: &server}, v1alpha1.RotationSpec{Account: v1alpha1.Account{MinIO: &account}})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExamplesOnPages loads the documents that the pages of two kinds show, beside what they leave out.
func TestExamplesOnPages(t *testing.T) {
	for name, admin := range map[string]string{"aws": "cloud-admin", "minio": "objects-admin"} {
		page, err := os.ReadFile("../upstream/" + name + "/page.md")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, found := strings.Cut(string(page), "```yaml\n")
		examples, _, closed := strings.Cut(rest, "```")
		if !found || !closed {
			t.Fatalf("the page of %s shows no documents", name)
		}
		// How the first value of the admin gets in is another document's matter.
		examples = strings.ReplaceAll(examples, "{bootstrap: {secretRef: "+admin+"}}", "{generated: {type: password}}")
		rest = newStage(t).fill(`apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: home}
spec:
  environments: [prod]
  rootRecipients: ["{{ROOT}}"]
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d}
`)
		estate, faults, err := loadFS(fstest.MapFS{"rest.yaml": {Data: []byte(rest)}, "page.yaml": {Data: []byte(examples)}}, Options{Environment: "prod"})
		if err != nil || len(faults) > 0 {
			t.Errorf("%s: %v %v", name, err, faults)
			continue
		}
		for _, secretName := range estate.SecretNames() {
			document, ok := estate.UpstreamOf(estate.Secrets[secretName])
			if !ok || TypeOf(document.Spec) != name {
				t.Errorf("%s: the secret %s has no upstream of that type", name, secretName)
			}
		}
	}
}
