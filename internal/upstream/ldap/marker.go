// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
)

const (
	// maxPast bounds how many superseded runs a marker remembers.
	maxPast      = 16
	markerSchema = 1
	// markerStart is how a marker is told from the other values of its attribute.
	markerStart = `{"custody":`
)

// marker is one value of an attribute of an entry: who may change its passwords, and which run did last. It holds no
// secret; whoever may read the entry can read it.
type marker struct {
	Custody int    `json:"custody"` // schema of this value
	Claim   string `json:"claim"`
	// Run is the current run; Past are those it superseded, oldest first.
	Run  authority.RunID   `json:"run,omitempty"`
	Past []authority.RunID `json:"past,omitempty"`
	// Change counts the changes. Each one asserts the marker that it read, so none can land after another did.
	Change uint64 `json:"change,omitempty"`
}

// findMarker returns the marker among values, "" when there is none. own is false when it is not one that this version
// wrote.
func findMarker(values []string) (text string, m marker, own bool) {
	for _, value := range values {
		if !strings.HasPrefix(value, markerStart) {
			continue
		}
		if text != "" {
			return text, marker{}, false // two of them
		}
		text = value
	}
	if text == "" {
		return "", marker{}, true
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil || m.Custody != markerSchema || decoder.More() {
		return text, marker{}, false
	}
	return text, m, true
}

func (m marker) encode() string {
	encoded, err := json.Marshal(m)
	if err != nil {
		panic("ldap: encoding strings cannot fail: " + err.Error())
	}
	return string(encoded)
}

// supersede returns the marker as a change by run leaves it. ok is false when a later run has begun.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	next = m
	next.Change++
	if m.Run == run {
		return next, true
	}
	if slices.Contains(m.Past, run) {
		return m, false
	}
	if m.Run != "" {
		next.Past = append(slices.Clone(m.Past), m.Run)
		next.Past = next.Past[max(0, len(next.Past)-maxPast):]
	}
	next.Run = run
	return next, true
}
