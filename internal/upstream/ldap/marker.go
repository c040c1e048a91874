// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"context"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/go-ldap/ldap/v3"
)

var _ upstream.Marked = (*Upstream)(nil)

// markerStart is how a marker is told from the other values of its attribute.
const markerStart = `{"custody":`

// marker is the one of an entry that was read, with its text; a bare claim where it has none.
func (u *Upstream) marker(doing, dn string, found *ldap.Entry) (text string, m login.Marker, err error) {
	text, m, own := findMarker(found.GetEqualFoldAttributeValues(u.MarkerAttribute))
	switch {
	case !own:
		return text, m, foreign(doing, dn, u.MarkerAttribute, "not this version's")
	case text == "":
		return text, login.Claimed(u.Claim), nil
	case m.Claim != u.Claim:
		return text, m, foreign(doing, dn, u.MarkerAttribute, "the claim of "+m.Claim)
	}
	return text, m, nil
}

// Stranger reads the markers of the account's entries.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	s, err := u.admin(ctx, login.LookingAtMarker)
	if err != nil {
		return "", err
	}
	defer s.hangUp()
	for _, dn := range u.names() {
		found, err := s.read(login.LookingAtMarker, dn, u.MarkerAttribute)
		if err != nil {
			return "", err
		}
		if found == nil {
			continue // a change says what is missing
		}
		_, m, err := u.marker(login.LookingAtMarker, dn, found)
		if err != nil {
			return "", err
		}
		if stranger := m.Stranger(known, login.Whole); stranger != "" {
			return stranger, nil
		}
	}
	return "", nil
}

// findMarker returns the marker among values, "" when there is none. own is false when it is not one that this version
// wrote. Whoever may read the entry can read it. Each change asserts the marker that it read, and no two are the same: so
// none can land after another did.
func findMarker(values []string) (text string, m login.Marker, own bool) {
	for _, value := range values {
		if !strings.HasPrefix(value, markerStart) {
			continue
		}
		if text != "" {
			return text, login.Marker{}, false // two of them
		}
		text = value
	}
	if text == "" {
		return "", login.Marker{}, true
	}
	m, own = login.ParseMarker(text)
	return text, m, own
}
