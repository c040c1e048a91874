// SPDX-License-Identifier: Apache-2.0

package reason

import "custody.dev/custody/internal/next"

// Reasons of one secret.
const (
	NoSuccessor                Code = "no-successor"
	LastRunCallPending         Code = "last-run-call-pending"
	InterruptionNotAllowed     Code = "interruption-not-allowed"
	ValueOverwritten           Code = "value-overwritten"
	ValueGone                  Code = "value-gone"
	ValueForeign               Code = "value-foreign"
	ValueUnreadable            Code = "value-unreadable"
	ValueRefused               Code = "value-refused"
	RunNotPlanned              Code = "run-not-planned"
	RunUnfinished              Code = "run-unfinished"
	RunUnfinishedDerived       Code = "run-unfinished-derived"
	RetryLater                 Code = "retry-later"
	RetryHeld                  Code = "retry-held"
	MaintenanceWindow          Code = "maintenance-window"
	ClockJumped                Code = "clock-jumped"
	TimedRunsCapped            Code = "timed-runs-capped"
	LookFailed                 Code = "look-failed"
	DeliveryFailed             Code = "delivery-failed"
	ConsumerUndeliverable      Code = "consumer-undeliverable"
	ConsumerBehind             Code = "consumer-behind"
	ConsumerDrifted            Code = "consumer-drifted"
	ConsumersBroken            Code = "consumers-broken"
	FirstLook                  Code = "first-look"
	InputWithoutValue          Code = "input-without-value"
	InputForeign               Code = "input-foreign"
	InputRecovering            Code = "input-recovering"
	InputInGroup               Code = "input-in-group"
	GroupBegins                Code = "group-begins"
	GroupLeaderHeld            Code = "group-leader-held"
	GroupMemberHeld            Code = "group-member-held"
	GroupMemberRecovering      Code = "group-member-recovering"
	GroupMemberRunning         Code = "group-member-running"
	GroupMemberInGit           Code = "group-member-in-git"
	GroupMemberCallPending     Code = "group-member-call-pending"
	StaggerRun                 Code = "stagger-run"
	StaggerGap                 Code = "stagger-gap"
	BootstrapIncomplete        Code = "bootstrap-incomplete"
	BootstrapRefused           Code = "bootstrap-refused"
	BootstrapUndecided         Code = "bootstrap-undecided"
	BootstrapInFlight          Code = "bootstrap-in-flight"
	PathOccupied               Code = "path-occupied"
	GrantMissingBeforeFirstRun Code = "grant-missing-before-first-run"
	GrantMissing               Code = "grant-missing"
	UpstreamNotGranted         Code = "upstream-not-granted"
	MachineCannotAct           Code = "machine-cannot-act"
	NeededSecretHeld           Code = "needed-secret-held"
	HistoryElsewhere           Code = "history-elsewhere"
	HistorySwapped             Code = "history-swapped"
	HistoryOfAnother           Code = "history-of-another"
	FormerNameReused           Code = "former-name-reused"
	HistoryUnreadable          Code = "history-unreadable"
	JournalUnreadable          Code = "journal-unreadable"
	NotDeclared                Code = "not-declared"
	RecoveryReplaces           Code = "recovery-replaces"
	RecoveryAsks               Code = "recovery-asks"
	RecoverySupplies           Code = "recovery-supplies"
	RecoveryRotates            Code = "recovery-rotates"
	RecoveryExplains           Code = "recovery-explains"
	LifetimeEnded              Code = "lifetime-ended"
	LifetimeEnding             Code = "lifetime-ending"
	DatedAhead                 Code = "dated-ahead"
)

const identity = "a secret's name and path are its identity; until they fit its history, nothing is handed over, rotated or delivered"

