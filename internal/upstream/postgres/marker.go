// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream/login"
)

// checkMarkers reads the comments of the roles that carry one and returns the marker as run will leave it.
func (u *Upstream) checkMarkers(s *session, run authority.RunID, user string) (login.Marker, error) {
	m, err := u.readMarkers(s, u.marked(user))
	if err != nil {
		return m, err
	}
	next, ok := m.Change(run)
	if !ok {
		return m, login.Superseded(s.doing, run, m.Run)
	}
	return next, nil
}

// Stranger reads the comment that holds the run.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	conn, err := u.admin(ctx, login.LookingAtMarker)
	if err != nil {
		return "", err
	}
	defer hangUp(conn)
	m, err := u.readMarkers(&session{ctx: ctx, conn: conn, doing: login.LookingAtMarker}, u.marked(u.User)[:1])
	return m.Stranger(known, login.Whole), err
}

// readMarkers reads the comments of roles, of which the first has the marker and the others the bare claim.
func (u *Upstream) readMarkers(s *session, roles []string) (login.Marker, error) {
	m := login.Claimed(u.Claim)
	for i, role := range roles {
		rows, err := s.query("SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = $1", role)
		if err != nil {
			return m, err
		}
		if len(rows) == 0 || rows[0][0] == "" {
			continue
		}
		found, own := login.ParseMarker(rows[0][0])
		if !own {
			return m, foreign(s.doing, role, "not Custody's")
		}
		if found.Claim != u.Claim {
			return m, foreign(s.doing, role, "the claim of "+found.Claim)
		}
		if i == 0 {
			m = found
		}
		s.claimed = s.claimed || i > 0
	}
	return m, nil
}

// writeMarkers puts m on the first role and the bare claim on the others.
func (u *Upstream) writeMarkers(s *session, m login.Marker, user string) error {
	if s.unmarked {
		return nil
	}
	for i, role := range u.marked(user) {
		// What a call that had no effect would have made need not exist when it is revoked.
		if _, found, err := s.role(role); err != nil {
			return err
		} else if !found {
			continue
		}
		text := m.Text()
		if i > 0 {
			text = login.Claimed(u.Claim).Text()
		}
		if err := s.exec("COMMENT ON ROLE " + quoteName(role) + " IS " + quoteText(text)); err != nil {
			return err
		}
	}
	return nil
}
