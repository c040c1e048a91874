// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// OIDCUpstream is an OpenID provider with dynamic client registration.
type OIDCUpstream struct{}

// OIDCAccount is one account there.
type OIDCAccount struct{}
