// SPDX-License-Identifier: Apache-2.0

package reason

import "custody.dev/custody/internal/next"

// Reasons of secrets that the estate no longer declares, and of their retirement.
const (
	LeavingConfirm      Code = "leaving-confirm"
	LeavingMany         Code = "leaving-many"
	LeavingLater        Code = "leaving-later"
	LeavingNeeded       Code = "leaving-needed"
	LeavingGroup        Code = "leaving-group"
	LeavingRunEnds      Code = "leaving-run-ends"
	StillDeclared       Code = "still-declared"
	RetireRuns          Code = "retire-runs"
	RetireNotWithdrawn  Code = "retire-not-withdrawn"
	RetireGrace         Code = "retire-grace"
	RetireQuiet         Code = "retire-quiet"
	RetireInUse         Code = "retire-in-use"
	RetireUsesUnknown   Code = "retire-uses-unknown"
	RetireNotRevoked    Code = "retire-not-revoked"
	RetireSettling      Code = "retire-settling"
	RetireStillAccepted Code = "retire-still-accepted"
	RetireUndecided     Code = "retire-undecided"
	RetireValueGone     Code = "retire-value-gone"
	RetireSessions      Code = "retire-sessions"
	RetireForeign       Code = "retire-foreign"
)

const inForce = "its document was removed; Custody keeps rotating and delivering the secret as it was last declared"

var (
	toRetire   = Next{"to end it", next.Retire("{retire}")}
	toRetireIt = Next{"if the upstream will never revoke it, to end the secret anyway and leave the credential valid", next.RetireWithout("{without}")}
	toRetireBy = Next{"to retire it anyway and leave the sessions open", next.RetireUsed("{although}")}
	toDestroy  = Next{"to destroy that version as well", next.Retire("{destroy}")}
	toRetireUp = Next{"to revoke it anyway", next.RetireUsed("{although}")}
)

var ofLeaving = []Row{
	{LeavingConfirm, Person, "no longer declared in the estate since {since}; Custody keeps rotating and delivering it. To keep it, declare it again", []Next{toRetire},
		inForce, "declare it again, or retire it: [End a secret](#end-a-secret)"},
	{LeavingMany, Person, "no longer declared in the estate since {since}. {count} secrets were removed at once, so no policy retires them automatically. To keep it, declare it again", []Next{toRetire},
		"more than 3 documents were removed at once. That may be a mistake, such as a moved folder", "declare them again, or retire each: [End a secret](#end-a-secret)"},
	{LeavingLater, Normal, "no longer declared in the estate since {since}; its policy retires it automatically", nil,
		inForce, "at that time, unless it is declared again; sooner with `custody retire`"},
	{LeavingNeeded, Person, "it cannot be retired yet: {needer} still uses it", nil,
		"a derived secret is computed from it, or it is the admin credential of an upstream", "retire that secret first"},
	{LeavingGroup, Normal, "it will be retired when the run of {member}, in its group {group}, has ended", nil,
		"the members of a group go forward together", "with the run of the group"},
	{LeavingRunEnds, Normal, "it will be retired when run {run} has ended", nil,
		"a run that has not reached `verified` is rolled back; any other run is completed first", "with that run: `custody run show` says what it waits for"},
	{StillDeclared, Person, "it is still declared in the estate; only a secret whose document was removed can be retired", nil,
		"somebody ran `custody retire` for a secret that is still declared", "remove its document first"},
	{RetireRuns, Normal, "run {run} is retiring it, so it is not delivered any more", nil,
		"somebody asked for a delivery of a secret that is being retired", "with that run"},
	{RetireNotWithdrawn, Fault, "retiring it: the file of a consumer could not be removed; the credential is not revoked before that", []Next{toRetireUp},
		"the cause names the consumer. Usually the file was changed after delivery, or a process holds it open", fix + ". If somebody changed the file, check it and remove it by hand. Or run the command that is shown: it leaves the file in place"},
	{RetireSessions, Fault, "retiring it after a reported compromise: the credential is revoked, but ending its open sessions failed", []Next{toRetireBy},
		"the policy's `onCompromise` requires that they end", fix + ", usually a missing permission of the admin account; or run the command that is shown"},
	{RetireForeign, Person, "retiring it: its credential is revoked, but somebody else has written version {found} to its path. Custody does not know the credential in that version and cannot revoke it", []Next{toDestroy},
		"no run of Custody wrote that version", "find out who wrote it, revoke the credential in it by hand, then run the command that is shown"},
	{RetireGrace, Normal, "its consumers no longer have it; the credential is revoked after the grace period of its policy", nil,
		"until then you can declare it again, and consumers get the same value back", "then"},
	{RetireQuiet, Normal, "its consumers no longer have it; the credential is revoked once it was unused for the quiet window", nil,
		"the upstream reports who uses a credential", "at that time, if nobody uses it"},
	{RetireInUse, Person, "its consumers no longer have it, but {who} still uses it; it is not revoked while somebody uses it", []Next{toRetireUp},
		"a process still has the old value in memory, or an undeclared consumer uses it", "stop that process or consumer, or run the command that is shown"},
	{RetireUsesUnknown, Fault, "retiring it: the upstream does not answer who still uses the credential", []Next{toRetireUp},
		"it can tell, and does not now", fix + ", or run the command that is shown"},
	{RetireNotRevoked, Fault, "retiring it: the upstream did not revoke its credential", []Next{toRetireIt},
		"it is tried again; until then the credential works", fix + "; if the server is gone for good, run the command that is shown"},
	{RetireSettling, Normal, "its credential was revoked; waiting until the upstream has applied that everywhere before checking that it is refused", nil, "the upstream takes time to apply a change everywhere", "at that time"},
	{RetireStillAccepted, Fault, "its credential was revoked, but the upstream still accepts it; revoking it again", []Next{toRetireIt},
		"the upstream acknowledged the revocation, but sign-ins still succeed", await},
	{RetireUndecided, Fault, "its credential was revoked, but a test sign-in gave no clear answer whether it is refused", []Next{toRetireIt},
		"signing in with it decides nothing", await},
	{RetireValueGone, Person, "retiring it: its value is gone from the authority, so Custody cannot revoke its credential", []Next{{"to end the secret anyway, once you have revoked its credential by hand", next.RetireWithout("{without}")}},
		"the authority lost the current value", "revoke it by hand, then run the command that is shown"},
}
