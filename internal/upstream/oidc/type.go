// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
)

// ServerSpec is an OpenID provider with dynamic client registration (RFC 7591 and RFC 7592).
type ServerSpec struct {
	// The issuer, exactly as the discovery document has it, such as https://login.example.org. http is allowed only for
	// loopback addresses.
	Issuer string `json:"issuer"`
	// Hosts other than the issuer's that the discovery document may point to, with their port unless it is 443. Custody
	// sends credentials to no other host.
	EndpointHosts []string `json:"endpointHosts,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// What happens when the reply to a registration is lost, because the standard has no way to list clients: hold (a
	// person decides), accept (another client is registered; the lost one may remain) or collect (Custody finds the lost
	// one in clients and deletes it).
	Orphans Orphans `json:"orphans"`
	// collect: URL of the provider's own list of clients. GET must return a JSON array of them, and DELETE of a URL
	// below it must remove one. The field clientsToken of the admin credential gives access.
	Clients string `json:"clients,omitempty"`
	// Metadata field of a client in which Custody keeps the run's id: clientName (default) or softwareVersion, which
	// people do not see on the consent screen.
	Marker Marker `json:"marker,omitempty"`
	// How long a change takes to reach every part of the provider. Default 5s.
	Settle string `json:"settle,omitempty"`
}

// AccountSpec is the metadata with which the clients of one secret are registered.
type AccountSpec struct {
	// Name of the client.
	ClientName string `json:"clientName"`
	// Grant types of the client. They must include at least one of client_credentials, authorization_code, refresh_token
	// and urn:ietf:params:oauth:grant-type:device_code.
	GrantTypes []string `json:"grantTypes"`
	// Redirect URIs after sign-in. authorization_code needs at least one.
	RedirectURIs []string `json:"redirectUris,omitempty"`
	// Redirect URIs after sign-out.
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectUris,omitempty"`
	// Response types. Default code with authorization_code, otherwise none.
	ResponseTypes []string `json:"responseTypes,omitempty"`
	// Scopes that the client may request. Default: the provider's.
	Scopes []string `json:"scopes,omitempty"`
	// How the client authenticates: client_secret_basic (default) or client_secret_post.
	AuthMethod string `json:"authMethod,omitempty"`
	// Addresses of people who are responsible for the client.
	Contacts []string `json:"contacts,omitempty"`
	// URL of a page about the client.
	ClientURI string `json:"clientUri,omitempty"`
}

// Type is clients of an OpenID provider. Registering one needs an admin only where registration is not open, so none is
// demanded; the clients are new each time, so no two secrets share one.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		AdminFields: func(server ServerSpec) []upstream.OneOf {
			if server.Orphans == Collect { // the admin may be there for the list alone
				return []upstream.OneOf{{AdminClients}}
			}
			return []upstream.OneOf{{AdminInitial}}
		},
		Name: "oidc", Check: checkServer, CheckAccount: checkAccount, Endpoints: sentTo,
		Defaults: func(server *ServerSpec) {
			server.Marker = cmp.Or(server.Marker, ClientName)
			server.Settle = cmp.Or(server.Settle, "5s")
		},
		AccountDefaults: func(account *AccountSpec) {
			account.AuthMethod = cmp.Or(account.AuthMethod, Basic)
			if len(account.ResponseTypes) == 0 && slices.Contains(account.GrantTypes, grantCode) {
				account.ResponseTypes = []string{"code"}
			}
		},
		Describe: describe, Open: openAccount,
	}.Type()
}

// sentTo is the issuer, and what its discovery document may point to.
func sentTo(server ServerSpec) []string {
	all := []string{fields.OriginOf(server.Issuer, server.CACertificate)}
	for _, host := range server.EndpointHosts {
		all = append(all, fields.OriginOf("https://"+host, server.CACertificate))
	}
	if server.Clients != "" {
		all = append(all, fields.OriginOf(server.Clients, server.CACertificate))
	}
	return all
}

