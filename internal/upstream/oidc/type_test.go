// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/upstream/upstreamtest"
)

// declared is an Upstream in brief.
type declared struct {
	AdminRef string
	OIDC     *ServerSpec
}

func TestOIDCKind(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*declared, *AccountSpec)
		want   []string
	}{
		"as it should be": {func(*declared, *AccountSpec) {}, nil},
		"loopback":        {func(s *declared, _ *AccountSpec) { s.OIDC.Issuer = "http://127.0.0.1:8080/realm" }, nil},
		"http elsewhere":  {func(s *declared, _ *AccountSpec) { s.OIDC.Issuer = "http://login.example.org" }, []string{"upstream-tls issuer"}},
		"issuer no address": {
			func(s *declared, _ *AccountSpec) { s.OIDC.Issuer = "login.example.org" }, []string{"upstream-form issuer"},
		},
		"issuer with a query": {
			func(s *declared, _ *AccountSpec) { s.OIDC.Issuer += "?realm=x" }, []string{"upstream-form issuer"},
		},
		"endpoint host with a path": {
			func(s *declared, _ *AccountSpec) {
				s.OIDC.EndpointHosts = []string{"a.example.org", "b.example.org:8443", "c.example.org/x", "d@e.example.org", ""}
			},
			[]string{"upstream-form endpointHosts[2]", "upstream-form endpointHosts[3]", "upstream-form endpointHosts[4]"},
		},
		"CA that is none": {
			func(s *declared, _ *AccountSpec) { s.OIDC.CACertificate = "none" }, []string{"upstream-form caCertificate"},
		},
		"orphans unknown": {func(s *declared, _ *AccountSpec) { s.OIDC.Orphans = "forget" }, []string{"upstream-form orphans"}},
		"collect without list and admin": {
			func(s *declared, _ *AccountSpec) { s.OIDC.Orphans = "collect" },
			[]string{"upstream-form orphans", "upstream-form orphans"},
		},
		"collect": {func(s *declared, _ *AccountSpec) {
			s.AdminRef, s.OIDC.Orphans, s.OIDC.Clients = "admin", "collect", "https://login.example.org/clients"
		}, nil},
		"collect elsewhere": {func(s *declared, _ *AccountSpec) {
			s.AdminRef, s.OIDC.Orphans, s.OIDC.Clients = "admin", "collect", "https://admin.example.org/clients"
		}, []string{"upstream-form clients"}},
		"collect elsewhere, allowed": {func(s *declared, _ *AccountSpec) {
			s.AdminRef, s.OIDC.Orphans, s.OIDC.Clients = "admin", "collect", "https://admin.example.org/clients"
			s.OIDC.EndpointHosts = []string{"admin.example.org"}
		}, nil},
		"list without collect": {
			func(s *declared, _ *AccountSpec) {
				s.OIDC.Clients = "https://login.example.org/clients"
			},
			[]string{"upstream-form clients"},
		},
		"marker unknown": {func(s *declared, _ *AccountSpec) { s.OIDC.Marker = "contacts" }, []string{"upstream-form marker"}},
		"settle no time": {func(s *declared, _ *AccountSpec) { s.OIDC.Settle = "soon" }, []string{"upstream-form settle"}},
		"nothing to try": {
			func(_ *declared, a *AccountSpec) { a.GrantTypes = []string{"implicit"} }, []string{"account-form grantTypes"},
		},
		"code without redirect": {
			func(_ *declared, a *AccountSpec) { a.GrantTypes = []string{"authorization_code"} },
			[]string{"account-form redirectUris"},
		},
		"redirects": {func(_ *declared, a *AccountSpec) {
			a.RedirectURIs = []string{"https://a.example.org/x", "https://*.example.org/", "/relative", "https://a.example.org/#y", "org.example.app:/back"}
		}, []string{"account-form redirectUris[1]", "account-form redirectUris[2]", "account-form redirectUris[3]"}},
		"two scopes in one": {func(_ *declared, a *AccountSpec) { a.Scopes = []string{"a b"} }, []string{"account-form scopes[0]"}},
		"method unknown": {
			func(_ *declared, a *AccountSpec) { a.AuthMethod = "private_key_jwt" }, []string{"account-form authMethod"},
		},
		"page of the client": {func(_ *declared, a *AccountSpec) { a.ClientURI = "orders" }, []string{"account-form clientUri"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := declared{OIDC: &ServerSpec{Issuer: "https://login.example.org", Orphans: "accept"}}
			account := AccountSpec{ClientName: "Orders", GrantTypes: []string{"client_credentials"}}
			test.change(&server, &account)
			got := upstreamtest.Faults(Type(), server.AdminRef != "", server.OIDC, &account)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
