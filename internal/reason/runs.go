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
	mend  = "mend what the cause says"
	await = "nothing, if the upstream is away and comes back; else mend what the cause says"
	shown = "one of the commands that are shown"
)

var ofRuns = []Row{
	{CustodyStopping, Normal, "Custody is stopping; the run goes on when it starts again", nil,
		"the process was told to end", "with the next start"},
	{ValueToBeSupplied, Person, "the run was begun for a value that was handed in, and the value did not arrive", []Next{toSupply, toAbort},
		"`custody supply` was cut off after it began the run", "hand it in again, or take the run back"},
	{UpstreamNotReady, Fault, "the upstream does not say what it can do", nil,
		"a program or server that stands for an upstream has not described itself yet", mend + "; `custody upstream check` runs it"},
	{CredentialsNotListed, Fault, "the upstream did not list its credentials", nil,
		"what exists there is noted before another is made, and compared after a lost reply", mend + ": mostly a right to list"},
	{CandidateNotProposed, Fault, "no new value could be made", nil, "making the candidate failed", mend},
	{CandidateUnfit, Person, "consumer {consumer} cannot be given the new value; change its format or reader, or the rule that values are made by", nil,
		"a value was made for which the consumer's file has no form; it was not applied", "correct the secret's document"},
	{DecoyAccepted, Person, "the upstream accepts a made-up credential, so sign-ins prove nothing there; correct its authentication rules (trust, cached sign-ins)", nil,
		"a server that lets everybody in would make every later check worthless", "correct the upstream's authentication rules"},
	{DecoyUndecided, Fault, "testing that the upstream rejects a made-up credential (it must, or sign-ins prove nothing) gave no answer", nil,
		"this is asked once, at the first contact", await},
	{DecoyNotMade, Fault, "no made-up credential could be made to test sign-ins with", nil, "the upstream must refuse one before sign-ins count", mend},
	{LockoutPause, Normal, "one more wrong sign-in could lock the account out, so the next waits", nil,
		"sign-ins that may be refused are kept apart", "after the time that `custody upstream explain` names"},
	{CallsBusy, Normal, "8 calls to the same upstream or folder are under way, so this one waits its turn", nil,
		"those calls take long; the findings of their secrets say why", "when they end"},
	{EstateChanged, Normal, "the estate, or what is granted, changed during the look; it is looked at again", nil,
		"the look ended without asking anybody else", "at once"},
	{CandidateEffectUnknown, Fault, "the upstream does not say whether the candidate was applied", nil,
		"a reply was lost", "nothing; it is asked again"},
	{CandidateNotApplied, Fault, "the upstream did not apply the candidate", nil, "it is tried again", mend},
	{CandidateSettling, Normal, "the candidate was applied; it counts once it is accepted everywhere upstream", nil,
		"a change takes time to spread", "after the upstream's settle time"},
	{CandidateUndecided, Fault, "the upstream does not say whether it accepts the candidate", nil, "it was applied, and signing in with it decides nothing", await},
	{CandidateLost, Person, "the upstream refuses the candidate, which it accepted before; nobody was given it, and {old}. If a fail-over, a restore or somebody's change lost it, set it there again and the run goes on; otherwise make one there that works", []Next{toSupply},
		"the change was lost there, and the run cannot be taken back alone: of a group, or at an upstream that cannot undo", "set it there again, or make one there that works and hand it in"},
	{AccountClaimed, Person, "an account has one owner, and somebody else claims this one; if nobody owns it, remove that claim there, and the run goes on", []Next{toSeeRun, toLeave},
		"another Custody, or a person, claims the account upstream", "see whose claim the account's marker is. If nobody's, remove it there, and the run goes on; otherwise take the run back, and have the document name another account"},
	{AccountMarkerUnknown, Person, "the marker of the account names run {marker}, which the journal does not know, so a newer state or another Custody changed the account; what that made may be in use", []Next{toChange},
		"nothing of the account is changed", "if a newer state exists, put that back. Otherwise find out who uses the account (the consumers' files, the server's sessions), and hand in what they use (`custody supply`); or let it be changed"},
	{AccountMarkerUnread, Fault, "the upstream does not say which run changed the account last", nil, "nothing is changed before it does", await},
	{EarlierCallPending, Normal, "an earlier call may still take effect, so the run goes on after that call's deadline", nil,
		"the call had no reply, or its process died", "in seconds"},
	{ForeignWrite, Person, "somebody else wrote version {found} to the secret's path; it is not delivered, and nothing is revoked, until that is decided. Find out who can write to the authority", []Next{toAdopt, toRevert},
		"a value that no run wrote is the newest; the run waits", "find out who wrote it, then one of the commands that are shown: [Somebody else wrote a value](#somebody-else-wrote-a-value)"},
	{RunValuesGone, Person, "the values of this run are gone from the journal; stop the server and put the newest copy of the state folder back", []Next{toSeeOn, toForce, toAbort},
		"the candidate is lost: somebody changed the authority's own documents", "put the newest copy of the state back, or run the command that is shown"},
	{GroupMemberFailed, Person, "the group counts on this run, and it failed", []Next{toAbort},
		"it was ready to go forward with its group, and then failed", "mend the cause, or take the run of the whole group back"},
	{UndoImpossible, Person, "the run failed, and this upstream cannot undo what it did; see to it there", []Next{toSupply, toForce},
		"nothing takes back what the call changed", "see to it upstream; then " + shown},
	{CandidateNotRemoved, Fault, "the run is taken back, and the upstream did not remove the candidate", nil, "it is tried again", mend},
	{RemovalSettling, Normal, "the candidate was removed; the run ends once it is refused everywhere upstream", nil,
		"the run is taken back, and a change takes time to spread", "after the upstream's settle time"},
	{RemovedStillAccepted, Fault, "the upstream still accepts the candidate that was removed; it is removed again", nil,
		"the removal was lost there, or takes time", "nothing; if it never ends, remove it upstream by hand"},
	{RemovedUndecided, Fault, "the upstream does not say whether it refuses the candidate that was removed", nil,
		"whether what the run made upstream still works is not known", await},
	{CurrentRefusedAfterUndo, Person, "the run was taken back, but the upstream refuses the current credential; set that there again, and the run ends", []Next{toSupply, toForce},
		"undoing did not bring the current credential back", "set the current value upstream by hand, or " + shown},
	{CurrentUndecided, Fault, "the upstream does not say whether it accepts the current credential", nil,
		"the run was taken back, or a lost call may have ended the credential", await},
	{CredentialNotIssued, Fault, "the upstream did not issue a credential", nil, "it is asked again", mend + ": rights, quotas, how many it allows at once"},
	{IssuedNotKept, Fault, "the authority did not store the credential that the upstream issued", nil,
		"only this process has it", "mend the authority before the process ends; otherwise the credential is collected and made anew"},
	{SurplusNotRevoked, Fault, "the upstream did not revoke the credential that it issued before another was handed in", nil,
		"a value was supplied while the authority could not store what the upstream had issued", mend},
	{LostReplyUnknown, Person, "the reply to issuing was lost, and this upstream cannot tell what it made; something may be left there", []Next{toSupply, toForce, toAbort},
		"nobody received what the upstream may have made", "see to it there, and the run goes on; or " + shown},
	{LostReplyUncollectable, Person, "the reply to issuing was lost, and this upstream cannot remove what it made; something may be left there", []Next{toSupply, toForce, toAbort},
		"nobody received what the upstream may have made", "see to it there, and the run goes on; or " + shown},
	{LostReplyClaimed, Person, "the reply to issuing was lost, and somebody else has taken over the account", []Next{toSupply, toForce, toAbort},
		"what the upstream may have made is not removed, since the account is no longer ours", "see to it there, and the run goes on; or " + shown},
	{LostReplyNotRemoved, Fault, "the upstream did not remove what the call whose reply was lost may have made", nil,
		"it is removed before another is made", mend + ": mostly a right to delete"},
	{LostReplySettling, Normal, "a reply was lost; checking in a while whether that call made a credential", nil,
		"a change takes time to spread", "after the call's deadline and the upstream's settle time"},
	{LostReplyOldSettling, Normal, "a reply was lost; checking in a while whether that call ended the current credential", nil,
		"a change takes time to spread", "after the call's deadline and the upstream's settle time"},
	{LostReplyOldEnded, Person, "the reply to issuing was lost, and the upstream no longer accepts the credential before it", []Next{toSupply, toForce, toAbort},
		"the only credential that works may be the one that nobody received", "make one there by hand and hand it in, or " + shown},
	{LostReplyNewcomers, Person, "{names} appeared upstream when a reply to this run was lost; if nobody else made it, remove it there, and the run goes on", []Next{toSupply, toForce, toAbort},
		"the upstream cannot say who made it", "if nobody else did, remove it there; if somebody did, " + shown},
	{GroupVerifying, Normal, "the other members of the group are still to be verified; {leader} leads", nil,
		"a group goes forward together", "when the last is; `custody explain` for the one that is late"},
	{GroupMemberVerifying, Normal, "{member}, of the same group, is still to be verified", nil,
		"a group goes forward together", "when it is; `custody explain` for that one"},
	{ProofMissing, Fault, "consumers have not shown that they run on the new version: {consumers}", []Next{toWaive},
		"it was delivered, or could not be, and not taken", "reload or restart that consumer, or mend what it says; if it is gone for good, remove it from the estate, or run the command that is shown"},
	{OverlapExceeded, Person, "the old and the new credential have both been valid for longer than maxOverlap (strategy {strategy}), because consumers have not shown that they run on the new version: {consumers}", []Next{toWaive},
		"as `proof-missing`, for too long", "as for `proof-missing`, now"},
	{NewCredentialRefused, Person, "the upstream refuses the new credential (version {version}), which it accepted before; {old}. If a fail-over, a restore or somebody's change lost it, set it there again and the run goes on; otherwise make one there that works", []Next{toSupply},
		"the change was lost there; the old credential is not revoked", "set it there again, or make one there that works and hand it in"},
	{NewCredentialUndecided, Fault, "the upstream does not say whether it still accepts the new credential", nil, "nothing is revoked before it says so", await},
	{SettleTime, Normal, "every consumer has the new version; the settle time after the last proof is running", nil,
		"clients that read the old value may still sign in", "after `settle` of the policy"},
	{QuietWindow, Normal, "the quiet window is running, in which the upstream may show that somebody still uses the old credential", nil,
		"the upstream shows sign-ins late", "after `quietWindow` and what `custody upstream explain` names"},
	{OldUsesUnknown, Fault, "the upstream does not say who still uses the old credential", []Next{toRevoke},
		"it can tell, and does not now", mend + ", or run the command that is shown"},
	{OldUsesUndated, Person, "the clock may be wrong, so it is not known how long ago the old credential was used; it is not revoked", []Next{toConfirm},
		"uses are dated by the upstream and compared with this machine's clock, which jumped or was set back", "[look at the clock](#the-clock-was-wrong), then confirm; the quiet window begins anew then"},
	{OldUsedLately, Normal, "the last use of the old credential may be from before the consumers moved; it has to be longer ago than the quiet window", nil,
		"the upstream's times are too coarse to tell", "after `quietWindow` and what `custody upstream explain` names"},
	{OldInUse, Person, "every declared consumer has moved, and the old credential is still used by {who}; find them, and declare or move them", []Next{toRevoke},
		"a consumer that is not declared, or one that read the old value long ago, still signs in with it", "find them; the command that is shown revokes it all the same, and they are refused"},
	{OldNotRevoked, Fault, "the upstream did not revoke the old credential", nil, "it is tried again; both credentials are valid", mend},
	{OldSettling, Normal, "the old credential was revoked; the run ends once it is refused everywhere upstream", nil,
		"a change takes time to spread", "after the upstream's settle time"},
	{OldStillAccepted, Fault, "the upstream still accepts the old credential; it is revoked again", nil,
		"revoking did not work, or has not spread", "look at the upstream's page and log"},
	{OldUndecided, Fault, "the upstream does not say whether the old credential is refused", nil, "signing in with it decides nothing", await},
	{CompromiseProofMissing, Fault, "the secret was reported as compromised, and the old credential is revoked when the policy's time is over, although consumers have not shown that they run on the new version: {consumers}", []Next{toWaive},
		"as `proof-missing`, and the policy's `onCompromise` does not wait for ever", "reload or restart that consumer before then; the command that is shown revokes at once"},
	{CompromiseWaits, Fault, "the secret was reported as compromised; making another credential ends one that consumers may still run on: {consumers}", []Next{toWaive},
		"a run before had not revoked the old credential when the compromise was reported, and both have to go", "reload or restart that consumer; without `onCompromise` in the policy, the command that is shown ends the wait"},
	{SessionsNotEnded, Fault, "the old credential is refused, and open sessions that began with it could not be ended", []Next{toLeaveOpen},
		"the policy's `onCompromise` wants them ended; whoever is signed in stays so until then", mend + ": mostly a right of the admin; `custody upstream explain` names it"},
}
