// SPDX-License-Identifier: Apache-2.0

package root

import "errors"

// Classes of failure that callers branch on with errors.Is.
var (
	// ErrWrongKey: none of the identities given can decrypt it.
	ErrWrongKey = errors.New("no identity fits")
	// ErrTampered: it decrypts, but not to what was sealed.
	ErrTampered = errors.New("content was changed after it was sealed")
	// ErrMalformed: it is cut short, empty, or not of the form expected.
	ErrMalformed = errors.New("malformed")
	// ErrPlaintext: what must be encrypted is not.
	ErrPlaintext = errors.New("data is not encrypted")
	// ErrExposed: a file with a private key is open to others.
	ErrExposed = errors.New("private key is open to others")
	// ErrDamagedShare: a share's text is not what was written down.
	ErrDamagedShare = errors.New("share is damaged")
	// ErrTooFewShares: more shares are needed.
	ErrTooFewShares = errors.New("too few shares")
	// ErrMixedShares: the shares are not of one split.
	ErrMixedShares = errors.New("shares of different splits")
	// ErrDuplicateShare: the same share was given twice.
	ErrDuplicateShare = errors.New("share given twice")
)

// Error is a failure of one of the classes above, with the operator's next move. It never holds a secret: causes from
// libraries that might quote one are replaced, not wrapped.
type Error struct {
	// Doing says what was attempted, in the gerund.
	Doing string
	// Class is what errors.Is finds.
	Class error
	// Detail says what exactly was found; may be empty.
	Detail string
	// Next is what the operator can do about it.
	Next string
}

// Error is the one-line message, without the hint.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Doing + ": " + e.Class.Error()
	}
	return e.Doing + ": " + e.Class.Error() + ": " + e.Detail
}

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.Class }

// Hint is the operator's next move.
func (e *Error) Hint() string { return e.Next }
