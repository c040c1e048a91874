// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"errors"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Knower is what a Directory must be, so that a refusal by the mail server is believed: it knows more than the server says.
type Knower interface {
	// Holds reports whether v's entry holds v's password; told is false when that cannot be computed. It signs in as the
	// admin alone. An error says that the entry is locked, or cannot be looked at.
	Holds(ctx context.Context, v secret.Value) (held, told bool, err error)
}

// doubt looks twice at a 535: behind Postfix it is also what Dovecot's own faults come to, such as a table or a directory
// that is down. It is believed when another credential of the account gets through at that moment. Where there is none, it
// is believed if the store holds neither v nor what else was tried: then it is no fault.
func (u *Upstream) doubt(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "signing in"
	holds, err := u.holder(ctx, v)
	if err != nil {
		e := &Error{Doing: doing, Detail: "the server refuses the credential, and its entry cannot be looked at or is locked", Code: "SMTP reply 535", Cause: err}
		if hinted, ok := errors.AsType[interface {
			error
			Hint() string
		}](err); ok {
			e.Next = hinted.Hint()
		}
		return upstream.Unknown, e
	}
	var known []secret.Value
	if u.Known != nil {
		known, _ = u.Known(ctx) // what cannot be read now cannot vouch
	}
	explained := true
	for _, other := range known {
		if sameCredential(other, v) || holds(other) == differs { // a wrong sign-in would prove nothing
			continue
		}
		if verdict, _ := u.ask(ctx, other); verdict == upstream.Accepted {
			return upstream.Refused, nil
		}
		explained = false
	}
	if explained && holds(v) == differs {
		return upstream.Refused, nil
	}
	return upstream.Unknown, &Error{
		Doing: doing, Detail: "the server refuses the credential, and nothing that is known to be right gets through either", Code: "SMTP reply 535",
		Next: "see in the mail server's log whether it can read its passwords; if it can, see that it reads the ones that the Upstream document names",
	}
}

func sameCredential(a, b secret.Value) bool {
	return a.ExposeText(FieldUsername) == b.ExposeText(FieldUsername) && a.ExposeText(FieldPassword) == b.ExposeText(FieldPassword)
}

// holder reads what is kept of the account, and returns what tells whether a credential is. What is kept elsewhere is
// untold. The error is of v's entry in a directory.
func (u *Upstream) holder(ctx context.Context, v secret.Value) (func(secret.Value) match, error) {
	if u.Directory != nil {
		return u.directoryHolder(ctx, v)
	}
	rows, err := u.store.read(ctx, "looking at what is kept", u.places())
	return func(one secret.Value) match {
		if err != nil || !u.manages(one.ExposeText(FieldUsername)) {
			return untold
		}
		found := differs
		for _, r := range rows {
			if r.login == one.ExposeText(FieldUsername) {
				found = max(found, compare(r.password, one.ExposeText(FieldPassword))) // what cannot be computed counts most
			}
		}
		return found
	}, nil
}

func (u *Upstream) directoryHolder(ctx context.Context, v secret.Value) (func(secret.Value) match, error) {
	knower, ok := u.Directory.(Knower)
	holds := func(one secret.Value) (match, error) {
		if !ok || !u.manages(one.ExposeText(FieldUsername)) {
			return untold, nil
		}
		held, computed, err := knower.Holds(ctx, u.entry(one))
		if err != nil || !computed {
			return untold, err
		}
		return told(held), nil
	}
	first, err := holds(v)
	return func(one secret.Value) match {
		if sameCredential(one, v) {
			return first
		}
		other, _ := holds(one) // an entry that cannot be looked at is tried
		return other
	}, err
}
