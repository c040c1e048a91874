// SPDX-License-Identifier: Apache-2.0

package journal

import "time"

// Compromised is the kind of trigger of a run that replaces a credential which somebody else may have.
const Compromised = "compromise"

// OnCompromise is what a policy adds for a run that replaces a compromised credential.
type OnCompromise struct {
	// BreakAfter is how long after the request was acknowledged the old credential is revoked although consumers have not shown
	// that they run on the new one; 0 waits for each of them.
	BreakAfter time.Duration `json:"breakAfter,omitempty"`
	// EndSessions has open sessions ended that began with the old credential, where the upstream can.
	EndSessions bool `json:"endSessions,omitempty"`
}

// Compromise is what a run that replaces a compromised credential knows beyond any other run.
type Compromise struct {
	// At is when the first request that the run took was acknowledged, By who reported it and Reason why.
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	// Broken are the consumers that had not shown that they run on the new version when the old credential was revoked; see Mend.
	Broken []string `json:"broken,omitempty"`
	// Refused is when the upstream was found to refuse each old credential; zero before that, and where nothing was to be revoked.
	Refused time.Time `json:"refused,omitzero"`
}

// Took is how long it took from the request to the moment in which the old credential was found refused; 0 while it is not.
func (c *Compromise) Took() time.Duration {
	if c == nil || c.Refused.IsZero() {
		return 0
	}
	return max(time.Millisecond, c.Refused.Sub(c.At))
}

// Replaces is the compromise that the live run, or else the last one, replaced a credential for; nil where it did not.
func (e *Entry) Replaces() *Compromise {
	switch {
	case e.Live != nil:
		return e.Live.Compromise
	case e.Last != nil:
		return e.Last.Compromise
	}
	return nil
}

// Mend notes that a consumer which a compromise broke runs on the version of record now, and reports whether that is news.
func (e *Entry) Mend(consumer string) bool {
	if e.Live != nil || e.Last == nil || e.Last.Compromise == nil {
		return false
	}
	changed, last := *e.Last.Compromise, *e.Last
	changed.Broken = nil
	for _, name := range e.Last.Compromise.Broken {
		if name != consumer {
			changed.Broken = append(changed.Broken, name)
		}
	}
	if len(changed.Broken) == len(e.Last.Compromise.Broken) {
		return false
	}
	last.Compromise = &changed
	e.Last = &last
	return true
}
