// SPDX-License-Identifier: Apache-2.0

// Package upstream has the types that all upstreams share: what a kind can do, what a verdict means, which errors
// decide; and how a type of upstream describes itself to the rest of the program (Type). An upstream is a system that
// accepts a credential. Each type has a subfolder with everything that Custody knows about it.
package upstream

import (
	"context"
	"errors"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// Capability says how old and new credentials can overlap.
type Capability string

const (
	// Dual upstreams honour two credentials at once (a second key).
	Dual Capability = "dual"
	// Alternate upstreams have two accounts that take turns.
	Alternate Capability = "alternate"
	// Overwrite upstreams have one account and one credential: applying the new one is the revocation of the old.
	Overwrite Capability = "overwrite"
)

// Undo says how a run is taken back before promotion.
type Undo string

const (
	// Discard: the candidate is revoked, the current credential was never touched.
	Discard Undo = "discard"
	// Reapply: the current credential is applied again.
	Reapply Undo = "reapply"
	// Impossible: the upstream keeps no way back; the run can only go forward, or wait for a person.
	Impossible Undo = "impossible"
)

// LostReply says what a lost reply to Apply means.
type LostReply string

const (
	// Recover: the candidate was ours, so verifying it tells, and applying it again is harmless. Of a kind that Issues:
	// applying again returns what the lost call made.
	Recover LostReply = "recover"
	// Reissue: what the lost call made is collected by its run id, and another is issued.
	Reissue LostReply = "reissue"
	// Person: nothing in the upstream can tell; a person decides.
	Person LostReply = "person"
)

// Verdict is the three-valued answer to "is this credential honoured?".
type Verdict string

const (
	// Accepted: a sign-in with it succeeded.
	Accepted Verdict = "accepted"
	// Refused: the upstream said that the credential itself is wrong.
	Refused Verdict = "refused"
	// Unknown decides nothing: unreachable, starting, rate-limited, locked out, still propagating.
	Unknown Verdict = "unknown"
)

// Kind describes what an upstream can do. It is constant for a configured upstream.
type Kind struct {
	Name       string // as in the Upstream document, e.g. "postgres"
	Capability Capability
	Undo       Undo
	LostReply  LostReply
	// Issues: the upstream makes the credential. Propose is then not called, and Apply returns what was issued.
	Issues bool
	// Verifies is false only for values that no system checks (a generated signing key); Verify then always accepts.
	Verifies bool
	// CallDeadline bounds every call that changes something; after it, no effect of that call can land any more.
	CallDeadline time.Duration
	// Fences: the upstream itself refuses calls of a run that a later run superseded, however late they arrive. Without
	// it no later run begins before the deadlines of earlier calls have passed.
	Fences bool
	// Settle is how long a change takes to show everywhere upstream: until then Refused may be delay, and Accepted be the
	// answer of one part that is ahead of others.
	Settle time.Duration
	// WrongEvery is the least time between two sign-ins of which the first was refused, such that an upstream that locks
	// accounts out never does so because of Custody. 0 where it does not lock out.
	WrongEvery time.Duration
	// Evidence says what Uses can tell; nil for upstreams without Witness.
	Evidence *Evidence
	// Whose says what Owner goes by, in words that follow "by"; "" for upstreams without Owner.
	Whose string
}

// Evidence says how good an upstream's knowledge is of who uses a credential.
type Evidence struct {
	// Source is where it comes from, in words ("open sessions", "last use of the token").
	Source string
	// Late is how long after a use it shows.
	Late time.Duration
	// Fine is the resolution of the times given.
	Fine time.Duration
	// Names: it says who (an address, a program), not only when.
	Names bool
}

// Use is one use of a credential by somebody other than Custody.
type Use struct {
	// Who, as far as the upstream can name it: program, address, database. Never a secret.
	Who string
	// Last is when it was last seen, by the caller's clock as far as that can be told.
	Last time.Time
}

// Errors that the run branches on; adapters wrap them. Any other error is ambiguous: the call may have taken effect.
var (
	// ErrRefusedCandidate: the upstream will never take this candidate (a password rule). Nothing was changed.
	ErrRefusedCandidate = errors.New("the upstream refuses this candidate")
	// ErrSuperseded: the account's marker names another run that came later, or a foreign owner. Nothing was changed.
	ErrSuperseded = errors.New("the upstream account belongs to another run")
	// ErrNotApplied: the call certainly had no effect (for example, the connection was never made). It may be retried.
	ErrNotApplied = errors.New("not applied")
)

// Upstream changes and checks one account (or pair of accounts) of one managed secret.
// Every method may be called again after a crash. No method retries for longer than its context's deadline.
type Upstream interface {
	// Kind says what this upstream can do.
	Kind() Kind
	// Propose makes a candidate to follow current (empty at first issue) and changes nothing outside.
	Propose(ctx context.Context, current secret.Value) (secret.Value, error)
	// Apply makes the upstream honour candidate beside (dual, alternate) or instead of (overwrite) current, and
	// returns the credential in full. Applying the same candidate of the same run again changes nothing more.
	// For a kind that Issues, candidate is empty, and what is issued carries the run id. A credential beside an error was
	// issued, is not what was asked for, and could not be taken back; such an error has none of the classes above.
	Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error)
	// Verify signs in with v and changes nothing. What cannot be decided is Unknown with the reason as the error;
	// Accepted and Refused come with a nil error.
	Verify(ctx context.Context, v secret.Value) (Verdict, error)
	// Revoke makes the upstream refuse old, whose successor is successor. Revoking what is already refused succeeds.
	// It must not touch the successor. For overwrite kinds it does nothing.
	Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error
}

