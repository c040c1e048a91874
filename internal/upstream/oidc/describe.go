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
		Summary: "Registers a new client at an OpenID provider (RFC 7591), delivers its id and secret together, and then deletes the old client (RFC 7592).",
		Modes: []upstream.Mode{
			mode(Hold, "The old and the new client are both registered until the old one is deleted. If the reply to a registration is lost, a person has to look for the client that it may have created."),
			mode(Accept, "The same. If the reply to a registration is lost, Custody registers another client. The lost one, whose secret nobody knows, may stay registered; the log names it."),
			mode(Collect, "The same. If the reply to a registration is lost, Custody finds the client by the run's id in the provider's own list, and deletes it."),
		},
		Tried: "oidc-provider 9.13.3 (a certified OpenID provider), with a list of clients that was written for the tests. It was never run against a hosted provider.",
		Page:  page,
	}}
}
