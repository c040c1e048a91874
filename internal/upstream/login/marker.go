// SPDX-License-Identifier: Apache-2.0

package login

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
)

// Runs are the run that changed an account last and those that it superseded, oldest first. Markers that cannot hold
// whole ids hold digests.
type Runs[ID ~string] struct {
	Run  ID   `json:"run,omitempty"`
	Past []ID `json:"past,omitempty"`
}

// Begin returns what is left once run has begun, with the last most of those before it. ok is false when one that came
// later has. A run that has begun already changes nothing.
func (r Runs[ID]) Begin(run ID, most int) (next Runs[ID], ok bool) {
	switch {
	case r.Run == run:
		return r, true
	case slices.Contains(r.Past, run):
		return r, false
	case r.Run != "":
		r.Past = append(slices.Clone(r.Past), r.Run)
		r.Past = r.Past[max(0, len(r.Past)-most):]
	}
	r.Run = run
	return r, true
}

// Stranger is the run that changed the account last where it is none of those known, "" where it is one of them or none
// has. held is a run as the marker holds it.
func (r Runs[ID]) Stranger(known []authority.RunID, held func(authority.RunID) ID) string {
	if r.Run == "" || slices.ContainsFunc(known, func(run authority.RunID) bool { return held(run) == r.Run }) {
		return ""
	}
	return string(r.Run)
}

// Whole is how a marker with room enough holds a run.
func Whole(run authority.RunID) authority.RunID { return run }

// LookingAtMarker is what is done when a marker is read and nothing changed.
const LookingAtMarker = "reading the account's marker"

const (
	// MaxPast bounds how many superseded runs a marker remembers.
	MaxPast      = 16
	markerSchema = 1
)

// Marker is a text at an account, for systems that have room for one: who may change it, and which run did last. It holds
// no secret.
type Marker struct {
	Custody int    `json:"custody"` // schema of this text
	Claim   string `json:"claim"`
	Runs[authority.RunID]
	// Changes counts them: no two markers of one account are the same.
	Changes uint64 `json:"changes,omitempty"`
}

// Claimed is the marker of an account that no run has changed.
func Claimed(claim string) Marker { return Marker{Custody: markerSchema, Claim: claim} }

// ParseMarker reads a marker. A text in any other form is somebody else's.
func ParseMarker(text string) (m Marker, own bool) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil || m.Custody != markerSchema || decoder.More() {
		return Marker{}, false
	}
	return m, true
}

// Text is the marker as it is written.
func (m Marker) Text() string {
	encoded, err := json.Marshal(m)
	if err != nil {
		panic("login: encoding strings cannot fail: " + err.Error())
	}
	return string(encoded)
}

// Change returns the marker as a change by run leaves it. ok is false when a later run has begun.
func (m Marker) Change(run authority.RunID) (next Marker, ok bool) {
	m.Runs, ok = m.Begin(run, MaxPast)
	if ok {
		m.Changes++
	}
	return m, ok
}

// Superseded is the error of a call by run after a later one has begun.
func Superseded[ID ~string](doing string, run, later ID) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded, Detail: fmt.Sprintf("run %s came after run %s", later, run),
		Next: "nothing: the later run continues",
	}
}
