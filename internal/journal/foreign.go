// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"time"

	"custody.dev/custody/internal/authority"
)

// Foreign reports whether held, which stands at the secret's path, is neither the version of record nor the live run's.
func (e *Entry) Foreign(held authority.VersionID) bool {
	return (e.Current == nil || *e.Current != held) && (e.Live == nil || e.Live.ID != held.Run)
}

// The choices of a Decision: take the value over, or put the managed one back.
const (
	Adopt  = "adopt"
	Revert = "revert"
)

// Decision says what becomes of a version that no run wrote.
type Decision struct {
	Version authority.VersionID `json:"version"`
	// Choice is adopt or revert; see Adopt.
	Choice string `json:"choice"`
	// Run carries it out. It is on record before the run goes on.
	Run    authority.RunID `json:"run"`
	By     string          `json:"by"`
	Reason string          `json:"reason"`
	At     time.Time       `json:"at"`
}

// Adopted is the decision by which the version of record was taken over from somebody else, nil where a run of Custody made it.
func (e *Entry) Adopted() *Decision {
	if e.Decided == nil || e.Decided.Choice != Adopt || e.Current == nil || e.Current.Run != e.Decided.Run {
		return nil
	}
	return e.Decided
}
