// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/oidc"
)

func oidcUpstream(p *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.OIDC, b.account.OIDC
	settle, err := intent.ParseDuration(cmp.Or(spec.Settle, "5s"))
	if err != nil {
		return nil, err
	}
	made, err := oidc.New(oidc.Config{
		Issuer: spec.Issuer, EndpointHosts: spec.EndpointHosts, CACertificate: spec.CACertificate, Admin: b.admin,
		Orphans: oidc.Orphans(spec.Orphans), Clients: spec.Clients, Marker: oidc.Marker(spec.Marker), Settle: settle,
		Client: oidc.Client{
			Name: account.ClientName, GrantTypes: account.GrantTypes, ResponseTypes: account.ResponseTypes,
			RedirectURIs: account.RedirectURIs, PostLogoutRedirectURIs: account.PostLogoutRedirectURIs, Scopes: account.Scopes,
			AuthMethod: account.AuthMethod, Contacts: account.Contacts, URI: account.ClientURI,
		},
		Claim: b.claim, Clock: Now, Random: Random(),
		Tell: func(ctx context.Context, marker string) {
			p.log.WarnContext(ctx, "a client that nobody uses may be registered at the provider: look for its mark, and delete it",
				"issuer", spec.Issuer, "mark", marker)
		},
	})
	if err != nil {
		return nil, err
	}
	if spec.Orphans == string(oidc.Hold) {
		return made, nil
	}
	return made.Collecting(), nil
}
