// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// marker says who may change a login's password, and which run did last. It holds no secret. It is written as one word
// without colons, as a passwd-file wants it: 1;CLAIM;RUN;PAST,PAST
type marker struct {
	claim string
	login.Runs[authority.RunID]
}

const markerSchema = "1"

// wordForm is what a claim and a run's id are made of: nothing that Dovecot, which expands variables in extra fields, or
// the marker itself reads as more than text.
var wordForm = lazyregexp.New(`^[A-Za-z0-9._/@+-]+$`)

// parseMarker reads a marker. Anything in another form is somebody else's.
func parseMarker(text string) (m marker, own bool) {
	parts := strings.Split(text, ";")
	if len(parts) != 4 || parts[0] != markerSchema || !wordForm.MatchString(parts[1]) || !wordForm.MatchString(parts[2]) {
		return marker{}, false
	}
	m = marker{claim: parts[1], Runs: login.Runs[authority.RunID]{Run: authority.RunID(parts[2])}}
	if parts[3] == "" {
		return m, true
	}
	for _, past := range strings.Split(parts[3], ",") {
		if !wordForm.MatchString(past) {
			return marker{}, false
		}
		m.Past = append(m.Past, authority.RunID(past))
	}
	return m, true
}

func (m marker) encode() string {
	past := make([]string, len(m.Past))
	for i, run := range m.Past {
		past[i] = string(run)
	}
	return strings.Join([]string{markerSchema, m.claim, string(m.Run), strings.Join(past, ",")}, ";")
}

// marked is the marker of a row, which carries no other claim; the bare claim where it has none.
func (u *Upstream) marked(doing string, r *row) (marker, error) {
	if r.marker == "" {
		return marker{claim: u.Claim}, nil
	}
	m, own := parseMarker(r.marker)
	switch {
	case !own:
		return m, foreign(doing, r.login, "not this version's")
	case m.claim != u.Claim:
		return m, foreign(doing, r.login, "the claim of "+m.claim)
	}
	return m, nil
}

var _ upstream.Marked = (*Upstream)(nil)

// Stranger reads the markers of the account's rows, or has the directory read its own.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	if u.Directory != nil {
		directory, able := u.Directory.(upstream.Marked)
		if !able {
			return "", nil
		}
		return directory.Stranger(ctx, known)
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return "", &upstream.Error{Doing: login.LookingAtMarker, Cause: err}
	}
	rows, err := u.store.read(ctx, login.LookingAtMarker, u.places())
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		m, err := u.marked(login.LookingAtMarker, r)
		if err != nil {
			return "", err
		}
		if stranger := m.Stranger(known, login.Whole); stranger != "" {
			return stranger, nil
		}
	}
	return "", nil
}

// begin returns the marker once run has begun. ok is false when a later run has.
func (m marker) begin(run authority.RunID) (next marker, ok bool) {
	m.Runs, ok = m.Begin(run, login.MaxPast)
	return m, ok
}
