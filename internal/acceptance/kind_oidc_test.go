// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"
)

// oidcKinds: the provider has a list of clients of its own, by which what a lost reply left is found and deleted. Its
// clients take the way that Custody takes, for the provider has one name: where replies are lost they lose some too.
func oidcKinds() []kind {
	return []kind{{
		name: "oidc", capability: upstream.Dual, issues: true, model: true, crowd: 6, oneWay: true, signIn: oidcSignIn,
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
	body := strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "scope": {"orders.read"}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at, body)
	if err != nil {
		return upstream.Unknown, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(fields["client_id"]), url.QueryEscape(fields["client_secret"]))
	return httpSignIn(request)
}

// httpSignIn sends a request that carries a credential.
func httpSignIn(request *http.Request) (upstream.Verdict, error) {
	return httpSignInBy(http.DefaultClient, request)
}

func httpSignInBy(client *http.Client, request *http.Request) (upstream.Verdict, error) {
	response, err := client.Do(request)
	if err != nil {
		return upstream.Unknown, err
	}
	_ = response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return upstream.Accepted, nil
	case http.StatusUnauthorized:
		return upstream.Refused, nil
	}
	return upstream.Unknown, fmt.Errorf("the server answers %s", response.Status)
}
