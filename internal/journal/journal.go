// SPDX-License-Identifier: Apache-2.0

// Package journal stores what Custody itself must remember about each secret: one document for each secret, in the
// authority, changed only by compare-and-set. It has the Entry (history, live run, enforced policy) and the values of
// the run before they are promoted; see Held.
//
// Because there is one document, a secret has at most one live run, and closing a run, its outcome, the next due time
// and the removal of its values change together or not at all. A writer that loses the race gets ErrSuperseded and must
// load again, so a late write cannot bring back a value.
//
// The values are inside the document; the authority encrypts documents like values. They leave this package only as
// secret.Value.
//
// Cost: Load and LoadHeld are one read. Save and SaveHeld are one write of about a kilobyte plus the run's values (at
// most 64 KiB each for the old value and the candidate); Save also reads once while there are any. All is one listing,
// and one read for each entry.
package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/reason"
)

// Schema is the number every document carries. Newer ones are refused; every older one can be read.
const Schema = 3

const keyPrefix = "secret/"

var (
	// ErrSuperseded: another engine changed the entry since it was loaded. Nothing was written.
	ErrSuperseded = errors.New("superseded by another engine")
	// ErrBehind: a listing or a value that was read does not show what was stored before it, so nothing follows from it. A later
	// one will show it.
	ErrBehind = errors.New("the authority does not show yet what was written to it")
	// ErrUnreadable: the entry is there and cannot be decoded, be it damaged or of a newer Custody.
	ErrUnreadable = errors.New("unreadable journal record")
	// ErrNewerSchema: the entry was written by a newer Custody.
	ErrNewerSchema = errors.New("written by a newer version of custody")
)

// Entry is everything remembered about one secret. It never holds a value.
type Entry struct {
	Schema int            `json:"schema"`
	Secret string         `json:"secret"` // its name when last written; see Rename
	Path   authority.Path `json:"path"`
	// Former are the names it had before.
	Former []string `json:"former,omitempty"`

	// Tombstone says that handover happened. It outranks Git for ever.
	Tombstone *Tombstone `json:"tombstone,omitempty"`
	// Policy is the copy that is enforced.
	Policy *Policy `json:"policy,omitempty"`
	// Enforcing names the record that Policy is enforced, while that may not be in yet.
	Enforcing authority.RunID `json:"enforcing,omitempty"`
	// Tried: a sign-in with the bootstrap value was begun that may count as a wrong one, and none has been accepted since.
	Tried bool `json:"tried,omitempty"`
	// Upstream is the one that may know the secret's values, "" for none; nil where it was never noted. See Pin.
	Upstream *string `json:"upstream,omitempty"`
	// Places are where its values may be known through consumers; nil where that was never noted. See PinPlaces.
	Places []string `json:"places,omitzero"`
	// Rotated is when the current version was promoted or handed over.
	Rotated time.Time `json:"rotated,omitzero"`
	// Current is the version of record.
	Current *authority.VersionID `json:"current,omitempty"`
	// Inputs are what a derived value was computed from, by the names its formula gives them, and Formula the digest of that.
	Inputs  map[string]Input `json:"inputs,omitempty"`
	Formula string           `json:"formula,omitempty"`
	// Onboarded: a credential that was never given to the upstream was refused there.
	Onboarded bool `json:"onboarded,omitempty"`
	// Checked is how the last sign-in with the value of record between runs was answered.
	Checked *Checked `json:"checked,omitempty"`
	// Last is how the last run ended.
	Last *Outcome `json:"last,omitempty"`
	// Live is the run in hand.
	Live *Run `json:"live,omitempty"`
	// QuietUntil: a call of an ended run may still land until then; no run touches the account before.
	QuietUntil time.Time `json:"quietUntil,omitzero"`
	// Changing are the newest runs that may have changed the account upstream, oldest first: its marker names one of them, or
	// the last run, or none. Taken is what it named else when a person let the account be changed.
	Changing []authority.RunID `json:"changing,omitempty"`
	Taken    []string          `json:"taken,omitempty"`
	// Retry is the back-off after failed runs.
	Retry *Retry `json:"retry,omitempty"`
	// Expiry is when the issuer ends a value, as the estate declares it.
	Expiry *Expiry `json:"expiry,omitempty"`
	// Ends is when the value of record ends by what the value itself says; see EndsNow.
	Ends *Ends `json:"ends,omitempty"`
	// Recovery is what is not known of the version of record since an older state was put back; see RecoveryNow.
	Recovery *Recovery `json:"recovery,omitempty"`
	// Leaving is set while the estate does not declare the secret, and Gone once it was retired.
	Leaving *Leaving `json:"leaving,omitempty"`
	Gone    *Gone    `json:"gone,omitempty"`
	// Decided is what was decided about the last value that somebody else wrote to the secret's path.
	Decided *Decision `json:"decided,omitempty"`

	// Fault says why the entry cannot be read, when All lists it nevertheless. Then nothing but Path is known, and the names
	// where what is stored still tells them.
	Fault error `json:"-"`

	revision authority.Revision
	// valued: the document holds values beside the entry.
	valued bool
}

