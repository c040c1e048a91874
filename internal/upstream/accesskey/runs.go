// SPDX-License-Identifier: Apache-2.0

package accesskey

import (
	"crypto/sha256"
	"encoding/hex"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream/login"
)

// maxPast bounds how many superseded runs a marker remembers.
const maxPast = 16

// Runs are what a marker with little room knows: the run that changed something last, and digests of those that it
// superseded, oldest first.
type Runs struct {
	Run  authority.RunID
	Past []string
}

// Begin returns what is left once run has begun. ok is false when one that came later has. A run that has begun already
// changes nothing.
func (r Runs) Begin(run authority.RunID) (next Runs, ok bool) {
	if r.Run == run {
		return r, true
	}
	digests := login.Runs[string]{Past: r.Past}
	if r.Run != "" {
		digests.Run = Digest(r.Run)
	}
	digests, ok = digests.Begin(Digest(run), maxPast)
	if !ok {
		return r, false
	}
	return Runs{run, digests.Past}, true
}

// Stranger is the run that changed something last where it is none of those known, "" where it is one of them or none has.
func (r Runs) Stranger(known []authority.RunID) string {
	return login.Runs[authority.RunID]{Run: r.Run}.Stranger(known, login.Whole)
}

// Digest is a run's id where there is no room for it.
func Digest(run authority.RunID) string {
	sum := sha256.Sum256([]byte(run))
	return hex.EncodeToString(sum[:4])
}
