// SPDX-License-Identifier: Apache-2.0

package reason

import "custody.dev/custody/internal/next"

// Reasons of the platform as a whole, and what doctor finds.
const (
	Recovering          Code = "recovering"
	OlderGrant          Code = "older-grant"
	MachineFile         Code = "machine-file"
	LooksUnended        Code = "looks-unended"
	EstateNotKept       Code = "estate-not-kept"
	EstateNotInForce    Code = "estate-not-in-force"
	CommitUnsigned      Code = "commit-unsigned"
	CommitOlder         Code = "commit-older"
	HistoryRewritten    Code = "history-rewritten"
	CommitUnusable      Code = "commit-unusable"
	EstateUnfetched     Code = "estate-unfetched"
	FormNotInForce      Code = "form-not-in-force"
	RemovalNotInForce   Code = "removal-not-in-force"
	DocumentNotInForce  Code = "document-not-in-force"
	FileNotInForce      Code = "file-not-in-force"
	MoreNotInForce      Code = "more-not-in-force"
	RecordDoubtful      Code = "record-doubtful"
	GrantsUnused        Code = "grants-unused"
	GrantsUnreadable    Code = "grants-unreadable"
	NotGrantedUnborn    Code = "not-granted-before-first-run"
	NotGranted          Code = "not-granted"
	FileLeft            Code = "file-left"
	FilesUnseen         Code = "files-unseen"
	AgentAway           Code = "agent-away"
	RequestUnreadable   Code = "request-unreadable"
	AnswerNotNoted      Code = "answer-not-noted"
	ConsumerUnasked     Code = "consumer-unasked"
	ConsumerNotOnRecord Code = "consumer-not-on-record"
	AdminRefused        Code = "admin-refused"
	AdminUndecided      Code = "admin-undecided"
	CredentialUntried   Code = "credential-untried"
	VersionUndecided    Code = "version-undecided"
	TargetAway          Code = "target-away"
	OwnerUnreached      Code = "owner-unreached"
	ConsumerNewer       Code = "consumer-newer"
	BackupFailed        Code = "backup-failed"
	BackupOld           Code = "backup-old"
)