// Checked is the newest answer to a sign-in with the value of record. What decides nothing is none.
type Checked struct {
	Version authority.VersionID `json:"version"`
	At      time.Time           `json:"at"`
	Refused bool                `json:"refused,omitempty"`
	// Since is when the upstream was first found to answer so, and Tries how often it refused since.
	Since time.Time `json:"since"`
	Tries int       `json:"tries,omitempty"`
	// Owed names the record of a change of the answer, while that may not be in yet.
	Owed authority.RunID `json:"owed,omitempty"`
	// By is who asked, "" where that was the policy's verifyEvery.
	By string `json:"by,omitempty"`
}

// CheckedNow is Checked if it is about the version of record, else nil.
func (e *Entry) CheckedNow() *Checked {
	if e.Checked == nil || e.Current == nil || e.Checked.Version != *e.Current {
		return nil
	}
	return e.Checked
}

// Expiry is an end of life that the issuer set.
type Expiry struct {
	At time.Time `json:"at"`
	// Version is the one that was of record when it was declared; nil where it may be about the one after it as well, because
	// it was changed while that one stayed.
	Version *authority.VersionID `json:"version,omitempty"`
}

// Declare notes that the estate declares at, zero for none, and reports whether that is news.
func (e *Entry) Declare(at time.Time) bool {
	switch before := e.Expiry; {
	case at.IsZero():
		e.Expiry = nil
		return before != nil
	case before != nil && before.At.Equal(at):
		return false
	case before != nil && before.Version != nil && e.Current != nil && *before.Version == *e.Current:
		e.Expiry = &Expiry{At: at}
	default:
		e.Expiry = &Expiry{At: at, Version: e.Current}
	}
	return true
}

// Outlived reports whether the value that is to end at was replaced since that was declared.
func (e *Entry) Outlived(at time.Time) bool {
	x := e.Expiry
	return x != nil && x.At.Equal(at) && x.Version != nil && e.Current != nil && *x.Version != *e.Current
}

// Ends is the end of life that was read from one version of the value.
type Ends struct {
	Version authority.VersionID `json:"version"`
	At      time.Time           `json:"at"`
	// By is what it was read from; see expiry.End.
	By string `json:"by"`
}

// EndsNow is Ends if it was read from the version of record, else nil.
func (e *Entry) EndsNow() *Ends {
	if e.Ends == nil || e.Current == nil || e.Ends.Version != *e.Current {
		return nil
	}
	return e.Ends
}

// Recovery says that something newer than the version of record may be in use outside: it is delivered to nobody, and the
// clock alone replaces nothing.
type Recovery struct {
	// Run is the acceptance of the older state that found it.
	Run authority.RunID `json:"run"`
	// Version is the one that it is about; nil where the authority holds none.
	Version *authority.VersionID `json:"version,omitempty"`
	// Reason says what was found, and who ends it: a person, or a run by itself.
	Reason reason.Reason `json:"reason"`
	// Newer says which consumer was found to hold something newer.
	Newer string `json:"newer,omitempty"`
	// Refused: the upstream refused the version of record when it was asked.
	Refused bool `json:"refused,omitempty"`
	// Pending is the run of the older state whose candidate may be in use, "" when there is none. It is kept until then.
	Pending authority.RunID `json:"pending,omitempty"`
}

// RecoveryNow is Recovery while it is about the version of record, else nil: a run ends it by promoting another.
func (e *Entry) RecoveryNow() *Recovery {
	switch r := e.Recovery; {
	case r == nil, (r.Version == nil) != (e.Current == nil), r.Version != nil && *r.Version != *e.Current:
		return nil
	default:
		return r
	}
}

// Replaced reports whether a run replaces the value by itself.
func (r *Recovery) Replaced() bool { return r.Reason.Is(reason.RecoveryReplaces) }

// Tombstone is the proof that a bootstrap value was handed over.
type Tombstone struct {
	Run      authority.RunID `json:"run"`
	Document string          `json:"document"`
	At       time.Time       `json:"at"`
}

