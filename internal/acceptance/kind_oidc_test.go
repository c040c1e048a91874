// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"
)

// oidcKinds: the provider has a list of clients of its own, by which what a lost reply left is found and deleted. Its
// clients take the way that Custody takes, for the provider has one name: where replies are lost they lose some too.
func oidcKinds() []kind {
	return []kind{{
		name: "oidc", capability: upstream.Dual, issues: true, model: true, crowd: 14, pace: 300 * time.Millisecond, oneWay: true, signIn: oidcSignIn,
		start: func(s *stage, _ []string) part {
			p := once(s, "oidc", func() *realparts.OIDCProvider {
				p := realparts.OIDC(s.t, realparts.OIDCOptions{Source: "../../tools/oidc-provider"})
				s.proxies["oidc"] = append(s.proxies["oidc"], p.Proxy)
				s.upstream("oidc", fmt.Sprintf("oidc: {issuer: '%s', orphans: collect, clients: '%s', settle: 0s}", p.Issuer, p.ClientsURL),
					map[string]string{"initialAccessToken": p.InitialAccessToken, "clientsToken": p.AdminToken}, "")
				return p
			})
			return part{
				at: p.Issuer + "/token", upstream: "oidc", log: p.Log,
				account: func(name string) string {
					return fmt.Sprintf("oidc: {clientName: %s, grantTypes: [client_credentials], scopes: [orders.read]}", name)
				},
				held: func(ctx context.Context, name string) (held []string, err error) {
					clients, err := p.Clients(ctx)
					for _, client := range clients {
						if strings.HasPrefix(client.Name, name+" ") {
							held = append(held, client.ID+" "+client.Name)
						}
					}
					return held, err
				},
				rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
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
	}}
}

func oidcSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	return verdictOf(signin.OIDCClient(ctx, at, "", fields["client_id"], fields["client_secret"], "orders.read"))
}
