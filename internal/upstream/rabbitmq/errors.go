// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"errors"
	"fmt"

	"custody.dev/custody/internal/upstream"
)

const (
	nextAdmin     = "give the admin the tag administrator: rabbitmqctl set_user_tags ADMIN administrator"
	nextReachable = "see that the broker runs with the management plugin, and that hosts, ports and TLS in the Upstream document are right"
)

// said is the broker's answer, an HTTP status or a reply code of AMQP. The words that came with it may quote what was sent
// and are dropped.
func said(code int) string { return fmt.Sprintf("the broker answers %d", code) }

// broken is what is told of an error that is neither the network's nor about certificates.
func broken(err error) string {
	for _, known := range []error{errProtocol, errTooLarge, errForm} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the connection broke, or broker and client could not agree on TLS or on a protocol"
}

func foreign(doing, user, claim string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded, Detail: fmt.Sprintf("user %q carries the claim of %s", user, claim),
		Next: "if nobody else rotates it, take the tags that begin with " + tagPrefix + " off the user",
	}
}