// Policy is a rotation policy as enforced. Durations are nanoseconds.
type Policy struct {
	Name            string        `json:"name,omitempty"`
	RotationType    string        `json:"rotationType"` // static, time or event
	TTL             time.Duration `json:"ttl,omitempty"`
	RotateBefore    time.Duration `json:"rotateBefore,omitempty"`
	RevokeOld       bool          `json:"revokeOld"`
	MaxOverlap      time.Duration `json:"maxOverlap,omitempty"`
	FailureStrategy string        `json:"failureStrategy,omitempty"` // retry, alert or hold
	Settle          time.Duration `json:"settle,omitempty"`
	QuietWindow     time.Duration `json:"quietWindow,omitempty"`
	Jitter          time.Duration `json:"jitter,omitempty"`
	Windows         []Window      `json:"windows,omitempty"`
	// VerifyEvery is the most time between two sign-ins with the value of record; 0 for none between runs.
	VerifyEvery time.Duration `json:"verifyEvery,omitempty"`
	// RetireAfter is how long after its removal from the estate a secret is retired without a person; 0 for never.
	RetireAfter time.Duration `json:"retireAfter,omitempty"`
	// RetireGrace is how long after it was taken from its consumers a retired credential is revoked.
	RetireGrace time.Duration `json:"retireGrace,omitempty"`
	// OnCompromise is nil where the policy says nothing of that.
	OnCompromise *OnCompromise `json:"onCompromise,omitempty"`
	// OnForeignWrite decides about a value that somebody else wrote: hold, adopt or revert; "" is hold.
	OnForeignWrite string `json:"onForeignWrite,omitempty"`
}

// Window is a weekly maintenance window.
type Window struct {
	Days     []time.Weekday `json:"days,omitempty"` // none means all
	Start    time.Duration  `json:"start"`          // after local midnight
	Duration time.Duration  `json:"duration"`
	Zone     string         `json:"zone"` // IANA name
}

// Workflow is what a run carries out.
type Workflow string

// The workflows.
const (
	Handover Workflow = "handover"
	Rotation Workflow = "rotation"
	// Derivation computes a value from others.
	Derivation Workflow = "derivation"
)

// Step is how far a run has come. Each names what is done.
type Step string

// The steps of a rotation in order, those of a handover, and Undoing, which a rotation may take instead of Promoted.
const (
	Planned   Step = "planned"
	Staged    Step = "staged"
	Applied   Step = "applied"
	Verified  Step = "verified"
	Promoted  Step = "promoted"
	Delivered Step = "delivered"
	Revoked   Step = "revoked"
	Completed Step = "completed"

	Undoing Step = "undoing"
	Undone  Step = "undone"

	Written    Step = "written"
	ReadBack   Step = "read-back"
	Tombstoned Step = "tombstoned"
	Consumed   Step = "consumed"
)

// Result is how a run ended.
type Result string

// The results.
const (
	ResultCompleted Result = "completed"
	// ResultUndone: the run was taken back.
	ResultUndone Result = "undone"
	// ResultSuperseded: the run of a compromise took its place once it had promoted, with what it had not revoked.
	ResultSuperseded Result = "superseded"
)

// Input is a version of a secret that another is computed from.
type Input struct {
	Path    authority.Path      `json:"path"`
	Version authority.VersionID `json:"version"`
}

// Before reports whether i is an earlier version of the same history than known.
func (i Input) Before(known Input) bool {
	return i.Path == known.Path && i.Version.Incarnation == known.Version.Incarnation && i.Version.Number < known.Version.Number
}

