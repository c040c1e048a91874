// SPDX-License-Identifier: Apache-2.0

// Package server is Custody's own interface: one HTTP handler for one Service. `custody serve` listens with it on a
// Unix socket. A command that finds no server takes the lock of the state folder and calls the same handler in its own
// process, so both ways do the same. No answer ever contains a value. Health and metrics have a listener of their own,
// on loopback.
package server

import (
	"context"
	"iter"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/invariant"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/phase"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
)

// Service is what can be asked of a running platform. By names who asks, as the operating system knows them.
type Service interface {
	// Status has the rows and the findings of those secrets alone that the filter takes. All else in it is of the whole.
	Status(ctx context.Context, filter Filter) (Status, error)
	// Inventory yields rows as they were when it was called.
	Inventory(ctx context.Context, filter Filter) (iter.Seq[inventory.Row], error)
	Explain(ctx context.Context, secretName string) (Explanation, error)
	Plan(ctx context.Context, filter Filter) ([]Step, error)
	// Rotate submits a request, durable before it returns; a repeated id changes nothing.
	Rotate(ctx context.Context, by string, ask RotateRequest) (trigger.Request, error)
	Runs(ctx context.Context, secretName string) ([]Run, error)
	Run(ctx context.Context, id authority.RunID) (Run, error)
	Abort(ctx context.Context, by string, id authority.RunID, reason string) error
	// Force waives what a run is missing now and a person may waive, and says what that is.
	Force(ctx context.Context, by string, id authority.RunID, reason string) (waived []string, err error)
	// Supply hands in a value of a secret: to the run that waits for it, or to one that begins with it, and returns the run.
	Supply(ctx context.Context, by, secretName, reason string, v secret.Value) (authority.RunID, error)
	// IntakeKey is the public key that values for this platform are sealed to; the first call makes it. SupplySealed takes a value that was
	// sealed to it, as Supply does; the same file again gives the same run. See package intake.
	IntakeKey(ctx context.Context, by string) (IntakeKey, error)
	SupplySealed(ctx context.Context, by, secretName, reason string, file []byte) (authority.RunID, error)
	// DecideForeign ends what somebody else's write to the path of a secret began: choice is adopt or revert, see
	// rotation.Engine. It returns the run that does it; repeated, the same.
	DecideForeign(ctx context.Context, by, secretName, choice, reason string) (authority.RunID, error)
	// Deliver gives consumers of a secret the version of record again: the one that is named, or all with "".
	Deliver(ctx context.Context, by, secretName, consumer string) ([]orchestrator.Delivery, error)
	// Retire ends a secret that the estate no longer declares: the request is durable before it returns, and a repeated one takes
	// the place of the earlier. With dry it says what would be done. See orchestrator.Retire.
	Retire(ctx context.Context, by, secretName string, ask RetireRequest) (Retirement, error)
	// Withdraw removes a file, by its absolute name, that was delivered and that nobody is to read any more; with dry it says
	// what it would remove.
	Withdraw(ctx context.Context, by, file, reason string, dry bool) (Leftover, error)
	// EnrollBootstrap gives this machine a bootstrap identity for a while, so that a first value can be handed over that is sealed late; on
	// record before it is made. Where the machine has one, that is the answer, and nothing changes.
	EnrollBootstrap(ctx context.Context, by, reason string, lasts time.Duration) (Enrollment, error)
	// InviteAgent makes a one-time token by which the agent of a machine enrolls; see identity.Book. Agents lists the machines, and
	// RevokeAgent takes a machine's right to be sent anything away; it reports whether the machine had one.
	InviteAgent(ctx context.Context, by, machine, reason string, lasts time.Duration) (Invitation, error)
	Agents(ctx context.Context) ([]Agent, error)
	RevokeAgent(ctx context.Context, by, machine, reason string) (bool, error)
	ConfirmClock(ctx context.Context, by string) error
	// AcceptCommit believes the newest commit of the estate's branch although it is older than the one before, or does not
	// descend from it.
	AcceptCommit(ctx context.Context, by, reason, commit string) (Source, error)
	// EstateFiles are those of the estate in force, as they are kept; see intent.Files.All. They hold no plaintext.
	EstateFiles(ctx context.Context) (map[string][]byte, error)
	// AcceptRecovery goes on with an older state that was restored, and says what becomes of each secret. It sets
	// how.Open and how.Estate itself.
	AcceptRecovery(ctx context.Context, by, reason string, how recovery.How) (recovery.Report, error)
	// Backup makes a backup in a folder of the server's machine, that of the host file with "". Each call makes another.
	Backup(ctx context.Context, by, to string) (Backup, error)
	Doctor(ctx context.Context) (Diagnosis, error)
	// Granted says what the operator granted, and what the estate in force asks for besides.
	Granted(ctx context.Context) (Grants, error)
	// Grant and Revoke change that, durably and on record before they return; they return what was changed.
	Grant(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error)
	Revoke(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error)
	// Notifications says who is told of what. TestNotification sends a test message to where a team is told, or the default with "";
	// each call sends again.
	Notifications(ctx context.Context) (notify.Listing, error)
	TestNotification(ctx context.Context, by, team string) ([]notify.Tried, error)
	Audit(ctx context.Context, filter audit.Filter) ([]audit.Event, error)
	// Settle takes the platform as far as it will go now: for commands that find no server. done is asked between ticks.
	Settle(ctx context.Context, done func() bool) error
	// Ready says why the platform is not ready, "" when it is.
	Ready(ctx context.Context) string
}

