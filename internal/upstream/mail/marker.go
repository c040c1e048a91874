// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"regexp"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
)

// maxPast bounds how many superseded runs a marker remembers.
const maxPast = 16

// marker says who may change a login's password, and which run did last. It holds no secret. It is written as one word
// without colons, as a passwd-file wants it: 1;CLAIM;RUN;PAST,PAST
type marker struct {
	claim string
	run   authority.RunID
	past  []authority.RunID // oldest first
}

const markerSchema = "1"

// wordForm is what a claim and a run's id are made of: nothing that Dovecot, which expands variables in extra fields, or
// the marker itself reads as more than text.
var wordForm = regexp.MustCompile(`^[A-Za-z0-9._/@+-]+$`)

// parseMarker reads a marker. Anything in another form is somebody else's.
func parseMarker(text string) (m marker, own bool) {
	parts := strings.Split(text, ";")
	if len(parts) != 4 || parts[0] != markerSchema || !wordForm.MatchString(parts[1]) || !wordForm.MatchString(parts[2]) {
		return marker{}, false
	}
	m = marker{claim: parts[1], run: authority.RunID(parts[2])}
	if parts[3] == "" {
		return m, true
	}
	for _, past := range strings.Split(parts[3], ",") {
		if !wordForm.MatchString(past) {
			return marker{}, false
		}
		m.past = append(m.past, authority.RunID(past))
	}
	return m, true
}

func (m marker) encode() string {
	past := make([]string, len(m.past))
	for i, run := range m.past {
		past[i] = string(run)
	}
	return strings.Join([]string{markerSchema, m.claim, string(m.run), strings.Join(past, ",")}, ";")
}

// supersede returns the marker once run has begun. ok is false when a later run has.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	if m.run == run {
		return m, true
	}
	if slices.Contains(m.past, run) {
		return m, false
	}
	next = m
	if m.run != "" {
		next.past = append(slices.Clone(m.past), m.run)
		next.past = next.past[max(0, len(next.past)-maxPast):]
	}
	next.run = run
	return next, true
}