// Run is the live run. The step in the journal may lag behind the real one wherever the parts themselves tell.
type Run struct {
	ID       authority.RunID `json:"id"`
	Workflow Workflow        `json:"workflow"`
	Step     Step            `json:"step"`
	Trigger  Trigger         `json:"trigger"`
	Started  time.Time       `json:"started"`
	// Policy is pinned when the run is planned; later changes only tighten it, see rotation.Tighten.
	Policy Policy `json:"policy"`
	// Base is the version that the candidate follows, 0 for none.
	Base authority.Version `json:"base"`
	// Over is the version that the promoted value follows where that is not Base: one that this run promoted before, which the
	// upstream refused later, and in whose place a person handed in another.
	Over authority.Version `json:"over,omitempty"`
	// Compromise is set where the run replaces a compromised credential.
	Compromise *Compromise `json:"compromise,omitempty"`
	// Supersedes is the run whose place this one took, and Older are the versions before Base that it had not revoked.
	Supersedes authority.RunID     `json:"supersedes,omitempty"`
	Older      []authority.Version `json:"older,omitempty"`
	// Refused: the upstream refuses what this run promoted, or is to promote, which it accepted before.
	Refused bool `json:"refused,omitempty"`
	// Before names the credentials that existed upstream before one was issued, for kinds that can only list them.
	Before []string `json:"before,omitempty"`
	// Group is the run of the group's leader, for members of a group; see rotation.Subject.
	Group authority.RunID `json:"group,omitempty"`
	// Leader and Members are the paths of that group when its run was planned.
	Leader  authority.Path   `json:"leader,omitempty"`
	Members []authority.Path `json:"members,omitempty"`
	// Inputs and Formula are those of a derivation; see Entry.
	Inputs  map[string]Input `json:"inputs,omitempty"`
	Formula string           `json:"formula,omitempty"`
	// Digest of the candidate under the path's digest key.
	Digest []byte `json:"digest,omitempty"`
	// CallBy: no effect of any call begun so far can land after it.
	CallBy time.Time `json:"callBy,omitzero"`
	// PromoteBy: until then the candidate, which was accepted shortly before, may be promoted without asking for it again, and no
	// write that promotes it lands after it.
	PromoteBy time.Time `json:"promoteBy,omitzero"`
	// WithdrawnAt is when a retirement had taken the secret from every consumer.
	WithdrawnAt time.Time `json:"withdrawnAt,omitzero"`
	// Revoking: a retirement may have asked the upstream to refuse a value.
	Revoking bool `json:"revoking,omitempty"`
	// Turn tells the process that staged the run from every other: two that write the same bytes at the same instant
	// would both win the compare-and-set, and each would believe that nobody called upstream before it.
	Turn authority.RunID `json:"turn,omitempty"`
	// Supplied says who handed in its value and why, "" for nobody. It is on record before the run goes on.
	Supplied string `json:"supplied,omitempty"`
	// Undo says why the run is taken back.
	Undo string `json:"undo,omitempty"`
	// Aborted: a person had the run taken back.
	Aborted bool `json:"aborted,omitempty"`
	// Waived is what a person waived of it, and Forced who did so last and why; see rotation.Engine.Force.
	Waived []Waiver `json:"waived,omitempty"`
	Forced string   `json:"forced,omitempty"`
	// Waiting says what the run waits for, when it waits for long.
	Waiting *Waiting `json:"waiting,omitempty"`
}

// Follows is the version that the run's value is written over.
func (r *Run) Follows() authority.Version { return max(r.Base, r.Over) }

// Waiting is a reason to wait and since when.
type Waiting struct {
	Reason reason.Reason `json:"reason"`
	Since  time.Time     `json:"since"`
	// Uses names who still uses the old credential, where that is what the run waits for.
	Uses []string `json:"uses,omitempty"`
}

// Trigger is why a run began.
type Trigger struct {
	Kind     string   `json:"kind"` // time, event, manual, compromise, first, handover, supply, adopt or revert
	By       string   `json:"by"`
	Reason   string   `json:"reason"`
	Requests []string `json:"requests,omitempty"`
	// At is when the first request that reports a compromise was acknowledged.
	At time.Time `json:"at,omitzero"`
}

// Outcome is how a run ended.
type Outcome struct {
	Run      authority.RunID `json:"run"`
	Workflow Workflow        `json:"workflow"`
	Result   Result          `json:"result"`
	Trigger  Trigger         `json:"trigger"`
	Detail   string          `json:"detail,omitempty"`
	// Aborted: a person had the run taken back, and with it the requests that it had taken.
	Aborted bool `json:"aborted,omitempty"`
	// Older are what a run that was undone had taken over and not revoked; the next one takes it over. Else see Run.
	Older []authority.Version `json:"older,omitempty"`
	// Waived, Forced and Compromise are the run's.
	Waived     []Waiver    `json:"waived,omitempty"`
	Forced     string      `json:"forced,omitempty"`
	Compromise *Compromise `json:"compromise,omitempty"`
	// Group is the run of the group's leader.
	Group   authority.RunID `json:"group,omitempty"`
	Started time.Time       `json:"started"`
	Ended   time.Time       `json:"ended"`
	// Spent are the versions whose values are destroyed once the run is closed. Whoever looks next does it, and who does not
	// know that it was done does it again.
	Spent []authority.Version `json:"spent,omitempty"`
}

// Retry is a persisted back-off.
type Retry struct {
	Attempts  int       `json:"attempts"`
	NotBefore time.Time `json:"notBefore"`
	Reason    string    `json:"reason"`
	// Held: only a person's request starts another run.
	Held bool `json:"held,omitempty"`
}