var ofSecrets = []Row{
	{NoSuccessor, Person, "it is due, but it has no upstream and is not generated, so Custody cannot make a new value", []Next{toSupply},
		"only a person can provide a new value", "supply one, declare `rotation.upstreamRef`, or give it a policy without a `ttl`"},
	{LastRunCallPending, Normal, "a call of the last run may still take effect; the next run starts after that", nil,
		"the call had no reply", "at that time"},
	{InterruptionNotAllowed, Person, "{kind} overwrites the only credential, so consumers are refused for a moment. To allow that, write `allowInterruption: true` under rotation in its document", nil,
		"between the change and the delivery, sign-ins with the old value fail", "write it, or choose a mode with two credentials"},
	{ValueOverwritten, Person, "somebody else wrote version {found} over the current version, {version}", nil,
		"the newest version was not written by a run", "as for `value-foreign`"},
	{ValueGone, Person, "the value of the current version, {version}, is gone from the authority; restore the newest copy of the state folder", nil,
		"the authority lost a value", "see [Back up and restore](#back-up-and-restore)"},
	{ValueForeign, Person, "somebody else wrote version {found} to {path}; it is not delivered. The last version that Custody wrote is {version}", []Next{toAdopt, toRevert},
		"the newest version was not written by a run", "find out who wrote it, then " + shown + ": [Somebody else wrote a value](#somebody-else-wrote-a-value)"},
	{ValueUnreadable, Fault, "reading the current value from the authority failed", nil,
		"no server is running, so this command read the value itself", fix + "; if the authority is damaged, restore the newest backup"},
	{ValueRefused, Person, "its upstream has refused the current value (version {version}) since {since}, so consumers cannot sign in", []Next{toRotate, toSupply},
		"somebody changed the credential there, or a restored backup lost it", "rotate it; or, if somebody set another value there, supply that"},
	{RunNotPlanned, Fault, "it is due, but starting a run failed", nil, "something that the run needs is missing", fix},
	{RunUnfinished, Person, "run {run} ({workflow}) has not ended, and the estate no longer declares what it needs to continue; declare that again", nil,
		"a document was removed or changed during a run", "restore the document until the run has ended"},
	{RunUnfinishedDerived, Person, "run {run} ({workflow}) had not ended when {secret} became derived; declare the secret as before until that run has ended", nil,
		"a document was changed during a run", "restore the document until the run has ended"},
	{RetryLater, Normal, "the last run was rolled back; waiting before the next attempt", nil,
		"the wait grows with each failure", "at that time; sooner with `custody rotate`, once the cause is fixed"},
	{RetryHeld, Person, "its rotation failed ({attempts} attempts), and Custody makes no further attempt by itself", []Next{toRotate, toSupply},
		"runs of this secret failed too often, or a person aborted one", "fix the cause, then " + shown},
	{MaintenanceWindow, Normal, "it is due; waiting for its maintenance window to open", nil,
		"its policy has `windows`", "at that time; sooner with `custody rotate`"},
	{ClockJumped, Person, "the clock may be wrong, so no timed rotation starts", []Next{toConfirm},
		"the clock jumped or was set back, or Custody did not run for more than a week", "[check the clock](#the-clock-was-wrong), then confirm it"},
	{TimedRunsCapped, Normal, "waiting: {count} timed runs started within the last hour, which is the limit", nil,
		"many secrets are due at once", "within the hour; spread them with `jitter`, or raise `maxTimedRunsPerHour`"},
	{LookFailed, Fault, "processing it failed; trying again", nil,
		"the cause names the part that failed. After a full disk, everything continues by itself", fix + "; a call that never ends delays only this secret"},
	{DeliveryFailed, Fault, "delivering it, or asking its consumers for proofs, failed", nil,
		"the cause names the consumer, for example: a file cannot be replaced, a reload fails, the host has no such folder. Custody tries again", fix},
	{ConsumerUndeliverable, Fault, "the current version cannot be delivered to {consumer}", nil,
		"no server is running; the consumer waits for a grant, or this machine cannot deliver to it", fix},
	{ConsumerBehind, Fault, "{consumer} does not have the current version; `custody serve` delivers it", nil,
		"no server is running, and the consumer's file is missing, changed or older", "start `custody serve`"},
	{ConsumersBroken, Person, "the old credential was revoked although {consumers} had not shown that they run on the new version, because the policy sets a deadline after a compromise ({by} reported it at {at}). Whatever still uses the old version is refused: reload or restart it", nil,
		"the policy's `onCompromise` deadline passed before that consumer had moved", "reload or restart that consumer; the finding ends when it shows that it runs on the current version, or with the next rotation"},
	{ConsumerDrifted, Fault, "{consumer} did not have the delivered version any more; it was delivered again", nil,
		"somebody else changed or removed the file", "if it happens again, find out who does it"},
	{FirstLook, Normal, "not checked yet since `custody serve` started", nil, "secrets are checked one after another", "within minutes"},
	{InputWithoutValue, Normal, "{input}, which it is computed from, has no value yet", nil,
		"it cannot be computed yet", "when the input has a value; run `custody explain` for the input"},
	{InputForeign, Normal, "somebody else wrote the value of {input}, which it is computed from", nil,
		"the input has a finding of its own", "with that finding; run `custody explain` for the input"},
	{InputRecovering, Normal, "{input}, which it is computed from, waits for recovery", nil,
		"an older state was restored, and the input still waits", "when the input is recovered; run `custody explain` for the input"},
	{InputInGroup, Normal, "{input}, of the same group as another input, is not promoted yet", nil,
		"both inputs change, and consumers should be reloaded only once", "when the group's run has promoted them"},
	{GroupBegins, Normal, "its group {group} has not started to rotate yet", nil,
		"its members rotate in one run", "when every member can start; run `custody explain` for the leading member"},
	{GroupLeaderHeld, Person, "its group {group} cannot rotate: its leading secret, at {path}, is suspended or rotated elsewhere", nil,
		"all members of a group rotate, or none", "let that secret rotate here, or remove it from the group"},
	{GroupMemberHeld, Person, "its group {group} cannot rotate: {member} is suspended or rotated elsewhere", nil,
		"all members of a group rotate, or none", "let that secret rotate here, or remove it from the group"},
	{GroupMemberRecovering, Person, "its group {group} cannot rotate: {member} waits for recovery, because an older state was restored", []Next{toExplain},
		"a run of the group would rotate that member too", "run the command that is shown for that secret; then the group starts"},
	{GroupMemberRunning, Normal, "its group {group} waits: {member} has a run that has not ended", nil, "a member has a run of its own", "when that run has ended"},
	{GroupMemberInGit, Normal, "its group {group} waits: {member} is not handed over yet", nil, "the value of a member is still in Git", "when it is handed over"},
	{GroupMemberCallPending, Normal, "its group {group} waits: a call of the last run of {member} may still take effect", nil, "that call had no reply", "in seconds"},
	{StaggerRun, Normal, "waiting for the run of {secret}, of the same stagger set {set}, to end", nil, "members of a stagger set never rotate at the same time", "when that run has ended"},
	{StaggerGap, Normal, "waiting: {secret}, of the same stagger set {set}, was rotated recently", nil, "members of a stagger set keep the `gap` between rotations", "at that time"},
	{BootstrapIncomplete, Person, "the bootstrap value has no field {fields}; it is handed over only when complete", []Next{{"to seal what is missing", next.Seal("{seal}", "{field}")}},
		"an upstream, a consumer or a derived secret needs a field that is not sealed", "run the command that is shown, and commit. If the field is not meant, correct the document of the one that needs it"},
	{BootstrapRefused, Person, "the upstream refuses the value that is sealed in Git", []Next{{"to seal the right one", next.Seal("{seal}", "{field}")}},
		"the sealed value is wrong; it stays in Git and is not handed over", "seal the right one, and commit"},
	{BootstrapUndecided, Fault, "a test sign-in with the value that is sealed in Git gave no clear answer", nil,
		"the value is not handed over until the upstream accepts it", await},
	{BootstrapInFlight, Normal, "the sealed document changed while its earlier value may still be being written to the authority", nil, "a safeguard: the two values must not be mixed up", "within a minute"},
	{PathOccupied, Person, "the authority already has a value at its path, which no handover wrote", nil,
		"Custody cannot tell which value is right", "find out who wrote it, and decide which value is right"},
	{GrantMissing, Person, "nobody has granted that {what} ({kind} of {of})", []Next{toGrant},
		"the estate asks for a new address, or to read a secret of another owner, and the operator has not allowed it", "check that it is right, then grant it. If it is not, find out who wrote it"},
	{GrantMissingBeforeFirstRun, Person, "the platform has never run here, and nobody has granted that {what} ({kind} of {of}). Write the grant into the host's grants file now (`custody grant --help` has an example); or start `custody serve`, which waits with this secret, and grant it then", nil,
		"the estate asks for a new address, or to read a secret of another owner, and the operator has not allowed it", "check that it is right, then write it into the grants file. If it is not, find out who wrote it"},
	{UpstreamNotGranted, Person, "its document now says upstreamRef: {upstream}, but its value was used at {known}; nothing is sent to the new upstream until that is granted. If it is wrong, {back}", []Next{toGrant},
		"the document names an upstream that never had this value", "if that upstream may have it, grant it; otherwise restore the document, and find out who changed it"},
	{MachineCannotAct, Person, "this machine cannot rotate or deliver it", nil, "its upstream or consumers cannot be set up on this machine", fix + ": usually a program that the host file names"},
	{NeededSecretHeld, Person, "it needs {secret}, which is held back by a finding of its own", nil, "that secret is its input, in its group, or the admin credential of its upstream", "fix the finding of that secret"},
	{HistoryElsewhere, Person, "its value and history are at {own}, but its document says path: {path}. Nothing is handed over, rotated or delivered until then. Write `path: {own}` again. To use another path, declare a new secret with a new name there, move the consumers to it, and then remove this one", nil,
		identity, "write the path again; or declare a new secret with a new name there, move the consumers to it, then remove this one"},
	{HistorySwapped, Person, "its value and history are at {own}, but its document says path: {path}, which holds those of {other}. Nothing is handed over, rotated or delivered until then. Write `path: {own}` again", nil,
		identity, "write the path again"},
	{HistoryOfAnother, Person, "its path, {path}, holds the value and history of {other}. Nothing is handed over, rotated or delivered until then. If {secret} is the new name of {other}, list {other} under formerNames; otherwise give {secret} a path of its own", nil,
		identity, "list the old name under `formerNames`, or give it a path of its own"},
	{FormerNameReused, Person, "its name was that of {other}, at {own}, before. Nothing is handed over, rotated or delivered until then. Choose a name that no secret has had", nil,
		identity, "choose a name that no secret has had"},
	{HistoryUnreadable, Person, "the journal entry at {at} cannot be read, and may be the history of this secret under an earlier path. Run the newer Custody that wrote it, or restore the newest backup", nil,
		identity, "run the newer Custody that wrote it, or restore the newest backup"},
	{JournalUnreadable, Person, "its journal entry cannot be read, so Custody does nothing with it. Run the newer Custody that wrote it, or restore the newest backup", nil,
		"it was written by a newer Custody, or is damaged", "run the newer Custody that wrote it, or restore the newest backup"},
	{NotDeclared, Person, "no longer declared in the estate; Custody does nothing with it. To keep it, declare it again", nil,
		"its document was removed from Git; the authority still has its value", "declare it again to keep it"},
	{RecoveryReplaces, Normal, "an older state was restored; a run is replacing the value", nil, "the upstream refuses the value in the restored state", "with that run; `custody explain` shows it"},
	{RecoveryAsks, Person, "an older state was restored; the value in use may be newer than the one in the authority", []Next{toAccept},
		"it is not delivered; its upstream could not be asked which value works", "run the command once the upstream is reachable"},
	{RecoverySupplies, Person, "an older state was restored; the value in use must be supplied by a person", []Next{toSupply, toRotate},
		"the value in use may be newer than the one in the authority, which is not delivered", "supply the value in use"},
	{RecoveryRotates, Person, "an older state was restored; a person must decide when the value is replaced", []Next{toRotate},
		"the value in use may be newer than the one in the authority, which is not delivered", "rotate it, at a time when consumers may be refused for a moment"},
	{RecoveryExplains, Person, "an older state was restored; the value in the authority does not match the secret's history", []Next{toExplain},
		"it is not delivered", "fix what the command shows"},
	{LifetimeEnded, Person, "it expired at {at} (by its {by})", []Next{toRotate, toSupply, toExplain},
		"its lifetime ended and nothing replaced it", "run the command that is shown"},
	{LifetimeEnding, Person, "it expires at {at} (by its {by}), before any scheduled rotation", []Next{toRotate, toSupply, toExplain},
		"its certificate, token, issuer or policy ends its lifetime, within the policy's `warnBefore`", "run the command that is shown"},
	{DatedAhead, Person, "its version is dated {at}, which is in the future: the clock was ahead", []Next{toConfirm},
		"its lifetime would end too late", "[check the clock](#the-clock-was-wrong), then confirm it: the version gets the current date"},
}
