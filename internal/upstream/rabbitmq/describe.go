// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	_ "embed" // the page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// describe tells people what this kind can do.
func describe() []upstream.Description {
	pair := Pair{&Upstream{Config: Config{Mode: upstream.Alternate, CallDeadline: defaultCallDeadline}}}
	one := &Upstream{Config: Config{Mode: upstream.Overwrite, CallDeadline: defaultCallDeadline}}
	return []upstream.Description{{
		Type: "rabbitmq", Title: "RabbitMQ",
		Summary: "Rotates the passwords of users of a RabbitMQ broker, 3.10 or later, over its management interface.",
		Modes: []upstream.Mode{
			{Name: string(upstream.Alternate), Kind: pair.Kind(), Means: "Two users with the rights of one template take turns: the other gets a new password, the old one loses its own once nobody needs it."},
			{Name: string(upstream.Overwrite), Kind: one.Kind(), Means: "One user: the new password replaces the old one, so sign-ins are refused between applying and delivery."},
		},
		Tried: "Run against RabbitMQ 3.10, one node, with and without TLS, and with its authentication cache. Not run against a cluster, nor against 3.11 or later.",
		Page:  page,
	}}
}