// Entries is the port of those who act on one secret: its entry, under compare-and-set. The values of its run are not to be had by it.
type Entries interface {
	// Load returns the entry of the secret at path, a new one where none was stored.
	Load(ctx context.Context, path authority.Path) (*Entry, error)
	// Save stores an entry that was loaded and changed; ErrSuperseded when somebody else stored another meanwhile.
	Save(ctx context.Context, entry *Entry) error
}

// Listing is the port of those who act on all secrets, or answer questions about them.
type Listing interface {
	Entries
	All(ctx context.Context) ([]*Entry, error)
}

// Documents is what the journal needs of an authority.
type Documents interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Journal loads and saves documents.
type Journal struct {
	documents Documents
	seen      func(*Entry) // nil for nobody
}

// New returns the journal kept in documents.
func New(documents Documents) *Journal { return &Journal{documents: documents} }

// Load returns the entry for path; one that was never saved comes back fresh.
func (j *Journal) Load(ctx context.Context, path authority.Path) (*Entry, error) {
	document, err := j.documents.Get(ctx, keyPrefix+string(path))
	if errors.Is(err, authority.ErrNotFound) {
		return &Entry{Schema: Schema, Path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading journal of %s: %w", path, err)
	}
	found, err := decode(document)
	if err != nil {
		j.saw(undecoded(document, err))
		return nil, err
	}
	j.saw(&found.Entry)
	return &found.Entry, nil
}

// Save stores the entry if nobody changed it since it was loaded, else ErrSuperseded. After any other error the entry
// may or may not be stored: load it again. Values that the document holds stay with the run that owns them: they are read
// once more, so Save is a read and a write while there are any.
func (j *Journal) Save(ctx context.Context, entry *Entry) error {
	held := &Held{Entry: *entry}
	if entry.valued && entry.Fault == nil {
		now, err := j.LoadHeld(ctx, entry.Path)
		if err != nil {
			return err
		}
		if now.revision != entry.revision {
			return fmt.Errorf("saving journal of %s: %w", entry.Path, ErrSuperseded)
		}
		held.Pending, held.Kept = now.Pending, now.Kept
	}
	if err := j.SaveHeld(ctx, held); err != nil {
		return err
	}
	entry.Schema, entry.revision, entry.valued = held.Schema, held.revision, held.valued
	return nil
}

// All returns every entry in path order. One that cannot be decoded is listed with its Fault, so that it stops its own
// secret and no other; Load of it fails.
func (j *Journal) All(ctx context.Context) ([]*Entry, error) {
	var entries []*Entry
	for key, err := range j.documents.Keys(ctx, keyPrefix) {
		if err != nil {
			return nil, fmt.Errorf("listing journal: %w", err)
		}
		document, err := j.documents.Get(ctx, key)
		if errors.Is(err, authority.ErrNotFound) {
			continue // nothing removes one; the listing and the read may have met different moments all the same
		}
		if err != nil {
			return nil, fmt.Errorf("listing journal: %w", err)
		}
		found, err := decode(document)
		if err != nil {
			found = &stored{Entry: *undecoded(document, err)}
		}
		j.saw(&found.Entry)
		entries = append(entries, &found.Entry)
	}
	return entries, nil
}

// undecoded stands for an entry that cannot be read, with the names that what is stored still tells.
func undecoded(document authority.Document, fault error) *Entry {
	var names struct {
		Secret string   `json:"secret"`
		Former []string `json:"former"`
	}
	_ = json.Unmarshal(document.Data, &names) // what cannot be told stays empty
	return &Entry{
		Path: pathOf(document), Secret: names.Secret, Former: names.Former, Fault: fault,
		revision: document.Revision,
	}
}

func pathOf(document authority.Document) authority.Path {
	return authority.Path(strings.TrimPrefix(document.Key, keyPrefix))
}

// decode takes a document whole or not at all: what a run holds is looked at too, so that a secret whose run can never go on is
// not shown as one that rotates.
func decode(document authority.Document) (*stored, error) {
	found := &stored{}
	decoder := json.NewDecoder(bytes.NewReader(document.Data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(found)
	if err == nil {
		err = found.whole(pathOf(document))
	}
	if err == nil && found.Schema <= Schema {
		found.revision, found.valued = document.Revision, found.Pending != nil || found.Kept != nil
		return found, nil
	}
	var head struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(document.Data, &head) == nil && head.Schema > Schema {
		err = fmt.Errorf("schema %d, this custody knows %d: %w", head.Schema, Schema, ErrNewerSchema)
	}
	return nil, fmt.Errorf("%w %s: %w", ErrUnreadable, document.Key, err)
}
