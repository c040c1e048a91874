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

// oidcKinds share one provider, which has a list of clients of its own: by it collect finds what a lost reply left, and
// deletes it. Accept leaves that and names it in the log; hold waits for a person. Clients take the way that Custody
// takes, for the provider has one name: where replies are lost they lose some too.
func oidcKinds() []kind {
	collect := oidcKind("oidc", "collect")
	collect.model, collect.crowd, collect.pace = true, 14, 300*time.Millisecond
	accept, hold := oidcKind("oidc-accept", "accept"), oidcKind("oidc-hold", "hold")
	hold.calm = true
	return []kind{collect, accept, hold}
}

func oidcKind(name, orphans string) kind {
	return kind{
		name: name, capability: upstream.Dual, issues: true, crowd: 4, pace: 500 * time.Millisecond, oneWay: true, signIn: oidcSignIn,
		start: func(s *stage, _ []string) part {
			p := once(s, "oidc", func() *realparts.OIDCProvider {
				p := realparts.OIDC(s.t, realparts.OIDCOptions{Source: "../../tools/oidc-provider"})
				s.proxies["oidc"] = append(s.proxies["oidc"], p.Proxy)
				return p
			})
			more, admin := "", map[string]string{"initialAccessToken": p.InitialAccessToken}
			if orphans == "collect" {
				more, admin["clientsToken"] = ", clients: '"+p.ClientsURL+"'", p.AdminToken
			}
			s.upstream(name, fmt.Sprintf("oidc: {issuer: '%s', orphans: %s, settle: 0s%s}", p.Issuer, orphans, more), admin, "")
			return part{
				at: p.Issuer + "/token", upstream: name, log: p.Log,
				account: func(account string) string {
					return fmt.Sprintf("oidc: {clientName: %s, grantTypes: [client_credentials], scopes: [orders.read]}", account)
				},
				held: func(ctx context.Context, account string) (held []string, err error) {
					clients, err := p.Clients(ctx)
					log, current := s.log(), s.fields(strings.ReplaceAll(account, "_", "-"))["client_id"]
					for _, client := range clients {
						of, mark, _ := strings.Cut(strings.TrimSuffix(client.Name, ")"), " (")
						lost := orphans == "accept" && client.ID != current && mark != "" && strings.Contains(log, mark)
						if of == account && !lost {
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
	}
}

func oidcSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	return verdictOf(signin.OIDCClient(ctx, at, "", fields["client_id"], fields["client_secret"], "orders.read"))
}