func checkServer(server ServerSpec, admin bool, bad upstream.Report) {
	issuer := address("issuer", server.Issuer, bad)
	if issuer != nil && issuer.RawQuery != "" {
		bad(upstream.RuleForm, upstream.At("issuer"), "the issuer has a query")
	}
	for i, host := range server.EndpointHosts {
		if u, err := url.Parse("https://" + host); err != nil || u.Host != host || !fields.HostName(u.Hostname()) {
			bad(upstream.RuleForm, upstream.At("endpointHosts", i), "not a host, or a host and a port")
		}
	}
	fields.Certificate(server.CACertificate, bad)
	switch server.Orphans {
	case "", Hold, Accept:
		if server.Clients != "" {
			bad(upstream.RuleForm, upstream.At("clients"), "clients belongs to orphans: collect")
		}
	case Collect:
		if server.Clients == "" {
			bad(upstream.RuleForm, upstream.At("orphans"), "orphans: collect without the address of the provider's list of clients")
		} else if list := address("clients", server.Clients, bad); list != nil && issuer != nil {
			same := func(host string) bool { return strings.EqualFold(host, list.Host) }
			if !same(issuer.Host) && !slices.ContainsFunc(server.EndpointHosts, same) {
				bad(upstream.RuleForm, upstream.At("clients"), "the host is neither the issuer's nor one of endpointHosts")
			}
		}
		if !admin {
			bad(upstream.RuleForm, upstream.At("orphans"), "orphans: collect without an adminRef, whose credential opens the list")
		}
	default:
		bad(upstream.RuleForm, upstream.At("orphans"), "orphans is hold, accept or collect, not "+plaintext.Show(string(server.Orphans)))
	}
	if server.Marker != ClientName && server.Marker != SoftwareVersion {
		bad(upstream.RuleForm, upstream.At("marker"), "the marker is clientName or softwareVersion, not "+plaintext.Show(string(server.Marker)))
	}
	if _, err := duration.Parse(server.Settle); err != nil {
		bad(upstream.RuleForm, upstream.At("settle"), "the settle time is not a duration such as 5s")
	}
}

// address checks an address that credentials go to; nil when it is none.
func address(field, text string, bad upstream.Report) *url.URL {
	if text == "" {
		return nil // reported as missing
	}
	u, err := parseEndpoint(text)
	if err != nil {
		bad(upstream.RuleForm, upstream.At(field), "not an address such as https://login.example.org")
		return nil
	}
	if u.Scheme == "http" && !transport.Local(u.Hostname()) {
		bad(upstream.RuleTLS, upstream.At(field), "an address of http that is not on loopback")
	}
	return u
}

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	if len(account.GrantTypes) > 0 && probe(account.GrantTypes) == "" {
		bad(upstream.RuleAccount, upstream.At("grantTypes"), "none of the grants by which a client can be tried: "+strings.Join(triable, ", "))
	}
	if slices.Contains(account.GrantTypes, grantCode) && len(account.RedirectURIs) == 0 {
		bad(upstream.RuleAccount, upstream.At("redirectUris"), "authorization_code without an address to send people back to")
	}
	for field, list := range map[string][]string{"redirectUris": account.RedirectURIs, "postLogoutRedirectUris": account.PostLogoutRedirectURIs} {
		for i, text := range list {
			if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Fragment != "" || strings.Contains(text, "*") {
				bad(upstream.RuleAccount, upstream.At(field, i), "not a whole address without a fragment and without wildcards")
			}
		}
	}
	for i, scope := range account.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\") {
			bad(upstream.RuleAccount, upstream.At("scopes", i), "not one scope")
		}
	}
	if account.AuthMethod != Basic && account.AuthMethod != Post {
		bad(upstream.RuleAccount, upstream.At("authMethod"), "a client authenticates by client_secret_basic or client_secret_post, not "+plaintext.Show(account.AuthMethod))
	}
	if account.ClientURI != "" {
		if u, err := url.Parse(account.ClientURI); err != nil || u.Host == "" {
			bad(upstream.RuleAccount, upstream.At("clientUri"), "not a whole address")
		}
	}
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	settle, err := fields.Time("settle", server.Settle)
	if err != nil {
		return nil, err
	}
	made, err := New(Config{
		Issuer: server.Issuer, EndpointHosts: server.EndpointHosts, CACertificate: server.CACertificate, Admin: b.Admin,
		Orphans: server.Orphans, Clients: server.Clients, Marker: server.Marker, Settle: settle,
		Client: Client{
			Name: account.ClientName, GrantTypes: account.GrantTypes, ResponseTypes: account.ResponseTypes,
			RedirectURIs: account.RedirectURIs, PostLogoutRedirectURIs: account.PostLogoutRedirectURIs, Scopes: account.Scopes,
			AuthMethod: account.AuthMethod, Contacts: account.Contacts, URI: account.ClientURI,
		},
		Claim: b.Claim, Clock: b.Clock, Random: b.Random,
		Tell: func(ctx context.Context, marker string) {
			b.Log.WarnContext(ctx, "a client that nobody uses may be registered at the provider: look for its mark, and delete it",
				"issuer", server.Issuer, "mark", marker)
		},
	})
	if err != nil {
		return nil, err
	}
	if server.Orphans == Hold {
		return made, nil
	}
	return made.Collecting(), nil
}
