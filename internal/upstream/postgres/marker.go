// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"bytes"
	"encoding/json"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
)

// maxPast bounds how many superseded runs a marker remembers.
const maxPast = 16

// marker is the comment on a role: who may change the account, and which run did last. It holds no secret; every user
// of the server can read it.
type marker struct {
	Custody int    `json:"custody"` // schema of this comment
	Claim   string `json:"claim"`
	// Run is the current run; Past are those it superseded, oldest first. Both are empty on the users of a pair.
	Run  authority.RunID   `json:"run,omitempty"`
	Past []authority.RunID `json:"past,omitempty"`
	// Sequence counts the runs.
	Sequence uint64 `json:"sequence,omitempty"`
}

const markerSchema = 1

// parseMarker reads a comment. A comment in any other form is somebody else's.
func parseMarker(comment string) (m marker, own bool) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(comment)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil || m.Custody != markerSchema || decoder.More() {
		return marker{}, false
	}
	return m, true
}

func (m marker) encode() string {
	encoded, err := json.Marshal(m)
	if err != nil {
		panic("postgres: encoding strings cannot fail: " + err.Error())
	}
	return string(encoded)
}

// supersede returns the marker once run has begun. ok is false when a later run has.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	if m.Run == run {
		return m, true
	}
	if slices.Contains(m.Past, run) {
		return m, false
	}
	next = m
	if m.Run != "" {
		next.Past = append(slices.Clone(m.Past), m.Run)
		next.Past = next.Past[max(0, len(next.Past)-maxPast):]
	}
	next.Run = run
	next.Sequence++
	return next, true
}

// checkMarkers reads the comments of the roles that carry one and returns the marker as run will leave it.
func (u *Upstream) checkMarkers(s *session, run authority.RunID, user string) (marker, error) {
	m := marker{Custody: markerSchema, Claim: u.Claim}
	for i, role := range u.marked(user) {
		rows, err := s.query("SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = $1", role)
		if err != nil {
			return m, err
		}
		if len(rows) == 0 || rows[0][0] == "" {
			continue
		}
		found, own := parseMarker(rows[0][0])
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
	next, ok := m.supersede(run)
	if !ok {
		return m, &Error{
			Doing: s.doing, Class: upstream.ErrSuperseded, Detail: "run " + string(m.Run) + " came after run " + string(run),
			Next: "nothing: the later run goes on",
		}
	}
	return next, nil
}

// writeMarkers puts m on the first role and the bare claim on the others.
func (u *Upstream) writeMarkers(s *session, m marker, user string) error {
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
		text := m.encode()
		if i > 0 {
			text = marker{Custody: markerSchema, Claim: u.Claim}.encode()
		}
		if err := s.exec("COMMENT ON ROLE " + quoteName(role) + " IS " + quoteText(text)); err != nil {
			return err
		}
	}
	return nil
}
