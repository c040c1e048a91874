// SPDX-License-Identifier: Apache-2.0

package reason

import "custody.dev/custody/internal/next"

// Reasons of the platform as a whole, and what doctor finds.
const (
	Recovering               Code = "recovering"
	OlderGrant               Code = "older-grant"
	MachineFile              Code = "machine-file"
	LooksUnended             Code = "looks-unended"
	EstateNotKept            Code = "estate-not-kept"
	EstateNotInForce         Code = "estate-not-in-force"
	CommitUnsigned           Code = "commit-unsigned"
	CommitOlder              Code = "commit-older"
	HistoryRewritten         Code = "history-rewritten"
	CommitUnusable           Code = "commit-unusable"
	EstateUnfetched          Code = "estate-unfetched"
	FormNotInForce           Code = "form-not-in-force"
	RemovalNotInForce        Code = "removal-not-in-force"
	DocumentNotInForce       Code = "document-not-in-force"
	FileNotInForce           Code = "file-not-in-force"
	MoreNotInForce           Code = "more-not-in-force"
	RecordDoubtful           Code = "record-doubtful"
	GrantsUnused             Code = "grants-unused"
	GrantsUnreadable         Code = "grants-unreadable"
	NotGrantedBeforeFirstRun Code = "not-granted-before-first-run"
	NotGranted               Code = "not-granted"
	FileLeft                 Code = "file-left"
	FilesUnseen              Code = "files-unseen"
	AgentAway                Code = "agent-away"
	RequestUnreadable        Code = "request-unreadable"
	AnswerNotNoted           Code = "answer-not-noted"
	ConsumerUnasked          Code = "consumer-unasked"
	ConsumerNotOnRecord      Code = "consumer-not-on-record"
	AdminRefused             Code = "admin-refused"
	AdminUndecided           Code = "admin-undecided"
	CredentialUntried        Code = "credential-untried"
	VersionUndecided         Code = "version-undecided"
	TargetAway               Code = "target-away"
	OwnerUnreached           Code = "owner-unreached"
	ConsumerNewer            Code = "consumer-newer"
	BackupFailed             Code = "backup-failed"
	BackupOld                Code = "backup-old"
)

