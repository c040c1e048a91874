// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"errors"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/login/hashing"
)

// refusal is what a server says of a wrong password: authentication credentials invalid, RFC 4954.
const refusal = "SMTP reply 535"

// Knower is what a Directory must be, so that a refusal by the mail server is believed: it knows more than the server
// says.
type Knower interface {
	// Holds reports whether v's entry holds v's password; told is false when that cannot be computed. It signs in as the
	// admin alone. An error says that the entry is locked, or cannot be looked at.
	Holds(ctx context.Context, v secret.Value) (held, told bool, err error)
}

// doubt looks twice at a 535: behind Postfix it is also what Dovecot's own faults come to, such as a table or a
// directory that is down. It is believed when another credential of the account gets through at that moment. Where
// there is none, it is believed if the store holds neither v nor what else was tried: then it is no fault.
func (u *Upstream) doubt(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	holds, err := u.holder(ctx, v)
	if err != nil {
		e := &upstream.Error{Doing: login.SigningIn, Detail: "the server refuses the credential, and its entry is locked or cannot be read", Said: refusal, Cause: err}
		if looking, ok := errors.AsType[*upstream.Error](err); ok {
			e.Next = looking.Next
		}
		return upstream.Unknown, e
	}
	var known []secret.Value
	if u.Known != nil {
		known, _ = u.Known(ctx) // what cannot be read now cannot vouch
	}
	explained := true
	for _, other := range known {
		if sameCredential(other, v) || holds(other) == hashing.Differs { // a wrong sign-in would prove nothing
			continue
		}
		if verdict, _ := u.ask(ctx, other); verdict == upstream.Accepted {
			return upstream.Refused, nil
		}
		explained = false
	}
	if explained && holds(v) == hashing.Differs {
		return upstream.Refused, nil
	}
	return upstream.Unknown, &upstream.Error{
		Doing: login.SigningIn, Detail: "the server refuses the credential, but also one that is known to be right", Said: refusal,
		Next: "check in the mail server's log whether it can read its passwords; if it can, check that it reads those that the Upstream document names",
	}
}

func sameCredential(a, b secret.Value) bool {
	return a.ExposeText(login.Username) == b.ExposeText(login.Username) && a.ExposeText(login.Password) == b.ExposeText(login.Password)
}

// holder reads what is kept of the account, and returns what tells whether a credential is. What is kept elsewhere is
// untold. The error is of v's entry in a directory.
func (u *Upstream) holder(ctx context.Context, v secret.Value) (func(secret.Value) hashing.Match, error) {
	if u.Directory != nil {
		return u.directoryHolder(ctx, v)
	}
	rows, err := u.store.read(ctx, "looking at what is kept", u.places())
	return func(one secret.Value) hashing.Match {
		if err != nil || !u.account.Manages(one.ExposeText(login.Username)) {
			return hashing.Untold
		}
		found := hashing.Differs
		for _, r := range rows {
			if r.login == one.ExposeText(login.Username) {
				found = max(found, compare(r.password, one.ExposeText(login.Password))) // what cannot be computed counts most
			}
		}
		return found
	}, nil
}

func (u *Upstream) directoryHolder(ctx context.Context, v secret.Value) (func(secret.Value) hashing.Match, error) {
	knower, ok := u.Directory.(Knower)
	holds := func(one secret.Value) (hashing.Match, error) {
		if !ok || !u.account.Manages(one.ExposeText(login.Username)) {
			return hashing.Untold, nil
		}
		held, computed, err := knower.Holds(ctx, u.entry(one))
		if err != nil || !computed {
			return hashing.Untold, err
		}
		if held {
			return hashing.Same, nil
		}
		return hashing.Differs, nil
	}
	first, err := holds(v)
	return func(one secret.Value) hashing.Match {
		if sameCredential(one, v) {
			return first
		}
		other, _ := holds(one) // an entry that cannot be looked at is tried
		return other
	}, err
}
