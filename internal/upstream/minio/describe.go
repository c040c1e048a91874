// SPDX-License-Identifier: Apache-2.0

package minio

import (
	_ "embed" // the page
	"time"

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// describe tells people what this kind can do.
func describe() []upstream.Description {
	u := &Upstream{Config: Config{CallDeadline: defaultCallDeadline, Settle: 10 * time.Second}}
	return []upstream.Description{{
		Type: "minio", Title: "MinIO access keys",
		Summary: "Rotates S3 access keys (service accounts) of the users of a MinIO server.",
		Modes: []upstream.Mode{{
			Kind:  u.Kind(),
			Means: "A user can have any number of access keys. Custody adds the new one, and deletes the old one when nobody needs it any more.",
		}},
		Tried: "MinIO of February 2026, one node with one drive, over TLS. Never run against several nodes or sites, " +
			"users of LDAP or OpenID, or the commercial edition.",
		Page: page,
	}}
}
