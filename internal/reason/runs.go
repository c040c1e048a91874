// SPDX-License-Identifier: Apache-2.0

package reason

// Reasons of a rotation that is under way.
const (
	CustodyStopping         Code = "custody-stopping"
	ValueToBeSupplied       Code = "value-to-be-supplied"
	UpstreamNotReady        Code = "upstream-not-ready"
	CredentialsNotListed    Code = "credentials-not-listed"
	CandidateNotProposed    Code = "candidate-not-proposed"
	CandidateUnfit          Code = "candidate-unfit"
	DecoyAccepted           Code = "decoy-accepted"
	DecoyUndecided          Code = "decoy-undecided"
	DecoyNotMade            Code = "decoy-not-made"
	LockoutPause            Code = "lockout-pause"
	CallsBusy               Code = "calls-busy"
	EstateChanged           Code = "estate-changed"
	CandidateEffectUnknown  Code = "candidate-effect-unknown"
	CandidateNotApplied     Code = "candidate-not-applied"
	CandidateSettling       Code = "candidate-settling"
	CandidateUndecided      Code = "candidate-undecided"
	CandidateLost           Code = "candidate-lost"
	AccountClaimed          Code = "account-claimed"
	AccountMarkerUnknown    Code = "account-marker-unknown"
	AccountMarkerUnread     Code = "account-marker-unread"
	EarlierCallPending      Code = "earlier-call-pending"
	ForeignWrite            Code = "foreign-write"
	RunValuesGone           Code = "run-values-gone"
	GroupMemberFailed       Code = "group-member-failed"
	UndoImpossible          Code = "undo-impossible"
	CandidateNotRemoved     Code = "candidate-not-removed"
	RemovalSettling         Code = "removal-settling"
	RemovedStillAccepted    Code = "removed-still-accepted"
	RemovedUndecided        Code = "removed-undecided"
	CurrentRefusedAfterUndo Code = "current-refused-after-undo"
	CurrentUndecided        Code = "current-undecided"
	CredentialNotIssued     Code = "credential-not-issued"
	IssuedNotKept           Code = "issued-not-kept"
	SurplusNotRevoked       Code = "surplus-not-revoked"
	LostReplyUnknown        Code = "lost-reply-unknown"
	LostReplyUncollectable  Code = "lost-reply-uncollectable"
	LostReplyClaimed        Code = "lost-reply-claimed"
	LostReplyNotRemoved     Code = "lost-reply-not-removed"
	LostReplySettling       Code = "lost-reply-settling"
	LostReplyOldSettling    Code = "lost-reply-old-settling"
	LostReplyOldEnded       Code = "lost-reply-old-ended"
	LostReplyNewcomers      Code = "lost-reply-newcomers"
	GroupVerifying          Code = "group-verifying"
	GroupMemberVerifying    Code = "group-member-verifying"
	ProofMissing            Code = "proof-missing"
	OverlapExceeded         Code = "overlap-exceeded"
	NewCredentialRefused    Code = "new-credential-refused"
	NewCredentialUndecided  Code = "new-credential-undecided"
	SettleTime              Code = "settle-time"
	QuietWindow             Code = "quiet-window"
	OldUsesUnknown          Code = "old-uses-unknown"
	OldUsesUndated          Code = "old-uses-undated"
	OldUsedLately           Code = "old-used-lately"
	OldInUse                Code = "old-in-use"
	OldNotRevoked           Code = "old-not-revoked"
	OldSettling             Code = "old-settling"
	OldStillAccepted        Code = "old-still-accepted"
	OldUndecided            Code = "old-undecided"
	CompromiseProofMissing  Code = "compromise-proof-missing"
	CompromiseWaits         Code = "compromise-waits"
	SessionsNotEnded        Code = "sessions-not-ended"
)

// What most moves of a fault are.
const (
	fix   = "fix what the cause names"
	await = "nothing, if the upstream is unreachable and comes back; otherwise fix what the cause names"
	shown = "run one of the commands that are shown"
)

