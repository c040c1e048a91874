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

const inForce = "its document was removed; the secret stays in force as it was declared last, and is rotated and delivered as before"

var (
	toRetire   = Next{"to end it", next.Retire("{retire}")}
	toRetireIt = Next{"if it will never be revoked there, to end the secret all the same and leave the credential as it is", next.RetireWithout("{without}")}
	toRetireBy = Next{"to leave open sessions as they are, and retire it all the same", next.RetireUsed("{although}")}
	toDestroy  = Next{"to have that version destroyed as well", next.Retire("{destroy}")}
	toRetireUp = Next{"to revoke it all the same", next.RetireUsed("{although}")}
)

var ofLeaving = []Row{
	{LeavingConfirm, Person, "the estate has not declared it since {since}; it stays in force until somebody ends it. To keep it, declare it again", []Next{toRetire},
		inForce, "declare it again, or retire it: [End a secret](#end-a-secret)"},
	{LeavingMany, Person, "the estate has not declared it since {since}, as {count} secrets at once; so many are not retired by their policies alone. To keep it, declare it again", []Next{toRetire},
		"more than 3 secrets left the estate at once, which may be a mistake, such as a folder that was moved", "declare them again, or retire each: [End a secret](#end-a-secret)"},
	{LeavingLater, Normal, "the estate has not declared it since {since}, and its policy has it retired by itself", nil,
		inForce, "then, unless it is declared again; sooner with `custody retire`"},
	{LeavingNeeded, Person, "it is to be retired, and {needer} still uses it", nil,
		"a derived secret is computed from it, or an upstream is opened with it", "retire that secret first"},
	{LeavingGroup, Normal, "it is to be retired, and a run of its group {group} is not over: that of {member}", nil,
		"the members of a group go forward together", "with the run of the group"},
	{LeavingRunEnds, Normal, "it is to be retired once run {run} is over", nil,
		"a run that has verified nothing is taken back; another goes to its end", "with that run: `custody run show` says what it waits for"},
	{StillDeclared, Person, "the estate declares it; only a secret whose document was removed is retired", nil,
		"somebody asked for the retirement of a secret that is declared", "remove its document first"},
	{RetireRuns, Normal, "run {run} retires it, and nothing is delivered any more", nil,
		"somebody asked for a delivery of a secret that is being retired", "with that run"},
	{RetireNotWithdrawn, Fault, "it is being retired, and could not be taken from a consumer; nothing is revoked before it was", []Next{toRetireUp},
		"the cause names the consumer: mostly a file that was changed since it was delivered, or that a process holds", mend + "; a file that somebody changed, look at and remove by hand; or run the command that is shown, which leaves the file where it is"},
	{RetireSessions, Fault, "it is being retired after a report of a compromise: its credential is refused, and open sessions could not be ended", []Next{toRetireBy},
		"onCompromise of its policy wants them ended", mend + ", mostly a right of the admin account; or run the command that is shown"},
	{RetireForeign, Person, "it is being retired, its credential is revoked, and somebody else wrote version {found} to its path meanwhile; of that Custody knows no credential", []Next{toDestroy},
		"no run of Custody wrote that version", "find out who, revoke by hand what is in it, then run the command that is shown"},
	{RetireGrace, Normal, "it was taken from its consumers, and is revoked when the grace of its policy is over", nil,
		"until then, declaring it again gives consumers the same value back", "then"},
	{RetireQuiet, Normal, "it was taken from its consumers, and must stay unused for the quiet window before it is revoked", nil,
		"the upstream tells who uses a credential", "then, if nobody uses it"},
	{RetireInUse, Person, "it was taken from its consumers, and is still used by {who}; it is not revoked while it is", []Next{toRetireUp},
		"a process read the value before, or somebody undeclared has it", "stop who uses it, or run the command that is shown"},
	{RetireUsesUnknown, Fault, "it is being retired, and the upstream does not say who still uses it", []Next{toRetireUp},
		"it can tell, and does not now", mend + ", or run the command that is shown"},
	{RetireNotRevoked, Fault, "it is being retired, and the upstream did not revoke its credential", []Next{toRetireIt},
		"it is tried again; until then the credential works", mend + "; if the server is gone for good, run the command that is shown"},
	{RetireSettling, Normal, "its credential was revoked; whether it is refused is asked once that had time to show", nil, "the upstream takes a while to show a change", "then"},
	{RetireStillAccepted, Fault, "its credential was revoked, and the upstream still accepts it; it is revoked again", []Next{toRetireIt},
		"the upstream acknowledged a revocation that shows nowhere", await},
	{RetireUndecided, Fault, "its credential was revoked, and the upstream does not say whether it refuses it", []Next{toRetireIt},
		"signing in with it decides nothing", await},
	{RetireValueGone, Person, "it is being retired, and its value is gone, so that nothing can be revoked", []Next{{"to end the secret all the same, once you revoked its credential by hand", next.RetireWithout("{without}")}},
		"the authority lost the value of record", "revoke it by hand, then run the command that is shown"},
}
