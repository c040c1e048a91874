// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// DerivedOrigin computes a value from other secrets. It is rebuilt whenever one of them has a new version; nothing
// outside checks it, and no policy rotates it.
type DerivedOrigin struct {
	// The secrets it is computed from: the name that templates give to each, and the ManagedSecret's name.
	Inputs map[string]string `json:"inputs"`
	// The fields of the value, each a template: text, and {{ }} with .INPUT.FIELD and functions: userinfo and query
	// (escaped for URLs), base64, json, shell, systemd, libpq and pgpass (escaped for these), htpasswd USER PASSWORD, dockerConfig REGISTRY USER PASSWORD, and
	// sesPassword SECRET-ACCESS-KEY REGION.
	Fields map[string]string `json:"fields"`
}
