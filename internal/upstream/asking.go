// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
)

// NotApplied is the error of a call that certainly had no effect.
func NotApplied(doing, detail string) *Error {
	return &Error{Doing: doing, Class: ErrNotApplied, Detail: detail}
}

// Unapplied says of err that nothing was applied, where it left that open, for a call that had changed nothing before. An
// error that is none of this package's is returned as it is.
func Unapplied(err error) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok || failure.Class != nil {
		return err
	}
	sure := *failure
	sure.Class = ErrNotApplied
	if wait, says := errors.AsType[*Later](err); says && !errors.Is(failure, wait) {
		return &Later{After: wait.After, Err: &sure}
	}
	return &sure
}

// Admins reads the admin's credentials with read, in order of preference. Its errors say that nothing was applied.
func Admins(ctx context.Context, doing string, read func(context.Context) ([]secret.Value, error)) ([]secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Doing: doing, Class: ErrNotApplied, Cause: err}
	}
	all, err := read(ctx)
	if err != nil {
		return nil, &Error{Doing: doing, Class: ErrNotApplied, Detail: "reading the admin credential", Cause: err}
	}
	return all, nil
}

// Unanswered is the error of an HTTP request to whom that has no answer, err being transport.Exchange's. It is
// ErrNotApplied where the request certainly never left. Next is the operator's move, otherwise as for Told.
func Unanswered(doing, whom string, err error, otherwise, next string) *Error {
	detail, cause := Told(err, otherwise)
	e := &Error{Doing: doing, Detail: Join("no answer", detail), Cause: cause, Next: next}
	lacking, ok := errors.AsType[*transport.NoAnswer](err)
	switch {
	case ok && lacking.Status != 0:
		e.Detail, e.Said = Join("the answer broke off or is too long", detail), transport.Answer{Status: lacking.Status}.String()
	case ok && !lacking.Sent:
		e.Class, e.Detail = ErrNotApplied, Join(whom+" is unreachable", detail)
	}
	return e
}
