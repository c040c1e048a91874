// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"reflect"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// This file decides and has no effects: what a look does next with its secret, by what it has found out so far, and what the
// journal and the authority say of a secret between runs. act.go does what is decided here.

// action is what a look does next with its secret.
type action string

const (
	// done: the look has nothing more to do.
	done action = "done"
	// wait: nothing may be done with the secret.
	wait action = "wait"
	// admit: have the journal name the upstream and the readers that the secret is declared with.
	admit action = "admit"
	// rebuild: compute a derived value again if an input or the formula changed.
	rebuild action = "rebuild"
	// handOver: copy the first value from Git to the authority.
	handOver action = "hand over"
	// readEntry: read the journal entry, and find the open requests that ended runs have served.
	readEntry action = "read the entry"
	// closeServed: close those requests.
	closeServed action = "close served requests"
	// declareExpiry: note the end of life that the estate declares.
	declareExpiry action = "declare expiry"
	// enforce: bring the enforced policy up to the declared one.
	enforce action = "enforce the policy"
	// begin: plan a run if one is due and may begin.
	begin action = "begin"
	// compromise: have the live run serve a report of a compromise, or give way to one that does.
	compromise action = "compromise"
	// advance: take the live run, if there is one, as far as it goes now.
	advance action = "advance"
	// weigh: find out what else bears on the end of a secret that the estate no longer declares.
	weigh action = "weigh its end"
	// depart: do what departureOf says.
	depart action = "depart"
	// reconcile: have every consumer hold the version of record.
	reconcile action = "reconcile"
)

// evidence is what a look knows of its secret. Each action adds to it what it found out or did, so none is decided twice for the same
// reason.
type evidence struct {
	secret Secret
	// held says why nothing may be done with the secret, none when it may.
	held reason.Reason
	// admitted: the journal names the upstream and the readers that the secret is declared with.
	admitted bool
	// handedOver: the first value has left Git; it never goes back.
	handedOver bool
	// rebuilt: this look has compared a derived value with its inputs. blocked says why it could not be computed, and valued whether
	// consumers can have an earlier one.
	rebuilt bool
	blocked reason.Reason
	valued  bool
	// entry is that of the journal, nil before it was read; served are the open requests that ended runs have served.
	entry  *journal.Entry
	served []served
	// compromised: an open request reports a compromise. superseded: this look has told the live run.
	compromised, superseded bool
	// begun: this look has planned a run, or noted why none begins.
	begun bool
	// outlook is what the live run came to in this look, nil before it was asked.
	outlook *rotation.Outlook
	// reconciled: this look has looked after the consumers.
	reconciled bool
	// weighed is what bears on the end of the secret, nil before it was asked; departed: this look has done what follows from it.
	weighed  *weighed
	departed bool
	// ended: nothing else is done with the secret in this look.
	ended bool
}

// served is a request that an ended run has served.
type served struct {
	request string
	run     authority.RunID
}

// decide is what a look does next. The first row that applies counts.
func decide(e evidence) action {
	switch {
	case !e.held.None():
		return wait
	case !e.admitted:
		return admit

	case e.entry == nil && e.secret.Leaving:
		return readEntry
	case e.entry != nil && e.weighed == nil && (e.secret.Leaving || e.entry.Leaving != nil || e.entry.Retires()):
		return weigh
	case e.weighed != nil && !e.departed:
		return depart
	case e.ended:
		return done

	case e.secret.Derived != nil && !e.secret.Suspended && !e.rebuilt:
		return rebuild
	case e.secret.Derived != nil && !e.blocked.None() && !e.valued:
		return done
	case e.secret.Derived != nil && !e.reconciled:
		return reconcile
	case e.secret.Derived != nil:
		return done

	case e.secret.Handover != nil && !e.handedOver:
		return handOver
	case e.entry == nil:
		return readEntry
	case len(e.served) > 0:
		return closeServed

	// Nothing of what follows changes a secret whose run is live.
	case e.entry.Live == nil && !e.begun && expires(e.entry, e.secret.ExpiresAt):
		return declareExpiry
	case e.entry.Live == nil && !e.begun && unenforced(e.entry, e.secret):
		return enforce
	case e.entry.Live == nil && !e.begun:
		return begin

	case e.compromised && !e.superseded && !e.begun && !e.secret.Suspended && !e.secret.Elsewhere:
		return compromise
	case e.outlook == nil:
		return advance
	case e.outlook.Run != "": // its run goes on, or ended just now: consumers are the run's
		return done
	case !e.reconciled:
		return reconcile
	}
	return done
}

// expires reports whether it is news to the entry that the estate declares this end of life, zero for none.
func expires(entry *journal.Entry, at time.Time) bool {
	changed := *entry
	return entry.Current != nil && changed.Declare(at)
}

// unenforced reports whether the enforced policy is not the declared one, or the record of it is owed.
func unenforced(entry *journal.Entry, s Secret) bool {
	return entry.Current != nil && (entry.Enforcing != "" || entry.Secret != s.Subject.Secret ||
		entry.Policy == nil || !reflect.DeepEqual(*entry.Policy, s.Policy))
}

// standing is what the journal and the authority say of a secret that no look advances.
type standing string

const (
	// matching: the value is the version of record. Consumers are to hold it.
	matching standing = "matching"
	// running: a run is live, and another engine advances it.
	running standing = "running"
	// stranded: a run is live that nothing in the estate takes to its end.
	stranded standing = "stranded"
	// unissued: there is no value yet.
	unissued standing = "unissued"
	// vanished: the value on record is not there.
	vanished standing = "vanished"
	// foreign: the value that is there is not the one on record.
	foreign standing = "foreign"
	// retiring: its retirement is live. Nobody is given the value any more.
	retiring standing = "retiring"
	// recovering: since an older state was restored, something newer than the value may be in use.
	recovering standing = "recovering"
)

// standingOf tells how a secret stands by its entry and the version of the value at its path, nil for none.
func standingOf(s Secret, entry *journal.Entry, held *authority.VersionID) standing {
	recovers := entry.RecoveryNow() != nil
	switch {
	case entry.Retires():
		return retiring
	case entry.Live != nil && !finishes(s, entry.Live):
		return stranded
	case entry.Live != nil && !recovers:
		return running
	case entry.Live == nil && held != nil && (entry.Current == nil || *entry.Current != *held):
		return foreign
	case recovers:
		return recovering
	case held == nil && entry.Current != nil:
		return vanished
	case held == nil:
		return unissued
	}
	return matching
}

// finishes reports whether the secret, as it is declared, has what takes its live run to the end.
func finishes(s Secret, live *journal.Run) bool {
	switch live.Workflow {
	case journal.Handover:
		return s.Handover != nil
	case journal.Derivation:
		return s.Derived != nil
	}
	return true
}