var ofRuns = []Row{
	{CustodyStopping, Normal, "Custody is stopping; the run continues after the next start", nil,
		"the process received a signal to stop", "with the next start"},
	{ValueToBeSupplied, Person, "the run waits for a supplied value that did not arrive", []Next{toSupply, toAbort},
		"`custody supply` was interrupted after it started the run", "supply the value again, or roll the run back"},
	{UpstreamNotReady, Fault, "asking the upstream what it can do has not succeeded yet", nil,
		"a program or API used as an upstream has not described itself yet", fix + "; `custody upstream check` tests it"},
	{CredentialsNotListed, Fault, "listing the credentials at the upstream failed", nil,
		"Custody lists what exists before it creates a credential, to recognise the new one if the reply is lost", fix + ": usually a missing permission to list"},
	{CandidateNotProposed, Fault, "making a new value failed", nil, "no candidate could be made", fix},
	{CandidateUnfit, Person, "the new value cannot be written in the format of consumer {consumer}; change its format or reader, or the rules for generated values", nil,
		"the new value has characters that the file format cannot express; it was not applied", "correct the secret's document"},
	{DecoyAccepted, Person, "the upstream accepts a made-up credential, so a successful sign-in proves nothing; correct its authentication rules (trust, cached sign-ins)", nil,
		"if a server accepts any password, no later check can be trusted", "correct the upstream's authentication rules"},
	{DecoyUndecided, Fault, "testing that the upstream rejects a made-up credential (it must, or sign-ins prove nothing) gave no answer", nil,
		"Custody tests this once, at the first contact", await},
	{DecoyNotMade, Fault, "making a made-up credential, to test that the upstream rejects it, failed", nil, "the upstream must reject one before sign-ins prove anything", fix},
	{LockoutPause, Normal, "waiting before the next sign-in: one more wrong one could lock the account", nil,
		"the upstream locks accounts, so sign-ins that may fail are spaced out", "after the time that `custody upstream explain` names"},
	{CallsBusy, Normal, "waiting for one of 8 running calls to the same upstream or folder to end", nil,
		"those calls take long; the findings of their secrets say why", "when one of them ends"},
	{EstateChanged, Normal, "the estate or the grants changed during the check; checking it again", nil,
		"the check stopped without further calls", "at once"},
	{CandidateEffectUnknown, Fault, "it is not known whether the upstream applied the candidate", nil,
		"a reply was lost", "nothing; Custody asks again"},
	{CandidateNotApplied, Fault, "applying the candidate at the upstream failed", nil, "Custody tries again", fix},
	{CandidateSettling, Normal, "the candidate was applied; waiting until the upstream has applied it everywhere", nil,
		"the upstream takes time to apply a change everywhere", "after the upstream's settle time"},
	{CandidateUndecided, Fault, "a test sign-in with the candidate gave no clear answer", nil, "it was applied, but it is not known whether it works", await},
	{CandidateLost, Person, "the upstream refuses the candidate, which it accepted before; no consumer has it, and {old}. If a fail-over, a restore or a person undid the change, set the candidate there again and the run continues; otherwise create a working credential there", []Next{toSupply},
		"the upstream lost the change, and Custody cannot roll this run back: it belongs to a group, or the upstream cannot undo", "set it there again; or create a working one there and supply it"},
	{AccountClaimed, Person, "the account's marker says that somebody else owns it; if nobody does, remove the marker there, and the run continues", []Next{toSeeRun, toLeave},
		"another Custody or a person manages this account", "find out who set the account's marker. If nobody uses it, remove it there, and the run continues; otherwise roll the run back and name another account in the document"},
	{AccountMarkerUnknown, Person, "the account's marker names run {marker}, which is not in the journal: a newer state or another Custody changed the account, and that credential may be in use", []Next{toChange},
		"Custody does not change the account", "if a newer state exists, restore it. Otherwise find out who uses the account (consumers' files, the server's sessions) and supply the credential that they use (`custody supply`); or run the command that is shown"},
	{AccountMarkerUnread, Fault, "reading the account's marker, which names the run that last changed it, failed", nil, "Custody changes nothing before it has read the marker", await},
	{EarlierCallPending, Normal, "an earlier call may still take effect; the run continues after that call's deadline", nil,
		"the call had no reply, or its process died", "in seconds"},
	{ForeignWrite, Person, "somebody else wrote version {found} to the secret's path; nothing is delivered or revoked until you choose a value. Find out who can write to the authority", []Next{toAdopt, toRevert},
		"the newest version was not written by a run; this run waits", "find out who wrote it, then " + shown + ": [Somebody else wrote a value](#somebody-else-wrote-a-value)"},
	{RunValuesGone, Person, "the values of this run are missing from the journal; stop the server and restore the newest copy of the state folder", []Next{toSeeOn, toForce, toAbort},
		"the candidate is lost: somebody changed Custody's documents in the authority", "restore the newest copy of the state, or " + shown},
	{GroupMemberFailed, Person, "this run failed after its group had started to rely on it", []Next{toAbort},
		"it was verified with its group, and failed afterwards", "fix the cause, or roll back the run of the whole group"},
	{UndoImpossible, Person, "the run failed, and this upstream cannot undo the change; correct the account there by hand", []Next{toSupply, toForce},
		"the previous credential cannot be restored automatically", "correct the account upstream; then " + shown},
	{CandidateNotRemoved, Fault, "rolling the run back: the upstream did not remove the candidate", nil, "Custody tries again", fix},
	{RemovalSettling, Normal, "rolling the run back: the candidate was removed; waiting until the upstream refuses it everywhere", nil,
		"the upstream takes time to apply a change everywhere", "after the upstream's settle time"},
	{RemovedStillAccepted, Fault, "rolling the run back: the candidate was removed, but the upstream still accepts it; removing it again", nil,
		"the upstream lost the removal, or takes long to apply it", "nothing at first; if this stays, remove it upstream by hand"},
	{RemovedUndecided, Fault, "rolling the run back: the candidate was removed, but a test sign-in gave no clear answer whether it is refused", nil,
		"it is not known whether the removed candidate still works", await},
	{CurrentRefusedAfterUndo, Person, "the run was rolled back, but the upstream refuses the current credential; set that there again, and the run ends", []Next{toSupply, toForce},
		"rolling back did not restore the current credential", "set the current value upstream by hand, or " + shown},
	{CurrentUndecided, Fault, "a test sign-in with the current credential gave no clear answer", nil,
		"the run was rolled back, or a call whose reply was lost may have revoked the credential", await},
	{CredentialNotIssued, Fault, "the upstream did not create a credential", nil, "Custody asks again", fix + ": permissions, quotas, the allowed number of credentials"},
	{IssuedNotKept, Fault, "storing the credential that the upstream created failed", nil,
		"the credential is only in the memory of this process", "repair the authority before the process ends; otherwise Custody removes that credential and creates another"},
	{SurplusNotRevoked, Fault, "the upstream did not revoke the credential that it had created before you supplied another", nil,
		"a value was supplied while the authority could not store the one that the upstream had created", fix},
	{LostReplyUnknown, Person, "the reply to creating a credential was lost, and this upstream cannot tell what it created; an unused credential may be left there", []Next{toSupply, toForce, toAbort},
		"the upstream may have created a credential that nobody received", "remove it upstream, and the run continues; or " + shown},
	{LostReplyUncollectable, Person, "the reply to creating a credential was lost, and this upstream cannot remove what it created; an unused credential may be left there", []Next{toSupply, toForce, toAbort},
		"the upstream may have created a credential that nobody received", "remove it upstream, and the run continues; or " + shown},
	{LostReplyClaimed, Person, "the reply to creating a credential was lost, and the account now belongs to somebody else", []Next{toSupply, toForce, toAbort},
		"Custody does not remove what the call may have created, because the account is no longer Custody's", "find out what the call created and remove it, and the run continues; or " + shown},
	{LostReplyNotRemoved, Fault, "a reply was lost; removing the credential that the call may have created failed", nil,
		"Custody removes it before it creates another", fix + ": usually a missing permission to delete"},
	{LostReplySettling, Normal, "a reply was lost; waiting before checking whether the call created a credential", nil,
		"the upstream takes time to apply a change everywhere", "after the call's deadline and the upstream's settle time"},
	{LostReplyOldSettling, Normal, "a reply was lost; waiting before checking whether the call revoked the current credential", nil,
		"the upstream takes time to apply a change everywhere", "after the call's deadline and the upstream's settle time"},
	{LostReplyOldEnded, Person, "the reply to creating a credential was lost, and the upstream no longer accepts the previous one", []Next{toSupply, toForce, toAbort},
		"the only working credential may be the one that nobody received", "create one there by hand and supply it, or " + shown},
	{LostReplyNewcomers, Person, "{names} appeared upstream while a reply to this run was lost; if nobody else created it, remove it there, and the run continues", []Next{toSupply, toForce, toAbort},
		"the upstream does not record who created it", "if nobody else did, remove it there; if somebody did, " + shown},
	{GroupVerifying, Normal, "waiting until the other members of the group are verified; {leader} leads", nil,
		"the members of a group are promoted together", "when the last one is verified; run `custody explain` for that one"},
	{GroupMemberVerifying, Normal, "waiting until {member}, of the same group, is verified", nil,
		"the members of a group are promoted together", "when it is verified; run `custody explain` for that one"},
	{ProofMissing, Fault, "consumers have not shown that they run on the new version: {consumers}", []Next{toWaive},
		"delivery failed, or the consumer has not loaded the new version", "reload or restart that consumer, or fix what it reports; if it is gone for good, remove it from the estate, or run the command that is shown"},
	{OverlapExceeded, Person, "the old and the new credential have both been valid for longer than maxOverlap (strategy {strategy}), because consumers have not shown that they run on the new version: {consumers}", []Next{toWaive},
		"like `proof-missing`, for longer than the policy allows", "as for `proof-missing`, soon: two credentials are valid"},
	{NewCredentialRefused, Person, "the upstream refuses the new credential (version {version}), which it accepted before; {old}. If a fail-over, a restore or a person undid the change, set it there again and the run continues; otherwise create a working credential there", []Next{toSupply},
		"the upstream lost the change; the old credential is not revoked", "set it there again; or create a working one there and supply it"},
	{NewCredentialUndecided, Fault, "a test sign-in with the new credential gave no clear answer", nil, "Custody revokes nothing before the new credential is accepted", await},
	{SettleTime, Normal, "every consumer has the new version; the settle time after the last proof is running", nil,
		"clients that have read the old value may still sign in with it", "after the policy's `settle` time"},
	{QuietWindow, Normal, "the quiet window is running: waiting for sign-ins with the old credential that the upstream reports late", nil,
		"the upstream reports sign-ins late", "after `quietWindow` and the delay that `custody upstream explain` names"},
	{OldUsesUnknown, Fault, "asking the upstream who still uses the old credential failed", []Next{toRevoke},
		"this upstream reports uses, but did not answer", fix + ", or run the command that is shown"},
	{OldUsesUndated, Person, "the clock may be wrong, so it is not known when the old credential was last used; it is not revoked", []Next{toConfirm},
		"Custody compares the upstream's times with this machine's clock, which jumped or was set back", "[check the clock](#the-clock-was-wrong), then confirm it; then the quiet window starts again"},
	{OldUsedLately, Normal, "the last use of the old credential may be from before the consumers moved; waiting until it is longer ago than the quiet window", nil,
		"the upstream's times are too coarse to tell", "after `quietWindow` and the delay that `custody upstream explain` names"},
	{OldInUse, Person, "every declared consumer has moved, but {who} still uses the old credential; declare that consumer or move it to the new one", []Next{toRevoke},
		"an undeclared consumer, or a process with the old value in memory, still signs in with it", "find that consumer; the command that is shown revokes the credential anyway and locks it out"},
	{OldNotRevoked, Fault, "revoking the old credential at the upstream failed", nil, "Custody tries again; meanwhile both credentials are valid", fix},
	{OldSettling, Normal, "the old credential was revoked; waiting until the upstream refuses it everywhere", nil,
		"the upstream takes time to apply a change everywhere", "after the upstream's settle time"},
	{OldStillAccepted, Fault, "the old credential was revoked, but the upstream still accepts it; revoking it again", nil,
		"the revocation had no effect, or is not applied everywhere yet", "check the upstream's documentation page and its log"},
	{OldUndecided, Fault, "the old credential was revoked, but a test sign-in gave no clear answer whether it is refused", nil, "it is not known whether the old credential still works", await},
	{CompromiseProofMissing, Fault, "the secret was reported as compromised; the old credential will be revoked at the policy's deadline, even if these consumers have not shown that they run on the new version: {consumers}", []Next{toWaive},
		"like `proof-missing`, but the policy's `onCompromise` sets a deadline", "reload or restart that consumer before then; the command that is shown revokes at once"},
	{CompromiseWaits, Fault, "the secret was reported as compromised; creating the next credential revokes one that consumers may still use: {consumers}", []Next{toWaive},
		"the previous run had not yet revoked the old credential, so now two credentials must be replaced", "reload or restart that consumer; if the policy has no `onCompromise`, the command that is shown ends the wait"},
	{SessionsNotEnded, Fault, "the old credential is revoked, but ending the sessions that were opened with it failed", []Next{toLeaveOpen},
		"the policy's `onCompromise` requires that they end; until then, whoever is signed in stays signed in", fix + ": usually a missing permission of the admin account; `custody upstream explain` names it"},
}
