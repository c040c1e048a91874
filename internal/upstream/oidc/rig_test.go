// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// public are the fields that are not secret.
var public = []string{
	oidc.FieldID, oidc.FieldManageURI, oidc.FieldAuthMethod, oidc.FieldGrantTypes, oidc.FieldExpires,
}

// rig is a provider that many tests share, each with a claim of its own.
type rig struct {
	*testing.T
	provider *realparts.OIDCProvider
	claims   *atomic.Int64
}

func newRig(t *testing.T, options realparts.OIDCOptions) *rig {
	t.Helper()
	return &rig{T: t, provider: realparts.OIDC(t, options), claims: new(atomic.Int64)}
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig { return &rig{T: t, provider: r.provider, claims: r.claims} }

// config is for a secret that the provider does not know yet; its clients have client_credentials.
func (r *rig) config(orphans oidc.Orphans) oidc.Config {
	r.Helper()
	config := oidc.Config{
		Issuer: r.provider.Issuer, CACertificate: r.provider.CACertificate, Orphans: orphans,
		Client: oidc.Client{Name: "Orders", GrantTypes: []string{"client_credentials"}, Scopes: []string{"orders.read"}},
		Claim:  fmt.Sprintf("shop/test/orders-%d", r.claims.Add(1)), Clock: time.Now,
	}
	admin := map[string]string{}
	if r.provider.InitialAccessToken != "" {
		admin[oidc.AdminInitial] = r.provider.InitialAccessToken
	}
	if orphans == oidc.Collect {
		config.Clients = r.provider.ClientsURL
		admin[oidc.AdminClients] = r.provider.AdminToken
	}
	if len(admin) > 0 {
		config.Admin = upstreamtest.Admins(upstreamtest.Value(r, admin))
	}
	return config
}

func (r *rig) open(config oidc.Config) *oidc.Upstream {
	r.Helper()
	u, err := oidc.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

// held lists the clients that carry a claim.
func (r *rig) held(claim string) (held []realparts.OIDCClient) {
	r.Helper()
	clients, err := r.provider.Clients(context.WithoutCancel(r.Context()))
	if err != nil {
		r.Fatal(err)
	}
	for _, client := range clients {
		if strings.Contains(client.Name+client.SoftwareVersion, claim+" ") {
			held = append(held, client)
		}
	}
	return held
}

func (r *rig) holds(want int, claim, when string) {
	r.Helper()
	if held := r.held(claim); len(held) != want {
		r.Errorf("%s: got %d clients (%v), want %d", when, len(held), held, want)
	}
}

func (r *rig) fault(f realparts.OIDCFault) {
	r.Helper()
	if err := r.provider.Fault(r.Context(), f); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) clear() {
	r.Helper()
	if err := r.provider.ClearFaults(context.WithoutCancel(r.Context())); err != nil {
		r.Fatal(err)
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	plain, open := realparts.OIDCOptions{}, realparts.OIDCOptions{Open: true, TLS: true}
	var forms []upstreamtest.Form
	var rigs []*rig
	for _, test := range []struct {
		name     string
		provider realparts.OIDCOptions
		orphans  oidc.Orphans
		change   func(*oidc.Config)
	}{
		{"collect", plain, oidc.Collect, nil},
		{"collect by software_version", plain, oidc.Collect, func(c *oidc.Config) { c.Marker = oidc.SoftwareVersion }},
		{"accept, by post and code", plain, oidc.Accept, func(c *oidc.Config) {
			c.Client.AuthMethod = oidc.Post
			c.Client.GrantTypes = []string{"authorization_code", "refresh_token"}
			c.Client.RedirectURIs = []string{"https://orders.example.org/back"}
			c.Client.Scopes = []string{"openid", "offline_access"}
		}},
		{"accept, open and TLS", open, oidc.Accept, nil},
	} {
		rig := newRig(t, test.provider) // each breaks a provider of its own
		rigs = append(rigs, rig)
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := rig.on(t)
			config := r.config(test.orphans)
			clock, skew := upstreamtest.Skewed()
			config.Clock = clock
			if test.change != nil {
				test.change(&config)
			}
			fixture := upstreamtest.Fixture{
				Upstream: r.open(config).Collecting(), Public: public,
				Break: r.provider.Proxy.Break, Cut: r.provider.Proxy.Cut, Hold: r.provider.Proxy.Hold,
				Mend: func() {
					r.provider.Proxy.Mend()
					r.clear()
				},
				Throttle: func() {
					r.fault(realparts.OIDCFault{Status: 429, Headers: map[string]string{"Retry-After": "7"}})
				},
				Skew: skew,
				Log:  r.provider.Log,
			}
			if test.orphans == oidc.Collect { // elsewhere a lost reply leaves a client that nobody can find
				fixture.Held = func(t *testing.T) (held []string) {
					for _, client := range r.on(t).held(config.Claim) {
						held = append(held, client.ID)
					}
					return held
				}
			}
			return fixture
		}})
	}
	upstreamtest.ParallelForms(t, forms)
	t.Cleanup(func() {
		for _, rig := range rigs {
			if log := rig.provider.Log(); !strings.Contains(log, "DELETE /reg/") {
				t.Error("the provider did not log requests: the search of its log proves nothing")
			}
		}
	})
}