// Collector is an optional power of kinds that Issue and have room for the run's id in what they issue: it removes
// whatever Apply of this run left upstream.
type Collector interface {
	// Collect removes every credential that carries run. It is idempotent. A kind that Fences claims the account for run
	// with it, as with every change: an Apply of run that is still on its way is refused once a later run has begun.
	Collect(ctx context.Context, run authority.RunID) error
}

// Lister is an optional power of kinds that Issue and have no room for the run's id. What exists is journaled before a
// credential is issued; a newcomer after a lost reply is shown to a person, never removed.
type Lister interface {
	// List names every credential of the account that exists now, by identities that are not secret.
	List(ctx context.Context) ([]string, error)
}

// Decoyer is a power that every kind needs that both Issues and Verifies: without it nothing shows that verifying means
// something.
type Decoyer interface {
	// Decoy returns a well-formed credential like v that the upstream was never given. It calls nothing outside.
	Decoy(v secret.Value) (secret.Value, error)
}

// Witness is an optional power of upstreams that can tell who uses a credential; see Kind.Evidence.
type Witness interface {
	// Uses returns the uses of old that the upstream knows of and that lie no further back than since, Custody's own left
	// out. An error means that nothing can be told now. It changes nothing.
	Uses(ctx context.Context, old secret.Value, since time.Time) ([]Use, error)
}

// SessionEnder is an optional power of upstreams that can end open sessions.
type SessionEnder interface {
	// EndSessions ends the open sessions of the account of old, Custody's own left out, and returns how many. It is called once
	// old is refused, so no session begins with it any more. Where several credentials are of one account, sessions do not tell
	// with which they began, and all of them end: a client with a credential that is honoured signs in again. It may be called
	// again, and then ends what is left. An error means that some may be left.
	EndSessions(ctx context.Context, old secret.Value) (int, error)
}

// Marked is an optional power of upstreams whose accounts carry a marker: it names the run that changed the account last.
type Marked interface {
	// Stranger is what the marker names where that is none of the runs known, in its own words; "" where it names one of
	// them, or no run. Of a pair it is asked about whatever a change would touch. A foreign claim is an error that wraps
	// ErrSuperseded. It changes nothing.
	Stranger(ctx context.Context, known []authority.RunID) (string, error)
}

// Owner is an optional power of upstreams that can tell of which account a credential is.
type Owner interface {
	// Whose names the account of v in the upstream's own words, never a secret: credentials with one name are of one account.
	// own says whether runs change that account, of a pair one of the two. Without an error name is not empty; with one,
	// nothing can be told now. It changes nothing.
	Whose(ctx context.Context, v secret.Value) (name string, own bool, err error)
}

// Readier is an optional power of upstreams that are told by somebody else what they can do. Without it a kind is known
// from the start.
type Readier interface {
	// Ready returns nil when Kind says what the upstream can do, and never again anything else. Until then its error is
	// why that is not known, and Kind is not to be decided by. It asks again, within ctx, and changes nothing.
	Ready(ctx context.Context) error
}

// Later marks an error after which asking again makes no sense for a while: a rate limit, a lock-out.
type Later struct {
	After time.Duration
	Err   error
}

// Error is the cause's.
func (e *Later) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Later) Unwrap() error { return e.Err }

// Explained is err with the operator's next move, where an error in its chain names one (a method Hint).
func Explained(err error) string {
	if hint := hintOf(err); hint != "" {
		return err.Error() + " (hint: " + hint + ")"
	}
	return err.Error()
}
