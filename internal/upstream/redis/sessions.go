// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"strconv"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

var _ upstream.SessionEnder = (*Upstream)(nil)

// EndSessions closes every connection of old's user but this call's own, at each node. In modes dual and overwrite clients with the new
// password sign in again.
func (u *Upstream) EndSessions(ctx context.Context, old secret.Value) (int, error) {
	const doing = "closing connections"
	name := old.ExposeText(login.Username)
	if !u.account.Manages(name) {
		return 0, &upstream.Error{Doing: doing, Detail: "the user is not named in this account's document", Next: "close its connections by hand (CLIENT KILL USER)"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	closed := 0
	for _, n := range u.nodes {
		s, err := u.open(ctx, n, change{doing: doing})
		if err != nil {
			return 0, err
		}
		r, err := s.command(doing, "give the admin +client|kill", "CLIENT", "KILL", "USER", name)
		s.conn.close()
		if err != nil {
			failure := s.fail(nil, err)
			if refused, ok := errors.AsType[*serverError](err); ok {
				failure.Next = refused.next
			}
			return 0, failure
		}
		count, err := strconv.Atoi(r.text)
		if err != nil {
			return 0, &upstream.Error{Doing: doing, Detail: "the server does not say how many it closed"}
		}
		closed += count
	}
	return closed, nil
}