// Status answers: which phase, on what evidence, what it waits for, who holds authority over each secret.
type Status struct {
	Platform    string         `json:"platform"`
	Environment string         `json:"environment"`
	Authority   string         `json:"authority"`
	Incarnation string         `json:"incarnation,omitempty"`
	Standing    phase.Standing `json:"standing"`
	// Estate in force, and since when in the server's process; zero without a server. Fault says why a newer one is not.
	Estate      string    `json:"estate"`
	EstateSince time.Time `json:"estateSince,omitzero"`
	// Source is where the estate is fetched from; nil where it is read from a folder.
	Source *Source `json:"source,omitempty"`
	// Findings want a person's eye. They never hold a value.
	Findings []Finding       `json:"findings,omitempty"`
	Secrets  []inventory.Row `json:"secrets"`
	Serving  bool            `json:"serving"`
	// Oldest is when the secret was looked at whose last look is the longest ago, and Unlooked how many were not looked at since
	// the server started. Without a server everything is as it was when the question was asked.
	Oldest   time.Time `json:"oldest,omitzero"`
	Unlooked int       `json:"unlooked,omitempty"`
}

// Source is the repository that the estate is fetched from.
type Source struct {
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	// Commit is believed, since Believed; Signer is who signed it, "" where no signature is asked for.
	Commit   string    `json:"commit,omitempty"`
	Signer   string    `json:"signer,omitempty"`
	Believed time.Time `json:"believed,omitzero"`
	// Head is what the branch pointed to when it was fetched last. Failed says why it could not be fetched since.
	Head    string    `json:"head,omitempty"`
	Fetched time.Time `json:"fetched,omitzero"`
	Failed  string    `json:"failed,omitempty"`
}

// Finding is something that a person should look at: its code and parameters, and what the catalogue says of it.
type Finding struct {
	// Secret is the one that it is about, "" where it is about the platform.
	Secret string `json:"secret,omitempty"`
	reason.Shown
}

// NewFinding is the finding of a reason about a secret, "" for the platform.
func NewFinding(secret string, why reason.Reason) Finding { return Finding{secret, *why.Show()} }

// String is the finding in a line.
func (f Finding) String() string {
	if f.Secret == "" {
		return f.Text
	}
	return f.Secret + ": " + f.Text
}

// Explanation is all about one secret.
type Explanation struct {
	inventory.Row
	Next string `json:"next"`
	// Fields names those of its value.
	Fields []string `json:"fields,omitempty"`
	// Policy that is enforced, Events of its last run.
	Enforced *journal.Policy `json:"enforced,omitempty"`
	Events   []audit.Event   `json:"events,omitempty"`
	// Adopted is the decision by which its value was taken over from somebody else; nil where Custody made it or was given it.
	Adopted *journal.Decision `json:"adopted,omitempty"`
}

// Step is one thing that would happen next.
type Step struct {
	Secret string    `json:"secret"`
	What   string    `json:"what"`
	Why    string    `json:"why"`
	When   time.Time `json:"when,omitzero"` // zero: now
	// Due is when the clock asks for it, windows and caps aside, and Jitter how much earlier than its policy says that is, so that
	// secrets made together do not rotate together. Window is when its maintenance window opens; zero where none is waited for.
	Due    time.Time     `json:"due,omitzero"`
	Jitter time.Duration `json:"jitter,omitempty"`
	Window time.Time     `json:"window,omitzero"`
	// Held says what stops it.
	Held *reason.Shown `json:"held,omitempty"`
}

// RotateRequest asks for a rotation.
type RotateRequest struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Reason string `json:"reason"`
	// Compromised: somebody else may have the credential.
	Compromised bool `json:"compromised,omitempty"`
}