var ofPlatform = []Row{
	{Recovering, Person, "the platform is recovering", nil,
		"an older state was put back, or Custody started in a folder that is not the platform's own (`state` in the host file, or what is to be mounted there)",
		"see [An older state was put back](#an-older-state-was-put-back)"},
	{ConsumerNewer, Person, "a consumer holds something newer than this state knows of", []Next{{"to go on with this state", next.AcceptRecovery()}},
		"an older state was put back: the consumer goes on with what it was given, and nothing is delivered over it", "see [An older state was put back](#an-older-state-was-put-back)"},
	{BackupFailed, Fault, "no backup could be made in {to} since {since}; the last good one there: {last}", []Next{{"to try it at once", next.Backup()}},
		"the folder is not mounted, full, or cannot be written; or there is no root recipient that is granted", mend + "; it is tried again every 10 minutes, and nothing else waits for it"},
	{BackupOld, Fault, "the last good backup in {to} is too old: {last}", []Next{{"to make one now", next.Backup()}},
		"backups fail, or none is made while the platform is recovering or nothing runs", mend},
	{OlderGrant, Person, "granted in the older state by {by}: {grant}; if that was revoked since, revoke it before you accept", []Next{{"to revoke it", next.Revoke("{revoke}")}},
		"nothing on the machine knows what was revoked after the older state", "run the command for what is not right"},
	{MachineFile, Person, "a file of this machine is not used, or can be read or changed by others", nil,
		"the host file changed since the process read it, others can write where only Custody should, or a document was sealed to a recipient that nobody granted", mend + ", then start Custody again"},
	{LooksUnended, Fault, "checking {secrets} has not ended since {since}; nothing is done with them meanwhile. If that does not change, start Custody again", nil,
		"parts that it asks answer very late, one after another, or the process waits for what never comes; every run goes on after a start where it was", "look at what those secrets need (their upstreams, mounts and programs); if they answer, start Custody again"},
	{EstateNotKept, Fault, "no copy of the estate in force could be kept", nil,
		"the copy is for starting while the estate does not lint; the estate is in force", "make room, or mend the cause; it is tried again"},
	{EstateNotInForce, Person, "the newest estate is not in force", []Next{toLint},
		"the Platform document has a fault, there is a cycle, or the folder cannot be read; the last good estate stays whole", "`custody lint`, mend, commit"},
	{CommitUnsigned, Person, "commit {commit} of branch {branch} is not believed, and {believed} stays in force: commit {unsigned} has no signature that counts", nil,
		"somebody who is not an allowed signer could push, or a signer forgot to sign", "sign it and push again, or add its signer to `git.signers` of the host file"},
	{CommitOlder, Person, "branch {branch} went back to commit {commit}, and the later {believed} stays in force", []Next{{"if it was meant to go back", next.AcceptCommit("{commit}")}},
		"the branch was reset, or an older copy of the repository was put back", "push a newer commit (`git revert` undoes one), or accept it"},
	{HistoryRewritten, Person, "commit {commit} of branch {branch} does not descend from {believed}, which stays in force", []Next{{"if the history was rewritten on purpose", next.AcceptCommit("{commit}")}},
		"somebody pushed with `--force`, or the host file names another repository or branch", "put the branch back, or look at the commit and accept it"},
	{CommitUnusable, Person, "commit {commit} of branch {branch} cannot be used, and {believed} stays in force", nil,
		"the folder is not there, it has a submodule or is too large, or the files of the signers are not used", mend},
	{EstateUnfetched, Fault, "branch {branch} of {repository} was last fetched: {since}; what was believed then stays in force", nil,
		"the server is away or refuses this host, or the branch is gone", mend},
	{FormNotInForce, Person, "the newest form of {document} is not in force since {since}, and the form before is", []Next{toLint},
		"it does not lint, or another document does not fit it; all others are in force as they are", "`custody lint`, mend, commit"},
	{RemovalNotInForce, Person, "the removal of {document} is not in force since {since}", []Next{toLint},
		"another document needs it, or a file that it may be in cannot be read", "take the reference out too, or mend the file"},
	{DocumentNotInForce, Person, "{document} is not in force since {since}, and has no form before", []Next{toLint}, "it is new, and does not lint", "`custody lint`, mend, commit"},
	{FileNotInForce, Person, "file {file} is not in force since {since}", []Next{toLint}, "it cannot be read; what was in it before stays", "`custody lint`, mend, commit"},
	{MoreNotInForce, Person, "the newest forms of {count} more documents are not in force", []Next{toLint}, "only the first are listed", "`custody lint`, mend, commit"},
	{RecordDoubtful, Person, "the record (audit log) has a finding", []Next{{"to look at all of it", next.VerifyRecord()}},
		"the record is not what was signed, or a place that keeps checkpoints or a copy is away or has more events", "delete nothing; mount the folder, or make the sink answer. A checkpoint of more events than the record has shows that an older state was put back"},
	{GrantsUnused, Person, "the grants file is not used as it is now; what it said before stays granted", nil,
		"others can change it, Git tracks it or is changing the work tree, it differed between two looks, or the platform is recovering", mend + "; it is looked at again within seconds"},
	{GrantsUnreadable, Person, "what was granted cannot be read, so what is not known to be granted waits", []Next{{"to grant anew what the estate asks for", next.Grant()}},
		"the authority's document of grants is damaged", "look at what is listed, then run the command: it is granted anew, by you. `grants.yaml` in the state folder is a copy of what was granted; or put the newest copy of the state folder back while no server runs"},
	{NotGranted, Person, "not granted: {what} ({kind} of {of}); {held}", []Next{toGrant},
		"a recipient; or a file for another user, group or folder, or that others can read", "look whether it is right, then grant it"},
	{NotGrantedUnborn, Person, "the platform has never run here, and it is not granted that {what} ({kind} of {of}); {held}; write it into the host's grants file now (`custody grant --help` shows one); or start `custody serve`, which holds it, and grant it then", nil,
		"a recipient; or a file for another user, group or folder, or that others can read", "look whether it is right, then write it into the grants file"},
	{FileLeft, Person, "{file} holds {contents}, and {why}", []Next{{"once nothing reads it", next.Withdraw("{withdraw}")}},
		"a consumer's path was changed, the consumer was removed, or its grant was revoked or never given; only `custody doctor` looks for some of these", "see that nothing reads it any more, then withdraw it; or grant it"},
	{FilesUnseen, Fault, "files that were delivered could not all be looked at", nil, "a folder cannot be read", mend},
	{AgentAway, Fault, "the agent on machine {machine} has not been connected since {since}; {consumers} consumers there get no new versions, and old ones are not revoked", []Next{{"to see which agents there are", next.Agents()}},
		"the machine or its agent is down, the network between the two is cut, or its certificate ended or was revoked", "start the agent again (its log says what it waits for). If the machine is gone for good, take its consumers out of the estate and revoke its agent"},
	{RequestUnreadable, Person, "a request cannot be read, and nothing is done for it; run the newer Custody that wrote it, or ask again", nil,
		"it was written by a newer Custody, or is damaged", "run the newer Custody, or ask again"},
	{AnswerNotNoted, Fault, "what its upstream says of the value of record could not be noted", nil, "doctor was answered, and the journal took nothing", mend},
	{ConsumerUnasked, Fault, "consumer {consumer} cannot be asked", nil, "doctor asks each consumer what it holds", mend},
	{ConsumerNotOnRecord, Fault, "consumer {consumer} holds another version than the one of record", []Next{{"to give it that", next.Deliver("{deliver}")}},
		"its file is gone, changed or older", "the command that is shown"},
	{AdminRefused, Person, "the upstream that it opens refuses it, so nothing can be rotated there; set a password of that account there by hand", []Next{toSupply},
		"nothing can be rotated there", "[An admin credential expired](#an-admin-credential-expired)"},
	{AdminUndecided, Fault, "the upstream that it opens does not say whether it accepts it", nil, "doctor signs in with it", await},
	{CredentialUntried, Normal, "a credential that may be refused was not tried, since its upstream locks accounts out", nil, "doctor tries none that may count as wrong", "with the run"},
	{TargetAway, Fault, "{target} has taken no message since {since}, and {count} findings wait to be told there", []Next{{"to try it", next.TestNotifications("{owner}")}},
		"the chat or the mail relay is away, refuses the message, or its URL or password cannot be read", mend + "; it is tried again, and what was open meanwhile is sent then"},
	{OwnerUnreached, Person, "nobody is told of findings of {owners}", []Next{{"to see who is told where", next.ListNotifications()}},
		"the host file names no target for the team, its contact is not an address in one of `contactDomains`, and there is no default", "name a target or a default under `notifications` in the host file, and start Custody again"},
	{VersionUndecided, Fault, "its upstream does not say whether it accepts version {version}", nil, "doctor signs in with each", await},
}
