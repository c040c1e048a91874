// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"time"
)

// Fault is what happens to one outward call.
type Fault string

// The faults that any call may have. Late ones take effect just before the call's deadline, when nobody waits for them any
// more.
const (
	None          Fault = ""
	CrashBefore   Fault = "crash-before"
	CrashAfter    Fault = "crash-after"
	Failed        Fault = "error"
	LostReply     Fault = "reply-lost"
	Hang          Fault = "hang"
	LateCrash     Fault = "late-after-crash"
	LateHang      Fault = "late-after-hang"
	BriefBefore   Fault = "second-engine-5s-before"
	BriefAfter    Fault = "second-engine-5s-after"
	LongBefore    Fault = "second-engine-10m-before"
	LongAfter     Fault = "second-engine-10m-after"
	callDeadline        = 20 * time.Second
	unboundedCall       = 30 * time.Second
)

// The faults that some calls have alone: what was answered is not, or is no longer, so.
const (
	// StaleByOne: a read of the authority is answered by a standby that has not the last change yet.
	StaleByOne Fault = "one-change-behind"
	// StaleByMinute: by one that has none of the last minute's.
	StaleByMinute Fault = "a-minute-behind"
	// LostAtOnce: a change upstream is acknowledged, and the server that had it fails over to one that did not.
	LostAtOnce Fault = "acknowledged-and-lost"
	// LostSoon: the same, five seconds later, with whatever came after the change.
	LostSoon Fault = "acknowledged-and-lost-5s-later"
	// LostAndDown: acknowledged and lost, and it takes the other server ten seconds to answer.
	LostAndDown Fault = "acknowledged-and-lost-in-10s-of-silence"
	// FallsBack: a consumer that answered is restored, five seconds later, to what it had before its last delivery.
	FallsBack Fault = "restored-5s-later"
	// Stuck: the call does not return, not even when its context ends.
	Stuck Fault = "never-returns"

	soon     = 5 * time.Second
	silence  = 10 * time.Second
	staleFor = time.Minute
)

// Faults are those that any call may have, but None.
var Faults = []Fault{
	CrashBefore, CrashAfter, Failed, LostReply, Hang, LateCrash, LateHang, BriefBefore, BriefAfter, LongBefore, LongAfter,
}

// reading are the calls that change nothing outside.
var reading = map[string]bool{
	"read value": true, "read version": true, "list paths": true, "get record": true, "list records": true,
	"propose": true, "verify": true, "prove": true, "decrypt bootstrap": true, "list credentials": true, "ask for uses": true, "read marker": true,
}

// Point is an outward call at which a fault may lie.
type Point struct {
	Name string
	// Follows: the call before it was the same process's, at the same instant, and nothing went wrong with it.
	Follows bool
	// Stale are the faults by which its answer would have been another, of those that make a read stale.
	Stale []Fault
}

// Own are the faults that calls of this name have alone.
func (p Point) Own() []Fault {
	switch p.Name {
	case "apply":
		return []Fault{LostAtOnce, LostSoon, LostAndDown}
	case "revoke", "collect":
		return []Fault{LostAtOnce}
	case "deliver", "prove":
		return []Fault{FallsBack}
	}
	return p.Stale
}

// Distinct are the faults that make a difference at p, given that all of them are tried at the call before it.
//
// A call that only reads has no effect that could come late or without a reply: crashing after it is crashing before
// it, losing its reply is its failing, and landing late after a crash or a hang is that crash or hang. And when nothing
// lies between two calls, dying before the second is dying after the first. Standing still before a call is not
// standing still after the one before it: by then its deadline has begun to run.
func (p Point) Distinct() []Fault {
	faults := Faults
	if reading[p.Name] {
		faults = []Fault{CrashBefore, Failed, Hang, BriefBefore, BriefAfter, LongBefore, LongAfter}
	}
	if p.Follows {
		faults = faults[1:] // without CrashBefore, which is CrashAfter at the call before
	}
	return faults
}
