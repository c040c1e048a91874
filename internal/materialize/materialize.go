// SPDX-License-Identifier: Apache-2.0

// Package materialize has the types that all consumer adapters share: delivery, proof and its levels. What a consumer
// has is a copy that can be made again; it is never the authority.
//
// Guaranteed by every adapter that passes materializetest: it refuses a version older than the one that is there; it
// leaves a version alone that is there and in use; a delivery that failed or was interrupted is not proved until it was
// completed; a proof claims no more than what was found; and no error, proof or name contains a value. Not guaranteed:
// that something that was proved is still true a moment later. Ask again before you revoke because of a proof.
package materialize

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// Level orders how much a proof shows.
type Level int

const (
	// None: not even delivered.
	None Level = iota
	// Delivered: the version is where the consumer reads it, and the consumer was told so if it is to be told.
	Delivered
	// Rolled: every replica was started on it, or reloaded and its check passed.
	Rolled
	// Observed: the workload itself reports the version.
	Observed
	// UpstreamSeen: sign-ins with it were seen upstream.
	UpstreamSeen
)

var levels = []string{"none", "delivered", "rolled", "observed", "upstream-seen"}

// String returns the level's name as documents write it.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levels) {
		return fmt.Sprintf("level(%d)", int(l))
	}
	return levels[l]
}

// ParseLevel reads a level as documents write it.
func ParseLevel(s string) (Level, error) {
	for i, name := range levels {
		if i > 0 && name == s {
			return Level(i), nil
		}
	}
	return None, fmt.Errorf("parsing proof level %q: want one of %v", s, levels[1:])
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	if string(text) == levels[0] {
		*l = None
		return nil
	}
	parsed, err := ParseLevel(string(text))
	*l = parsed
	return err
}

// Proof is what a consumer can show about the version it runs on.
type Proof struct {
	// Version is the identity the evidence is about; the zero VersionID when nothing is known.
	Version authority.VersionID
	Level   Level
	At      time.Time
	// Evidence says for people what was looked at. It never holds a value.
	Evidence string
	// Missing says what the next level waits for, "" when nothing.
	Missing string
	// Drift says what was changed from elsewhere since the last delivery, "" when nothing shows it. It never holds a
	// value. A proof with Drift shows no level; delivering again repairs it.
	Drift string
}

// Rememberer is an optional power of a Consumer that keeps what it was given last.
type Rememberer interface {
	// Given returns the newest version of the secret at path whose delivery was begun, and false when none is known. It
	// changes nothing.
	Given(ctx context.Context, path authority.Path) (authority.VersionID, bool, error)
}

// ErrStale: the consumer already holds a newer version of the same secret and incarnation; nothing was changed.
var ErrStale = errors.New("consumer holds a newer version")

// Consumer receives versions of one secret and can show what it runs on.
type Consumer interface {
	// Name tells this consumer from the secret's others, and is stable: it appears in records.
	Name() string
	// Highest is the highest level this consumer can prove as configured.
	Highest() Level
	// Fits says why v can never be written where this consumer reads it, however often that is tried; nil when it can be. It asks
	// nobody and looks at v alone. Its error holds nothing of v.
	Fits(v secret.Value) error
	// Deliver puts v where the consumer reads it and makes the consumer take it (reload, restart). Delivering what is
	// already there, and taken, changes nothing and disturbs nobody. A version older than the one held is ErrStale;
	// one of another incarnation is taken whatever its number. After any other error, and after a crash, the consumer
	// may hold the old version or v, and there is no proof of v until a call got through or the workload itself reports
	// v; calling again settles it.
	Deliver(ctx context.Context, v authority.Versioned) error
	// Prove looks, changes nothing, and says which version the consumer runs on. v is the version hoped for, with its
	// value, so that what is held can be compared with it; the proof carries the identity actually found. A check that
	// says no is no error: it is what the proof is missing.
	Prove(ctx context.Context, v authority.Versioned) (Proof, error)
	// Withdraw takes the secret at v's path away from the consumer, so that nobody finds it there any more; what a process has
	// read it keeps. v is the version that the consumer should hold, with its value; where that is lost, only the path. What was
	// not delivered, or is another secret's, is left alone and is no error. Where what was delivered was changed since, nothing is
	// removed and the error says so. Idempotent; after an error and after a crash calling again settles it.
	Withdraw(ctx context.Context, v authority.Versioned) error
}

// Glancer is a consumer at which a glance costs next to nothing, so that what becomes of it is seen long before its next proof.
type Glancer interface {
	// Glance describes what stands there without reading it, and asks no process. It differs from an earlier one when
	// something was made, changed or removed in between, by whomever.
	Glance() string
	// Place is the absolute path of the file that stands there.
	Place() string
}

// Holder is a consumer that can say which version it holds without asking a process.
type Holder interface {
	// Holds is Prove up to level Delivered.
	Holds(ctx context.Context, v authority.Versioned) (Proof, error)
}
