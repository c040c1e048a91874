// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

// pageFaults are what is wrong with the example documents on a kind's page, on the host that the page shows: in an estate
// as `custody init` makes it, and but for what is sealed.
func pageFaults(t *testing.T, kind string) []string {
	t.Helper()
	page, err := os.ReadFile("../upstream/" + kind + "/page.md")
	if err != nil {
		t.Fatal(err)
	}
	host := pageHost(t, page)
	estate := fstest.MapFS{"rest.yaml": {Data: []byte(newStage(t).fill(`apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: home}
spec:
  environments: [prod]
  rootRecipients: ["{{ROOT}}"]
  bootstrapRecipients: {prod: "{{DEV}}"}
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d, rotateBefore: 7d}
`))}}
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		if strings.HasPrefix(string(block[1]), "apiVersion: ") {
			estate[fmt.Sprintf("page-%d.yaml", i)] = &fstest.MapFile{Data: block[1]}
		}
	}
	if len(estate) == 1 {
		t.Fatal("the page has no example")
	}
	_, faults, err := loadFS(estate, Options{Environment: "prod", Host: &host})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, fault := range faults {
		// Bootstrap documents are sealed to recipients of one's own, so that a page has none.
		if fault.Rule != "origin-bootstrap" {
			found[fault.Rule+": "+fault.Reason] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// pageHost is the host file of `custody init` with what a page shows of one.
func pageHost(t *testing.T, page []byte) v1alpha1.HostSpec {
	t.Helper()
	t.Helper()
	_, shown, found := strings.Cut(string(page), "```yaml\nspec:\n")
	shown, _, closed := strings.Cut(shown, "```")
	if !found || !closed {
		t.Fatal("the page shows nothing of the host file")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "custody.yaml")
	text := `apiVersion: custody.dev/v1alpha1
kind: Host
metadata: {name: host}
spec:
  platform: home
  environment: prod
  estate: estate
  state: state
  unseal: {identity: keys/unseal.agekey}
  folders: {app: run/app}
` + shown
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	host, faults, err := LoadHost(file)
	if err != nil || len(faults) > 0 {
		t.Fatalf("the host file that the page shows: %v %v", err, faults)
	}
	return host.Spec
}

// TestPagesLint: readers copy what a page shows.
func TestPagesLint(t *testing.T) {
	for _, kind := range []string{"oidc", "github", "aws", "exec"} {
		t.Run(kind, func(t *testing.T) {
			if diff := cmp.Diff([]string(nil), pageFaults(t, kind)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// reported applies a kind's defaults and rules, and gives what they report as "rule at".
func reported(k kind, server v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
	found := []string{}
	note := func(rule string, where trail, _ string) {
		found = append(found, strings.TrimSuffix(rule+" "+where.describe(), " the document"))
	}
	k.serverDefaults(&server)
	if k.accountDefaults != nil {
		k.accountDefaults(&rotation)
	}
	k.server(server, note)
	k.account(server, rotation, note)
	slices.Sort(found)
	return found
}

func TestOIDCKind(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.UpstreamSpec, *v1alpha1.OIDCAccount)
		want   []string
	}{
		"as it should be": {func(*v1alpha1.UpstreamSpec, *v1alpha1.OIDCAccount) {}, nil},
		"loopback":        {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Issuer = "http://127.0.0.1:8080/realm" }, nil},
		"http elsewhere":  {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Issuer = "http://login.example.org" }, []string{"upstream-tls issuer"}},
		"issuer no address": {
			func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Issuer = "login.example.org" }, []string{"upstream-form issuer"},
		},
		"issuer with a query": {
			func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Issuer += "?realm=x" }, []string{"upstream-form issuer"},
		},
		"endpoint host with a path": {
			func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) {
				s.OIDC.EndpointHosts = []string{"a.example.org", "b.example.org:8443", "c.example.org/x", "d@e.example.org", ""}
			},
			[]string{"upstream-form endpointHosts[2]", "upstream-form endpointHosts[3]", "upstream-form endpointHosts[4]"},
		},
		"CA that is none": {
			func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.CACertificate = "none" }, []string{"upstream-form caCertificate"},
		},
		"orphans unknown": {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Orphans = "forget" }, []string{"upstream-form orphans"}},
		"collect without list and admin": {
			func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Orphans = "collect" },
			[]string{"upstream-form orphans", "upstream-form orphans"},
		},
		"collect": {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) {
			s.AdminRef, s.OIDC.Orphans, s.OIDC.Clients = "admin", "collect", "https://login.example.org/clients"
		}, nil},
		"collect elsewhere": {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) {
			s.AdminRef, s.OIDC.Orphans, s.OIDC.Clients = "admin", "collect", "https://admin.example.org/clients"
		}, []string{"upstream-form clients"}},
		"collect elsewhere, allowed": {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) {
			s.AdminRef, s.OIDC.Orphans, s.OIDC.Clients = "admin", "collect", "https://admin.example.org/clients"
			s.OIDC.EndpointHosts = []string{"admin.example.org"}
		}, nil},
		"list without collect": {
			func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) {
				s.OIDC.Clients = "https://login.example.org/clients"
			},
			[]string{"upstream-form clients"},
		},
		"marker unknown": {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Marker = "contacts" }, []string{"upstream-form marker"}},
		"settle no time": {func(s *v1alpha1.UpstreamSpec, _ *v1alpha1.OIDCAccount) { s.OIDC.Settle = "soon" }, []string{"upstream-form settle"}},
		"nothing to try": {
			func(_ *v1alpha1.UpstreamSpec, a *v1alpha1.OIDCAccount) { a.GrantTypes = []string{"implicit"} }, []string{"account-form grantTypes"},
		},
		"code without redirect": {
			func(_ *v1alpha1.UpstreamSpec, a *v1alpha1.OIDCAccount) { a.GrantTypes = []string{"authorization_code"} },
			[]string{"account-form redirectUris"},
		},
		"redirects": {func(_ *v1alpha1.UpstreamSpec, a *v1alpha1.OIDCAccount) {
			a.RedirectURIs = []string{"https://a.example.org/x", "https://*.example.org/", "/relative", "https://a.example.org/#y", "org.example.app:/back"}
		}, []string{"account-form redirectUris[1]", "account-form redirectUris[2]", "account-form redirectUris[3]"}},
		"two scopes in one": {func(_ *v1alpha1.UpstreamSpec, a *v1alpha1.OIDCAccount) { a.Scopes = []string{"a b"} }, []string{"account-form scopes[0]"}},
		"method unknown": {
			func(_ *v1alpha1.UpstreamSpec, a *v1alpha1.OIDCAccount) { a.AuthMethod = "private_key_jwt" }, []string{"account-form authMethod"},
		},
		"page of the client": {func(_ *v1alpha1.UpstreamSpec, a *v1alpha1.OIDCAccount) { a.ClientURI = "orders" }, []string{"account-form clientUri"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := v1alpha1.UpstreamSpec{OIDC: &v1alpha1.OIDCUpstream{Issuer: "https://login.example.org", Orphans: "accept"}}
			account := v1alpha1.OIDCAccount{ClientName: "Orders", GrantTypes: []string{"client_credentials"}}
			test.change(&server, &account)
			got := reported(oidcKind(), server, v1alpha1.RotationSpec{Account: v1alpha1.Account{OIDC: &account}})
			if diff := cmp.Diff(append([]string{}, test.want...), got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
