// SPDX-License-Identifier: Apache-2.0

// Package oidctest tests the type of upstream oidc with the whole product, on an OpenID provider. It sets up what
// people set up by hand, as the page says, and has clients that sign in with code of their own. It uses no code of the
// adapter.
package oidctest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"
)

// Kinds share one provider, which has a list of clients of its own: by it collect finds what a lost reply left, and
// deletes it. Accept leaves that and names it in the log; hold waits for a person. Clients take the way that Custody
// takes, for the provider has one Name: where replies are lost they lose some too.
func Kinds() []acceptance.Kind {
	collect := oidcKind("oidc", "collect")
	collect.Model, collect.Crowd, collect.Pace = true, 14, 300*time.Millisecond
	accept, hold := oidcKind("oidc-accept", "accept"), oidcKind("oidc-hold", "hold")
	hold.Calm = true
	return []acceptance.Kind{collect, accept, hold}
}

func oidcKind(name, orphans string) acceptance.Kind {
	return acceptance.Kind{
		Name: name, Capability: upstream.Dual, Issues: true, Crowd: 4, Pace: 500 * time.Millisecond, OneWay: true, SignIn: oidcSignIn,
		Start: func(s *acceptance.Stage, _ []string) acceptance.Part {
			p := acceptance.Once(s, "oidc", func() *realparts.OIDCProvider {
				p := realparts.OIDC(s.T(), realparts.OIDCOptions{})
				s.AddProxy(p.Proxy)
				return p
			})
			more, admin := "", map[string]string{"initialAccessToken": p.InitialAccessToken}
			if orphans == "collect" {
				more, admin["clientsToken"] = ", clients: '"+p.ClientsURL+"'", p.AdminToken
			}
			s.Upstream(name, fmt.Sprintf("oidc: {issuer: '%s', orphans: %s, settle: 0s%s}", p.Issuer, orphans, more), admin, "")
			return acceptance.Part{
				At: p.Issuer + "/token", Upstream: name, Log: p.Log,
				Account: func(account string) string {
					return fmt.Sprintf("oidc: {clientName: %s, grantTypes: [client_credentials], scopes: [orders.read]}", account)
				},
				Held: func(ctx context.Context, account string) (held []string, err error) {
					clients, err := p.Clients(ctx)
					log, current := s.Log(), s.Fields(strings.ReplaceAll(account, "_", "-"))["client_id"]
					for _, client := range clients {
						of, mark, _ := strings.Cut(strings.TrimSuffix(client.Name, ")"), " (")
						lost := orphans == "accept" && client.ID != current && mark != "" && strings.Contains(log, mark)
						if of == account && !lost {
							held = append(held, client.ID+" "+client.Name)
						}
					}
					return held, err
				},
				Rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
					clients, err := p.Clients(ctx)
					for _, client := range clients {
						if client.ID == fields["client_id"] {
							return fmt.Sprint(client.GrantTypes, client.RedirectURIs, client.Scope, client.AuthMethod), err
						}
					}
					return "none", err
				},
			}
		},
	}
}

func oidcSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	return acceptance.VerdictOf(signin.OIDCClient(ctx, at, "", fields["client_id"], fields["client_secret"], "orders.read"))
}
