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
			{Name: string(upstream.Alternate), Kind: pair.Kind(), Means: "Two users with the permissions of one template take turns: the other one gets a new password, and the old one loses its password when nobody needs it any more."},
			{Name: string(upstream.Overwrite), Kind: one.Kind(), Means: "There is one user. The new password replaces the old one; sign-ins are refused until the new one is delivered."},
		},
		Tried: "RabbitMQ 3.10, one node, with and without TLS, and with its authentication cache. Never run against a cluster, or against 3.11 or later.",
		Page:  page,
	}}
}