// RetireRequest asks for the end of a secret that the estate no longer declares.
type RetireRequest struct {
	Reason string `json:"reason"`
	// WithoutRevoking and AlthoughUsed are as in journal.Asked.
	WithoutRevoking bool `json:"withoutRevoking,omitempty"`
	AlthoughUsed    bool `json:"althoughUsed,omitempty"`
	Dry             bool `json:"dry,omitempty"`
}

// Retirement says what the end of a secret takes along.
type Retirement struct {
	Secret string    `json:"secret"`
	Since  time.Time `json:"since,omitzero"` // since when it is not declared
	// Files and other consumers that lose it, by name; Upstream is asked to refuse it, "" for none.
	Consumers []string `json:"consumers,omitempty"`
	Upstream  string   `json:"upstream,omitempty"`
	// Version of record, whose value is destroyed with those before it.
	Version string `json:"version,omitempty"`
	// Grace is how long after that it is revoked.
	Grace string `json:"grace,omitempty"`
}

// Enrollment is the bootstrap identity of a machine. It never holds the private key.
type Enrollment struct {
	// Recipient is the public key, to which values are sealed, and File where the private one is.
	Recipient string `json:"recipient"`
	File      string `json:"file"`
	// Environment is the one of this machine, whose recipient that is to be, and Former the recipient that the estate names for it now.
	Environment string `json:"environment"`
	Former      string `json:"former,omitempty"`
	// Until is when it is removed if nothing waits for it then; zero where it is not temporary.
	Until time.Time `json:"until,omitzero"`
	// Already: it was there before, and nothing was changed.
	Already bool `json:"already,omitempty"`
}

// Run is one run, live or ended, with its transitions on record.
type Run struct {
	ID       authority.RunID  `json:"id"`
	Secret   string           `json:"secret"`
	Path     authority.Path   `json:"path"`
	Workflow journal.Workflow `json:"workflow"`
	// Result is live, completed, undone or superseded.
	Result  string        `json:"result"`
	Step    string        `json:"step"`
	By      string        `json:"by"`
	Reason  string        `json:"reason"`
	Detail  string        `json:"detail,omitempty"`
	Waiting *reason.Shown `json:"waiting,omitempty"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended,omitzero"`
	Events  []audit.Event `json:"events,omitempty"`
	// Compromise is set for a run that replaces a compromised credential, while the journal has it: until the next run ends.
	Compromise *journal.Compromise `json:"compromise,omitempty"`
	// Revocation is how long it took from the report to the refusal of the old credential, in nanoseconds; 0 while it is not refused.
	Revocation time.Duration `json:"timeToRevocation,omitempty"`
}

// Diagnosis is what doctor found.
type Diagnosis struct {
	// Checked says what was looked at, so that silence can be told from blindness.
	Checked    []string              `json:"checked"`
	Violations []invariant.Violation `json:"violations,omitempty"`
	// Findings want a person's eye but break nothing.
	Findings []Finding `json:"findings,omitempty"`
}

// Backup is one that was made: it is complete, synced and was read back.
type Backup struct {
	Name   string `json:"name"`
	Folder string `json:"folder"`
	Bytes  int64  `json:"bytes"`
	// SHA256 is that of the file, in hexadecimal.
	SHA256 string    `json:"sha256"`
	Made   time.Time `json:"made"`
	// Events is how many the record in it has.
	Events      uint64 `json:"events"`
	Incarnation string `json:"incarnation"`
	// Recipients can open it.
	Recipients []string `json:"recipients"`
	// Removed are older backups that were more than are kept.
	Removed []string `json:"removed,omitempty"`
}

// Leftover is a file that was delivered and that nobody is to read any more, with its stamp.
type Leftover struct {
	File  string `json:"file"`
	Stamp string `json:"stamp"`
	// Secret is a name, or the path of one that is not known by name.
	Secret  string              `json:"secret"`
	Path    authority.Path      `json:"path"`
	Version authority.VersionID `json:"version"`
	// OfRecord: it is the version of record.
	OfRecord bool `json:"ofRecord,omitempty"`
	// Why nobody is to read it. Barred: a consumer of the estate is for that file, and may not have it.
	Why    string `json:"why"`
	Barred bool   `json:"barred,omitempty"`
}

// Contents says for people what is in the file.
func (l Leftover) Contents() string {
	if l.OfRecord {
		return "the current value of " + l.Secret
	}
	return "an earlier value of " + l.Secret
}

// Grants are what the operator granted, and what the estate in force asks for besides.
type Grants struct {
	Granted []grant.Entry `json:"granted"`
	Missing []grant.Need  `json:"missing,omitempty"`
	// Fault says what is wrong with where they are read from, "" when nothing is.
	Fault string `json:"fault,omitempty"`
	// Damaged: what was granted cannot be read, and granting anything, or nothing, begins it anew.
	Damaged bool `json:"damaged,omitempty"`
}
