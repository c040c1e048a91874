// SPDX-License-Identifier: Apache-2.0

package journal

import "slices"

// Waiver is one thing that a run was missing, and that a person took upon themselves.
type Waiver struct {
	Kind   string `json:"kind"`           // one of those below
	Name   string `json:"name,omitempty"` // the consumer, or who uses the old credential
	Why    string `json:"why,omitempty"`  // what was missing
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// What can be waived.
const (
	WaivedConsumer = "consumer" // the proof of one consumer
	WaivedUse      = "use"      // one who still uses the old credential
	WaivedEvidence = "evidence" // the upstream cannot tell who uses it
	WaivedUndo     = "undo"     // what is left upstream of a run that is taken back
	WaivedMarker   = "marker"   // a run that the journal does not know changed the account last
	WaivedSessions = "sessions" // open sessions that began with a compromised credential
)

// Same reports whether o waives the same thing.
func (w Waiver) Same(o Waiver) bool { return w.Kind == o.Kind && w.Name == o.Name }

// Step is the step under which the waiver is on record: one for each thing that is waived.
func (w Waiver) Step() string {
	step := "waived-" + w.Kind
	if w.Name != "" {
		step += " " + w.Name
	}
	return step[:min(len(step), 1000)]
}

// String says in words what is waived.
func (w Waiver) String() string {
	because := ""
	if w.Why != "" {
		because = " (" + w.Why + ")"
	}
	switch w.Kind {
	case WaivedConsumer:
		return "the proof of consumer " + w.Name + because
	case WaivedUse:
		return "use of the old credential by " + w.Name + because
	case WaivedMarker:
		return "that run " + w.Name + " changed the account" + because
	case WaivedSessions:
		return "the end of open sessions" + because
	case WaivedEvidence:
		return "evidence of who uses the old credential" + because
	}
	return "what is left upstream" + because
}

// Waives reports whether a person waived a consumer's proof in the live run or the last one, or the policy broke the consumer after a
// compromise; a run that is taken back keeps only the latter.
func (e *Entry) Waives(consumer string) bool {
	proof := Waiver{Kind: WaivedConsumer, Name: consumer}
	waives := func(waived []Waiver, c *Compromise) bool {
		return slices.ContainsFunc(waived, proof.Same) || c != nil && slices.Contains(c.Broken, consumer)
	}
	return e.Live != nil && waives(e.Live.Waived, e.Live.Compromise) || e.Last != nil && waives(e.Last.Waived, e.Last.Compromise)
}
