// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// OIDCUpstream is an OpenID provider with dynamic client registration (RFC 7591 and RFC 7592).
type OIDCUpstream struct {
	// The issuer, letter by letter as its discovery document says it, such as https://login.example.org. https, or http on
	// loopback.
	Issuer string `json:"issuer"`
	// Hosts besides the issuer's to which the discovery document may point, with their port where it is not 443. Credentials
	// are sent nowhere else.
	EndpointHosts []string `json:"endpointHosts,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// What a lost reply to a registration means, since the standard cannot list clients: hold (a person looks), accept
	// (another is registered, the lost one may stay) or collect (it is found in clients and deleted).
	Orphans string `json:"orphans"`
	// collect: address of the provider's own list of clients: GET answers a JSON array of them, DELETE beneath it removes
	// one. The admin credential's field clientsToken opens it.
	Clients string `json:"clients,omitempty"`
	// Which of a client's metadata carries the run's id: clientName (default) or softwareVersion, which people do not see
	// when they consent.
	Marker string `json:"marker,omitempty"`
	// How long a change takes to show in every part of the provider. Default 5s.
	Settle string `json:"settle,omitempty"`
}

// OIDCAccount is the metadata of the clients of one secret, as they are registered.
type OIDCAccount struct {
	// Name of the client.
	ClientName string `json:"clientName"`
	// Grants of the client. One of client_credentials, authorization_code, refresh_token and
	// urn:ietf:params:oauth:grant-type:device_code must be among them.
	GrantTypes []string `json:"grantTypes"`
	// Where people are sent back to; authorization_code needs one.
	RedirectURIs []string `json:"redirectUris,omitempty"`
	// Where people are sent after signing out.
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectUris,omitempty"`
	// Response types. Default code where authorization_code is granted, else none.
	ResponseTypes []string `json:"responseTypes,omitempty"`
	// Scopes that the client may ask for. Default the provider's.
	Scopes []string `json:"scopes,omitempty"`
	// How the client authenticates: client_secret_basic (default) or client_secret_post.
	AuthMethod string `json:"authMethod,omitempty"`
	// Addresses of people responsible for the client.
	Contacts []string `json:"contacts,omitempty"`
	// A page about the client.
	ClientURI string `json:"clientUri,omitempty"`
}
