// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"time"

	"custody.dev/custody/internal/lazyregexp"
)

// Words of RFC 6749 and RFC 7591 that decide.
const (
	codeInvalidClient      = "invalid_client"
	codeUnauthorizedClient = "unauthorized_client"
	codeInvalidGrant       = "invalid_grant"
	codeInvalidScope       = "invalid_scope"
	codeInvalidTarget      = "invalid_target"
)

// metadataCodes are the provider's way to say that it will not register such a client.
var metadataCodes = []string{
	"invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement", "unapproved_software_statement", codeInvalidScope,
}

const (
	nextReach    = "see that the provider runs, and that issuer and caCertificate in the Upstream document are right"
	nextEndpoint = "name the addresses as the provider serves them; Custody follows no redirect with a credential"
)

// defaultLater is waited for when the provider does not say how long; maxLater bounds what it says.
const (
	defaultLater = 30 * time.Second
	maxLater     = time.Hour
)

var codeForm = lazyregexp.New(`^[a-z_]{1,64}$`)
