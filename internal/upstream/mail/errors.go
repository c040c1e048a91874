// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/internal/upstream"
)

func notApplied(doing, detail, next string) *upstream.Error {
	return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// broke is what is said of a failure on this side that must not be quoted.
const broke = "the connection broke, or the server and this client could not agree on TLS or on how to sign in"

// explain describes a failure that is no server's answer.
func explain(ctx context.Context, err error) (detail string, cause error) {
	return upstream.Told(errors.Join(ctx.Err(), err), broke)
}

func foreign(doing, name, claim string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded, Detail: fmt.Sprintf("the marker of %q is %s", name, claim),
		Next: "if nobody else rotates it, clear that marker",
	}
}
