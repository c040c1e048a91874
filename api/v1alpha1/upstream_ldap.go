// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LDAPUpstream is an LDAP directory.
type LDAPUpstream struct{}

// LDAPAccount is one account there.
type LDAPAccount struct{}
