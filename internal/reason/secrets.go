// SPDX-License-Identifier: Apache-2.0

package reason

import "custody.dev/custody/internal/next"

// Reasons of one secret.
const (
	NoSuccessor            Code = "no-successor"
	LastRunCallPending     Code = "last-run-call-pending"
	InterruptionNotAllowed Code = "interruption-not-allowed"
	ValueOverwritten       Code = "value-overwritten"
	ValueGone              Code = "value-gone"
	ValueForeign           Code = "value-foreign"
	ValueUnreadable        Code = "value-unreadable"
	ValueRefused           Code = "value-refused"
	RunNotPlanned          Code = "run-not-planned"
	RunUnfinished          Code = "run-unfinished"
	RunUnfinishedDerived   Code = "run-unfinished-derived"
	RetryLater             Code = "retry-later"
	RetryHeld              Code = "retry-held"
	MaintenanceWindow      Code = "maintenance-window"
	ClockJumped            Code = "clock-jumped"
	TimedRunsCapped        Code = "timed-runs-capped"
	LookFailed             Code = "look-failed"
	DeliveryFailed         Code = "delivery-failed"
	ConsumerUndeliverable  Code = "consumer-undeliverable"
	ConsumerBehind         Code = "consumer-behind"
	ConsumerDrifted        Code = "consumer-drifted"
	ConsumersBroken        Code = "consumers-broken"
	FirstLook              Code = "first-look"
	InputWithoutValue      Code = "input-without-value"
	InputForeign           Code = "input-foreign"
	InputRecovering        Code = "input-recovering"
	InputInGroup           Code = "input-in-group"
	GroupBegins            Code = "group-begins"
	GroupLeaderHeld        Code = "group-leader-held"
	GroupMemberHeld        Code = "group-member-held"
	GroupMemberRecovering  Code = "group-member-recovering"
	GroupMemberRunning     Code = "group-member-running"
	GroupMemberInGit       Code = "group-member-in-git"
	GroupMemberCallPending Code = "group-member-call-pending"
	StaggerRun             Code = "stagger-run"
	StaggerGap             Code = "stagger-gap"
	BootstrapIncomplete    Code = "bootstrap-incomplete"
	BootstrapRefused       Code = "bootstrap-refused"
	BootstrapUndecided     Code = "bootstrap-undecided"
	BootstrapInFlight      Code = "bootstrap-in-flight"
	PathOccupied           Code = "path-occupied"
	GrantMissingUnborn     Code = "grant-missing-before-first-run"
	GrantMissing           Code = "grant-missing"
	UpstreamNotGranted     Code = "upstream-not-granted"
	MachineCannotAct       Code = "machine-cannot-act"
	NeededSecretHeld       Code = "needed-secret-held"
	HistoryElsewhere       Code = "history-elsewhere"
	HistorySwapped         Code = "history-swapped"
	HistoryOfAnother       Code = "history-of-another"
	FormerNameReused       Code = "former-name-reused"
	HistoryUnreadable      Code = "history-unreadable"
	JournalUnreadable      Code = "journal-unreadable"
	NotDeclared            Code = "not-declared"
	RecoveryReplaces       Code = "recovery-replaces"
	RecoveryAsks           Code = "recovery-asks"
	RecoverySupplies       Code = "recovery-supplies"
	RecoveryRotates        Code = "recovery-rotates"
	RecoveryExplains       Code = "recovery-explains"
	LifetimeEnded          Code = "lifetime-ended"
	LifetimeEnding         Code = "lifetime-ending"
	DatedAhead             Code = "dated-ahead"
)

const identity = "a secret's name and path are its identity; until they fit its history, nothing is handed over, rotated or delivered"

