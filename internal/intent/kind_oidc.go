// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/transport"
)

// oidcGrants are those by which a client can be tried.
var oidcGrants = []string{"client_credentials", oidcCode, "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}

const oidcCode = "authorization_code"

// oidcKind: clients of an OpenID provider. Registering one needs an admin only where registration is not open, so none is
// demanded; the clients are new each time, so no two secrets share one.
func oidcKind() kind {
	return kind{
		name: "oidc", admin: adminOptional,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			o := *spec.OIDC
			o.Marker = cmp.Or(o.Marker, "clientName")
			o.Settle = cmp.Or(o.Settle, "5s")
			spec.OIDC = &o
		},
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.OIDC
			account.AuthMethod = cmp.Or(account.AuthMethod, "client_secret_basic")
			if len(account.ResponseTypes) == 0 && slices.Contains(account.GrantTypes, oidcCode) {
				account.ResponseTypes = []string{"code"}
			}
			rotation.OIDC = &account
		},
		server: oidcServer, account: oidcAccount,
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			all := []string{originOf(spec.OIDC.Issuer, spec.OIDC.CACertificate)}
			for _, host := range spec.OIDC.EndpointHosts {
				all = append(all, originOf("https://"+host, spec.OIDC.CACertificate))
			}
			if spec.OIDC.Clients != "" {
				all = append(all, originOf(spec.OIDC.Clients, spec.OIDC.CACertificate))
			}
			return all
		},
	}
}

func oidcServer(spec v1alpha1.UpstreamSpec, bad report) {
	o := *spec.OIDC
	issuer := oidcAddress("issuer", o.Issuer, bad)
	if issuer != nil && issuer.RawQuery != "" {
		bad("upstream-form", at("issuer"), "the issuer has a query")
	}
	for i, host := range o.EndpointHosts {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || !hostForm.MatchString(u.Hostname()) {
			bad("upstream-form", at("endpointHosts", i), "not a host, or a host and a port")
		}
	}
	certificateRule(o.CACertificate, bad)
	switch o.Orphans {
	case "", "hold", "accept":
		if o.Clients != "" {
			bad("upstream-form", at("clients"), "clients belongs to orphans: collect")
		}
	case "collect":
		if o.Clients == "" {
			bad("upstream-form", at("orphans"), "orphans: collect without the address of the provider's list of clients")
		} else if list := oidcAddress("clients", o.Clients, bad); list != nil && issuer != nil {
			same := func(host string) bool { return strings.EqualFold(host, list.Host) }
			if !same(issuer.Host) && !slices.ContainsFunc(o.EndpointHosts, same) {
				bad("upstream-form", at("clients"), "the host is neither the issuer's nor one of endpointHosts")
			}
		}
		if spec.AdminRef == "" {
			bad("upstream-form", at("orphans"), "orphans: collect without an adminRef, whose credential opens the list")
		}
	default:
		bad("upstream-form", at("orphans"), "orphans is hold, accept or collect, not "+show(o.Orphans))
	}
	if o.Marker != "clientName" && o.Marker != "softwareVersion" {
		bad("upstream-form", at("marker"), "the marker is clientName or softwareVersion, not "+show(o.Marker))
	}
	if _, err := ParseDuration(o.Settle); err != nil {
		bad("upstream-form", at("settle"), "the settle time is not a duration such as 5s")
	}
}

// oidcAddress checks an address that credentials go to; nil when it is none.
func oidcAddress(field, text string, bad report) *url.URL {
	if text == "" {
		return nil // reported as missing
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		bad("upstream-form", at(field), "not an address such as https://login.example.org")
		return nil
	}
	if u.Scheme == "http" && !transport.Local(u.Hostname()) {
		bad("upstream-tls", at(field), "an address of http that is not on loopback")
	}
	return u
}

func oidcAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.OIDC
	if len(account.GrantTypes) > 0 && !slices.ContainsFunc(account.GrantTypes, func(one string) bool { return slices.Contains(oidcGrants, one) }) {
		bad("account-form", at("grantTypes"), "none of the grants by which a client can be tried: "+strings.Join(oidcGrants, ", "))
	}
	if slices.Contains(account.GrantTypes, oidcCode) && len(account.RedirectURIs) == 0 {
		bad("account-form", at("redirectUris"), "authorization_code without an address to send people back to")
	}
	for field, list := range map[string][]string{"redirectUris": account.RedirectURIs, "postLogoutRedirectUris": account.PostLogoutRedirectURIs} {
		for i, text := range list {
			if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Fragment != "" || strings.Contains(text, "*") {
				bad("account-form", at(field, i), "not a whole address without a fragment and without wildcards")
			}
		}
	}
	for i, scope := range account.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\") {
			bad("account-form", at("scopes", i), "not one scope")
		}
	}
	if account.AuthMethod != "client_secret_basic" && account.AuthMethod != "client_secret_post" {
		bad("account-form", at("authMethod"), "a client authenticates by client_secret_basic or client_secret_post, not "+show(account.AuthMethod))
	}
	if account.ClientURI != "" {
		if u, err := url.Parse(account.ClientURI); err != nil || u.Host == "" {
			bad("account-form", at("clientUri"), "not a whole address")
		}
	}
}
