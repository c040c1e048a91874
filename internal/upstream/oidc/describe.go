// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	_ "embed" // for the page
	"time"

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe says what people are told of this kind.
func describe() []upstream.Description {
	mode := func(orphans Orphans, means string) upstream.Mode {
		u := &Upstream{Config: Config{Orphans: orphans, CallDeadline: defaultCallDeadline, Settle: 5 * time.Second}}
		return upstream.Mode{Name: string(orphans), Kind: u.Kind(), Means: means}
	}
	return []upstream.Description{{
		Type:    "oidc",
		Title:   "OpenID Connect clients",
		Summary: "Registers a new client at an OpenID provider (RFC 7591), delivers its id and secret together, and deletes the old client (RFC 7592).",
		Modes: []upstream.Mode{
			mode(Hold, "The old and the new client are both registered until the old one is deleted. When the reply to a registration is lost, a person looks for the client that it may have left."),
			mode(Accept, "The same. When the reply to a registration is lost, another client is registered; the lost one, whose secret nobody knows, may stay, and the log names it."),
			mode(Collect, "The same. When the reply to a registration is lost, the client is found in the provider's own list by its run's id, and deleted."),
		},
		Tried: "oidc-provider 9.13.3 (a certified OpenID provider) with a list of clients of our own beside it. No hosted provider was tried.",
		Page:  page,
	}}
}
