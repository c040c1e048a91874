// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// DerivedOrigin computes a value from other secrets. Custody computes it again whenever one of them has a new version.
// No upstream checks it, and no policy rotates it.
type DerivedOrigin struct {
	// The secrets that it is computed from: for each, the name that templates use, and the name of the ManagedSecret.
	Inputs map[string]string `json:"inputs"`
	// The fields of the value, each a template: text in which {{ .INPUT.FIELD }} stands for a field of an input.
	// Functions escape or combine fields: userinfo and query (for URLs), base64, json, shell, systemd, libpq, pgpass,
	// htpasswd USER PASSWORD, dockerConfig REGISTRY USER PASSWORD, and sesPassword SECRET-ACCESS-KEY REGION.
	Fields map[string]string `json:"fields"`
}