var ofPlatform = []Row{
	{Recovering, Person, "the platform is recovering", nil,
		"an older state was restored, or Custody started with another state folder (check `state` in the host file, and that its disk is mounted)",
		"see [An older state was restored](#an-older-state-was-restored)"},
	{ConsumerNewer, Person, "a consumer has a newer version than this state knows of", []Next{{"to continue with this state", next.AcceptRecovery()}},
		"an older state was restored: the consumer keeps its newer version, and nothing is delivered over it", "see [An older state was restored](#an-older-state-was-restored)"},
	{BackupFailed, Fault, "making backups in {to} has failed since {since}; the last good one there: {last}", []Next{{"to try again now", next.Backup()}},
		"the folder is not mounted, is full, or cannot be written; or no root recipient is granted", fix + "; Custody tries again every 10 minutes, and nothing else waits for it"},
	{BackupOld, Fault, "the last good backup in {to} is too old: {last}", []Next{{"to make one now", next.Backup()}},
		"backups fail, or the server is stopped or recovering and makes none", fix},
	{OlderGrant, Person, "the restored state has a grant by {by}: {grant}. If it was revoked after that state was saved, revoke it again before you accept", []Next{{"to revoke it", next.Revoke("{revoke}")}},
		"nothing on this machine records what was revoked after the restored state was saved", "run the command for each grant that should not be there"},
	{MachineFile, Person, "a file of this machine is not used, or other users can read or change it", nil,
		"the host file changed after the process read it, other users can write where only Custody may, or a document was sealed to a recipient that nobody granted", fix + ", then restart Custody"},
	{LooksUnended, Fault, "checking {secrets} has been running since {since}, so nothing else is done with them. If it does not end, restart Custody", nil,
		"an upstream, mount or program answers very late, or the process is stuck. After a restart every run resumes where it was", "check the upstreams, mounts and programs of those secrets; if all of them answer, restart Custody"},
	{EstateNotKept, Fault, "saving a copy of the estate in force failed", nil,
		"the estate is in force; Custody needs the copy only to start while the newest estate has faults", "free disk space, or fix the cause; Custody tries again"},
	{EstateNotInForce, Person, "the newest estate is not in force", []Next{toLint},
		"the Platform document has a fault, there is a cycle, or the folder cannot be read; all of the last good estate stays in force", "run `custody lint`, fix the faults, commit"},
	{CommitUnsigned, Person, "commit {commit} of branch {branch} is not used, and {believed} stays in force: commit {unsigned} has no valid signature of an allowed signer", nil,
		"somebody who is not an allowed signer pushed, or a signer forgot to sign", "sign it and push again, or add its signer to `git.signers` of the host file"},
	{CommitOlder, Person, "branch {branch} went back to commit {commit}, and the later {believed} stays in force", []Next{{"if it was reset on purpose", next.AcceptCommit("{commit}")}},
		"the branch was reset, or an older copy of the repository was restored", "push a newer commit (`git revert` undoes one), or accept it"},
	{HistoryRewritten, Person, "commit {commit} of branch {branch} does not descend from {believed}, which stays in force", []Next{{"if the history was rewritten on purpose", next.AcceptCommit("{commit}")}},
		"somebody pushed with `--force`, or the host file names another repository or branch", "restore the branch, or review the commit and accept it"},
	{CommitUnusable, Person, "commit {commit} of branch {branch} cannot be used, and {believed} stays in force", nil,
		"the estate's folder is missing, has a submodule or is too large; or the signers' files cannot be used", fix},
	{EstateUnfetched, Fault, "fetching branch {branch} of {repository} fails; last fetched: {since}. the last accepted commit stays in force", nil,
		"the server is unreachable or refuses this host, or the branch is gone", fix},
	{FormNotInForce, Person, "since {since} the newest version of {document} is not in force; the previous one is", []Next{toLint},
		"it has a fault, or conflicts with another document; all other documents are in force", "run `custody lint`, fix the faults, commit"},
	{RemovalNotInForce, Person, "since {since} the removal of {document} is not in force", []Next{toLint},
		"another document refers to it, or a file that may contain it cannot be read", "remove the reference too, or make the file readable"},
	{DocumentNotInForce, Person, "{document} has not been in force since {since}, and has no earlier version", []Next{toLint}, "it is new and has a fault", "run `custody lint`, fix the faults, commit"},
	{FileNotInForce, Person, "file {file} has not been in force since {since}", []Next{toLint}, "it cannot be read; its previous contents stay in force", "run `custody lint`, fix the faults, commit"},
	{MoreNotInForce, Person, "the newest versions of {count} more documents are not in force", []Next{toLint}, "only the first are listed", "run `custody lint`, fix the faults, commit"},
	{RecordDoubtful, Person, "the record (audit log) has a finding", []Next{{"to check all of it", next.VerifyRecord()}},
		"the record differs from what was signed; or a place with checkpoints or a copy is unreachable or has more events", "delete nothing; mount the folder, or make the sink reachable. A checkpoint with more events than the record shows that an older state was restored"},
	{GrantsUnused, Person, "the newest grants file is not used; what it granted before stays granted", nil,
		"other users can change it, Git tracks it or is changing the work tree, it changed while it was read, or the platform is recovering", fix + "; Custody reads it again within seconds"},
	{GrantsUnreadable, Person, "the grants cannot be read; anything not known to be granted waits", []Next{{"to grant again what the estate asks for", next.Grant()}},
		"the authority's document of grants is damaged", "run the command: it lists what the estate asks for and grants it again, in your name. Compare with `grants.yaml` in the state folder, a copy of the grants. Or stop the server and restore the newest copy of the state folder"},
	{NotGranted, Person, "not granted: {what} ({kind} of {of}); {held}", []Next{toGrant},
		"a recipient; or a file for another user, group or folder, or one that other users can read", "check that it is right, then grant it"},
	{NotGrantedBeforeFirstRun, Person, "the platform has never run here, and nobody has granted that {what} ({kind} of {of}); {held}. Write the grant into the host's grants file now (`custody grant --help` has an example); or start `custody serve`, which waits with this part, and grant it then", nil,
		"a recipient; or a file for another user, group or folder, or one that other users can read", "check that it is right, then write it into the grants file"},
	{FileLeft, Person, "{file} holds {contents}, and {why}", []Next{{"to remove it, once nothing reads it", next.Withdraw("{withdraw}")}},
		"a consumer's path was changed, the consumer was removed, or its grant was revoked or never given; only `custody doctor` looks for some of these", "check that nothing reads it any more, then remove it with the command that is shown; or grant it"},
	{FilesUnseen, Fault, "checking delivered files: some could not be read", nil, "a folder cannot be read", fix},
	{AgentAway, Fault, "the agent on machine {machine} has not been connected since {since}; its {consumers} consumers get no new versions, and old credentials are not revoked", []Next{{"to list the agents", next.Agents()}},
		"the machine or its agent is down, the network between them is cut, or its certificate expired or was revoked", "start the agent again; its log says what it waits for. If the machine is gone for good, remove its consumers from the estate and revoke its agent"},
	{RequestUnreadable, Person, "a stored request cannot be read and has no effect; run the newer Custody that wrote it, or make the request again", nil,
		"it was written by a newer Custody, or is damaged", "run the newer Custody, or make the request again"},
	{AnswerNotNoted, Fault, "storing the upstream's answer about the current value failed", nil, "doctor got an answer, but writing it to the journal failed", fix},
	{ConsumerUnasked, Fault, "checking what consumer {consumer} has failed", nil, "doctor checks each consumer", fix},
	{ConsumerNotOnRecord, Fault, "consumer {consumer} does not have the current version", []Next{{"to deliver it", next.Deliver("{deliver}")}},
		"its file is missing, changed or older", "run the command that is shown"},
	{AdminRefused, Person, "the upstream refuses this admin credential, so nothing can be rotated there; set a new password for the account there by hand", []Next{toSupply},
		"the admin credential expired, or somebody changed it", "[An admin credential expired](#an-admin-credential-expired)"},
	{AdminUndecided, Fault, "a test sign-in with this admin credential gave no clear answer", nil, "doctor signs in with each admin credential", await},
	{CredentialUntried, Normal, "one credential was not tested: its upstream locks accounts after wrong sign-ins", nil, "doctor makes no sign-in that may count as wrong", "when the run has ended"},
	{TargetAway, Fault, "{target} has accepted no message since {since}; {count} findings wait to be sent there", []Next{{"to send a test message", next.TestNotifications("{owner}")}},
		"the chat or mail relay is unreachable or refuses the message, or its URL or password cannot be read", fix + "; Custody tries again, and then sends what is still open"},
	{OwnerUnreached, Person, "nobody is notified of the findings of {owners}", []Next{{"to list who is notified where", next.ListNotifications()}},
		"the host file names no target for the team, its contact is not an address in one of `contactDomains`, and there is no default", "name a target or a default under `notifications` in the host file, and restart Custody"},
	{VersionUndecided, Fault, "a test sign-in with version {version} gave no clear answer", nil, "doctor signs in with each version", await},
}