var ofSecrets = []Row{
	{NoSuccessor, Person, "it has no upstream and is not generated, so nothing can make a successor", []Next{toSupply},
		"it is due, and only a person has a new value", "hand one in, declare `rotation.upstreamRef`, or give it a policy that is not timed"},
	{LastRunCallPending, Normal, "a call of the last run may still take effect; the next run starts after that", nil,
		"the call had no reply", "then"},
	{InterruptionNotAllowed, Person, "{kind} overwrites its only credential, and allowInterruption is not set; write `allowInterruption: true` under rotation in its document if its consumers may be refused for a moment", nil,
		"rotating refuses consumers for a moment", "write it, or choose a kind that has two credentials"},
	{ValueOverwritten, Person, "somebody else wrote {found} over the version of record, {version}", nil,
		"a value that no run wrote is the newest", "as for `value-foreign`"},
	{ValueGone, Person, "version {version} is on record, but its value is gone; put the newest copy of the state folder back", nil,
		"the authority lost a value", "as under [Back up and restore](#back-up-and-restore)"},
	{ValueForeign, Person, "the value at {path} is version {found}, which somebody else wrote; on record is {version}. It is not delivered", []Next{toAdopt, toRevert},
		"no run of Custody did that", "find out who, then one of the commands that are shown: [Somebody else wrote a value](#somebody-else-wrote-a-value)"},
	{ValueUnreadable, Fault, "the authority does not give the value of record", nil,
		"no server runs, and the value was read to answer", mend + "; if the authority is damaged, restore the newest backup"},
	{ValueRefused, Person, "since {since} the upstream refuses its value (version {version}), so its consumers cannot sign in", []Next{toRotate, toSupply},
		"somebody changed it there, or a restore lost it", "have a new one made; or, if somebody set another there, hand that in"},
	{RunNotPlanned, Fault, "it is due, and no run could be begun", nil, "the run is not possible as things stand", mend},
	{RunUnfinished, Person, "run {run}, a {workflow}, is not over, and the estate no longer declares what would finish it; declare that again", nil,
		"a document was removed or changed in the middle of a run", "declare it as it was until the run ended"},
	{RunUnfinishedDerived, Person, "run {run}, a {workflow}, was not over when {secret} became derived; declare it as it was until that run ends", nil,
		"a document was changed in the middle of a run", "declare it as it was until the run ended"},
	{RetryLater, Normal, "the last run was taken back; the next attempt is made after a pause", nil,
		"a pause grows with each failure", "then; sooner with `custody rotate`, once the cause is mended"},
	{RetryHeld, Person, "its attempts failed ({attempts} so far), and no other is made", []Next{toRotate, toSupply},
		"runs of this secret were taken back too often, or a person took one back", "mend the cause, then " + shown},
	{MaintenanceWindow, Normal, "it is due, and its maintenance window opens later", nil,
		"its policy has windows", "then; sooner with `custody rotate`"},
	{ClockJumped, Person, "the clock may be wrong, so timed rotation is held", []Next{toConfirm},
		"lifetimes are counted by the clock: it jumped, was set back, or nothing ran for more than a week", "[look at the clock](#the-clock-was-wrong), then confirm"},
	{TimedRunsCapped, Normal, "{count} timed runs began within the last hour, the most that is allowed", nil,
		"many secrets are due at once", "within the hour; spread them with `jitter`, or raise `maxTimedRunsPerHour`"},
	{LookFailed, Fault, "what it needs now failed, and is tried again", nil,
		"the cause says which part did not do its work; after a full disk, what was begun goes on by itself", mend + "; a call that never ends holds up this secret alone"},
	{DeliveryFailed, Fault, "it could not be delivered, or its consumers could not be asked", nil,
		"tried again; the cause names the consumer: a file that cannot be replaced, a reload that fails, a host that lacks its folder", mend},
	{ConsumerUndeliverable, Fault, "{consumer} cannot be given the version of record", nil,
		"no server runs; the consumer waits for a grant, or this machine cannot serve it", mend},
	{ConsumerBehind, Fault, "{consumer} does not hold the version of record; `custody serve` delivers it", nil,
		"no server runs, and the consumer's file is gone, changed or older", "start `custody serve`"},
	{ConsumersBroken, Person, "the old credential was revoked before {consumers} had shown that they run on the new version, as the policy wants after a compromise ({by} reported it at {at}); whatever still runs on the old one is refused: reload or restart it", nil,
		"`onCompromise` of the policy was over before that consumer had moved", "reload or restart that consumer; the finding ends when it shows that it runs on the version of record, or with the next rotation"},
	{ConsumerDrifted, Fault, "{consumer} differed from the record and was given it again", nil,
		"a file was changed or removed by somebody else", "find out by whom, if it comes back"},
	{FirstLook, Normal, "it was not looked at yet since `custody serve` started", nil, "looks take their turn", "within minutes"},
	{InputWithoutValue, Normal, "{input}, which it is computed from, has no value yet", nil,
		"it cannot be computed yet", "when the input is handed over or issued: `custody explain` for that one"},
	{InputForeign, Normal, "the value of {input}, which it is computed from, is not the one on record", nil,
		"the input has a finding of its own", "with that: `custody explain` for that one"},
	{InputRecovering, Normal, "{input}, which it is computed from, is not recovered yet", nil,
		"the input waits since an older state was put back", "with that: `custody explain` for that one"},
	{InputInGroup, Normal, "{input}, of the same group as another input, is not promoted yet", nil,
		"both change, and consumers are to be disturbed once", "with the group's run"},
	{GroupBegins, Normal, "its group {group} has not begun yet", nil,
		"its members rotate in one run", "when every member can begin; `custody explain` for the one that leads"},
	{GroupLeaderHeld, Person, "its group {group} cannot begin: its first secret, at {path}, is suspended or rotated elsewhere", nil,
		"a group rotates whole or not at all", "let that one rotate here, or take it out of the group"},
	{GroupMemberHeld, Person, "{member}, of its group {group}, is suspended or rotated elsewhere", nil,
		"a group rotates whole or not at all", "let it rotate here, or take it out of the group"},
	{GroupMemberRecovering, Person, "{member}, of its group {group}, is held since an older state was put back", []Next{toExplain},
		"a run of the group would take that member along", "run the command that is named for that secret; the group begins then"},
	{GroupMemberRunning, Normal, "{member}, of its group {group}, has a run that is not over", nil, "a member has a run of its own", "with that run"},
	{GroupMemberInGit, Normal, "{member}, of its group {group}, is not handed over yet", nil, "a member is still in Git", "with its handover"},
	{GroupMemberCallPending, Normal, "a call of the last run of {member}, of its group {group}, may still take effect", nil, "that call had no reply", "in seconds"},
	{StaggerRun, Normal, "{secret}, of the same stagger set {set}, has a run that is not over", nil, "they never rotate at once", "with that run"},
	{StaggerGap, Normal, "{secret}, of the same stagger set {set}, was rotated lately", nil, "they never rotate soon after each other", "then"},
	{BootstrapIncomplete, Person, "the bootstrap value is incomplete: it has no field {fields}; it is handed over once, and whole", []Next{{"to seal what is missing", next.Seal("{seal}", "{field}")}},
		"an upstream, a consumer or a derived secret needs a field that is not sealed", "run the command that is shown, and commit. If the field is not meant, correct the document of the one that needs it"},
	{BootstrapRefused, Person, "the upstream refuses the value that is sealed in Git", []Next{{"to seal the right one", next.Seal("{seal}", "{field}")}},
		"the sealed value is wrong; Git stays authoritative", "seal the right one, and commit"},
	{BootstrapUndecided, Fault, "the upstream does not say whether it accepts the value that is sealed in Git", nil,
		"the value stays in Git until it answers", await},
	{BootstrapInFlight, Normal, "the sealed document changed while its earlier value may still be on its way to the authority", nil, "a safeguard", "within a minute"},
	{PathOccupied, Person, "the authority already holds a value at its path that no handover wrote", nil,
		"a person decides which is right", "find out who wrote it; choose which is right"},
	{GrantMissing, Person, "nobody has granted that {what} ({kind} of {of})", []Next{toGrant},
		"the estate asks for an address, or to read across owners, and the operator has not allowed it", "look whether it is right, then grant it. If it is not, find out who wrote it"},
	{GrantMissingUnborn, Person, "the platform has never run here, and nobody has granted that {what} ({kind} of {of}); write it into the host's grants file now (`custody grant --help` shows one); or start `custody serve`, which holds it, and grant it then", nil,
		"the estate asks for an address, or to read across owners, and the operator has not allowed it", "look whether it is right, then write it into the grants file. If it is not, find out who wrote it"},
	{UpstreamNotGranted, Person, "its document says upstreamRef: {upstream}, and its value is known to {known}; nothing is sent there until that is granted. If it is wrong, {back}", []Next{toGrant},
		"the document names an upstream that never knew this value", "if that upstream may have it, grant it; else write what the document said before, and find out who changed it"},
	{MachineCannotAct, Person, "this machine cannot act on it", nil, "what honours the secret cannot be made here", mend + ": mostly a program of the host file"},
	{NeededSecretHeld, Person, "{secret}, which it needs, is held", nil, "its input, its group or the admin credential of its upstream is such a secret", "mend that one"},
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
	{JournalUnreadable, Person, "this Custody cannot read its journal entry, and does nothing with it. Run the newer Custody that wrote it, or restore the newest backup", nil,
		"it was written by a newer Custody, or is damaged", "run the newer Custody that wrote it, or restore the newest backup"},
	{NotDeclared, Person, "the estate no longer declares it, and nothing is done with it. To keep it, declare it again", nil,
		"the authority holds a secret that was removed from Git", "declare it again to keep it"},
	{RecoveryReplaces, Normal, "an older state was put back, and a run replaces the value", nil, "its upstream refuses what the older state holds", "with that run: `custody explain`"},
	{RecoveryAsks, Person, "an older state was put back, and what is in use may be newer than what the authority holds", []Next{toAccept},
		"it is delivered to nobody, and its upstream could not answer yet", "run the command once the upstream is back"},
	{RecoverySupplies, Person, "an older state was put back, and only a person knows the value in use", []Next{toSupply, toRotate},
		"what is in use may be newer than what the authority holds; it is delivered to nobody", "hand in the value in use"},
	{RecoveryRotates, Person, "an older state was put back, and a person decides when the value is replaced", []Next{toRotate},
		"what is in use may be newer than what the authority holds; it is delivered to nobody", "have a new one made, in an hour in which consumers may be refused"},
	{RecoveryExplains, Person, "an older state was put back, and what the authority holds does not fit its history", []Next{toExplain},
		"it is delivered to nobody", "mend what the command says"},
	{LifetimeEnded, Person, "it expired at {at} (by its {by})", []Next{toRotate, toSupply, toExplain},
		"its lifetime ended and nothing replaced it", "the command that is shown"},
	{LifetimeEnding, Person, "it expires at {at} (by its {by}), and no rotation comes before", []Next{toRotate, toSupply, toExplain},
		"a certificate, a token, its issuer or its policy ends its lifetime within `warnBefore` of its policy", "the command that is shown"},
	{DatedAhead, Person, "it is dated {at}, by a clock that ran ahead", []Next{toConfirm},
		"its lifetime would end that much too late", "[look at the clock](#the-clock-was-wrong), then confirm: it is dated anew"},
}
