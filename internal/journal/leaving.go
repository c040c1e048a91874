// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"time"

	"custody.dev/custody/internal/authority"
)

// Retirement ends a secret that the estate no longer declares: its consumers lose it, its upstream refuses it, its values are
// destroyed.
const Retirement Workflow = "retirement"

// The steps of a retirement are Planned, these two, and Completed; or Undone, where the secret was declared again before its
// upstream was asked to refuse it.
const (
	// Withdrawn: no consumer has a value of the secret any more.
	Withdrawn Step = "withdrawn"
	// Ended: the upstream refuses every value that the authority still holds, or a person said that it is left as it is.
	Ended Step = "ended"
)

// Leaving says that the estate no longer declares the secret. It stays in force as it was declared last until it is retired.
type Leaving struct {
	// Since is when that was first seen.
	Since time.Time `json:"since"`
	// Owed names the record of that, while it may not be in yet.
	Owed authority.RunID `json:"owed,omitempty"`
	// Asked is who wants it retired, nil while nobody does.
	Asked *Asked `json:"asked,omitempty"`
}

// Asked is a person's request to retire a secret. A later one takes the place of an earlier one.
type Asked struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// WithoutRevoking: the upstream is not asked to refuse the credential.
	WithoutRevoking bool `json:"withoutRevoking,omitempty"`
	// AlthoughUsed: the credential is revoked though somebody still uses it, the upstream cannot tell, or a consumer still has it.
	AlthoughUsed bool `json:"althoughUsed,omitempty"`
	// Over is the newest version that somebody else had written to the path of a secret that is being retired, as the person asked:
	// up to that, such versions are destroyed with the secret's own.
	Over authority.Version `json:"over,omitempty"`
}

// Wish is what was asked, nothing where nobody asked: a policy retires a secret by itself.
func (l *Leaving) Wish() Asked {
	if l == nil || l.Asked == nil {
		return Asked{}
	}
	return *l.Asked
}

// Gone says that the secret was retired. It stays when the secret is declared again, and then begins anew.
type Gone struct {
	Run authority.RunID `json:"run"`
	At  time.Time       `json:"at"`
	// Number is the newest version that was destroyed: the next one follows it.
	Number authority.Version `json:"number,omitempty"`
	// Left: the upstream may still accept the credential.
	Left bool `json:"left,omitempty"`
}

// Retired reports whether the secret was retired and has had no value since.
func (e *Entry) Retired() bool {
	return e.Fault == nil && e.Gone != nil && e.Current == nil && e.Live == nil
}

// Effects reports whether something of the secret may be in force outside of Git: a value, or a run that may make one.
func (e *Entry) Effects() bool { return e.Fault != nil || e.Current != nil || e.Live != nil }

// Retires reports whether the live run is a retirement.
func (e *Entry) Retires() bool { return e.Live != nil && e.Live.Workflow == Retirement }

// Revocable reports whether a retirement can still be taken back: the upstream was not asked to refuse anything yet.
func (r *Run) Revocable() bool { return r.Step == Planned || r.Step == Withdrawn && !r.Revoking }
