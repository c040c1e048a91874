// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"encoding/hex"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

var _ upstream.Marked = (*Upstream)(nil)

// Stranger reads the markers of the account's users at every node. It names a run by its digest, which is all they hold.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	for _, n := range u.nodes {
		s, err := u.open(ctx, n, change{doing: login.LookingAtMarker})
		if err != nil {
			return "", err
		}
		stranger, err := s.stranger(known)
		s.conn.close()
		if err != nil || stranger != "" {
			return stranger, err
		}
	}
	return "", nil
}

func (s *session) stranger(known []authority.RunID) (string, error) {
	users, err := s.look()
	if err != nil {
		return "", err
	}
	for _, name := range s.users() {
		subject := users[name]
		if err := s.claimed(subject); err != nil {
			return "", err
		}
		if run := subject.marker.Stranger(known, runDigest); run != "" {
			return hex.EncodeToString([]byte(run)), nil
		}
	}
	return "", nil
}
