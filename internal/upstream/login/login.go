// SPDX-License-Identifier: Apache-2.0

// Package login has the shared code of upstreams whose credential is a name and a password: whose turn it is, what a
// marker says, how the admin signs in. It opens no connection.
package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// Fields of the values.
const (
	Username = "username"
	Password = "password"
)

// Doing names what calls do, in errors.
const (
	Applying  = "applying credential"
	Revoking  = "revoking credential"
	SigningIn = "signing in"
)

// Lacking is said of a value that no sign-in can be tried with.
const Lacking = "a credential needs the fields username and password"

// AdminFields are those that an admin credential of a server at host needs. Over a socket the system may vouch for the user.
func AdminFields(host string) []upstream.OneOf {
	if transport.Socket(host) {
		return []upstream.OneOf{{Username}}
	}
	return []upstream.OneOf{{Username}, {Password}}
}

// Account is one login, or for upstream.Alternate a pair of them that takes turns.
type Account struct {
	Mode upstream.Capability
	// Noun is what the system calls a login: user, role, entry.
	Noun  string
	Names []string
	// Same says whether two names are one login's; nil when only equal ones are.
	Same func(a, b string) bool
	// NewPassword draws a password from Random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	Random      io.Reader
}

func (a Account) same(one, other string) bool {
	if a.Same != nil {
		return a.Same(one, other)
	}
	return one == other
}

// Manages reports whether the login of that name is the account's to change.
func (a Account) Manages(name string) bool {
	for _, own := range a.Names {
		if a.same(own, name) {
			return true
		}
	}
	return false
}

// ByName is upstream.Kind's Whose for values that name their login.
const ByName = "the username"

// Whose is that of upstream.Owner, by the name in v.
func (a Account) Whose(v secret.Value) (name string, own bool, err error) {
	name = v.ExposeText(Username)
	if name == "" {
		return "", false, errors.New(Lacking)
	}
	return fmt.Sprintf("%s %q", a.Noun, name), a.Manages(name), nil
}

// Propose makes a candidate to follow current: a new password for the login, of a pair for the one that current does not
// name. Other fields of current stay.
func (a Account) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	v, err := a.propose(ctx, current)
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	return v, nil
}

func (a Account) propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, err
	}
	password, err := a.NewPassword(a.Random)
	if err != nil {
		return secret.Value{}, err
	}
	name := a.Names[0]
	if a.Mode == upstream.Alternate && a.same(name, current.ExposeText(Username)) {
		name = a.Names[1]
	}
	v, err := current.With(Username, []byte(name))
	if err != nil {
		return secret.Value{}, err
	}
	return v.With(Password, []byte(password))
}

// Check returns why v cannot be applied: it lacks a field, or its login is not the account's.
func (a Account) Check(v secret.Value) error {
	switch name := v.ExposeText(Username); {
	case name == "" || v.ExposeText(Password) == "":
		return errors.New(Lacking)
	case !a.Manages(name):
		return a.foreign(name)
	}
	return nil
}

func (a Account) foreign(name string) error {
	return fmt.Errorf("%s %q is not one of this account's", a.Noun, name)
}

// Replaced reports whether nothing of old is left to revoke: applying successor has replaced it, or it is successor. A
// login that is not the account's was not replaced, whatever the mode: the document may have named another before.
func (a Account) Replaced(old, successor secret.Value) bool {
	name := old.ExposeText(Username)
	if a.Mode == upstream.Overwrite {
		return name == "" || a.Manages(name)
	}
	return name != "" && a.same(name, successor.ExposeText(Username)) &&
		(a.Mode == upstream.Alternate || old.ExposeText(Password) == successor.ExposeText(Password))
}

// Foreign is what revoking comes to for a login that is not the account's, a credential from before Custody: it is never
// changed, and revoked once somebody has made verify refuse it. Next says how.
func (a Account) Foreign(ctx context.Context, verify func(context.Context, secret.Value) (upstream.Verdict, error), old secret.Value, next string) error {
	verdict, err := verify(ctx, old)
	if verdict == upstream.Refused {
		return nil
	}
	return &upstream.Error{
		Doing: Revoking, Class: upstream.ErrNotApplied, Cause: err, Detail: a.foreign(old.ExposeText(Username)).Error(),
		Next: next + "; the run then continues",
	}
}

// Admin signs in at a place with the first of the admin's credentials that the server does not refuse. signIn returns what
// the server said of one that it refuses, and an error when it cannot tell, which ends it. Where a sign-in without a
// password means nothing, signIn refuses it itself. What the server at this place has refused is not sent again at once;
// see AdminBackoff. Nothing has been changed when Admin fails.
func Admin[Session any](ctx context.Context, doing, at string, credentials func(context.Context) ([]secret.Value, error),
	signIn func(ctx context.Context, v secret.Value) (session Session, refused string, err error),
) (Session, error) {
	return AdminWithBackoff(ctx, process, doing, at, credentials, signIn)
}

// AdminWithBackoff is Admin, by the refusals that backoff knows of.
func AdminWithBackoff[Session any](ctx context.Context, backoff *AdminBackoff, doing, at string, credentials func(context.Context) ([]secret.Value, error),
	signIn func(ctx context.Context, v secret.Value) (session Session, refused string, err error),
) (none Session, err error) {
	all, err := upstream.Admins(ctx, doing, credentials)
	if err != nil {
		return none, err
	}
	detail, said := "the server refuses every admin credential", ""
	var again time.Time
	for _, v := range all {
		if v.ExposeText(Username) == "" {
			continue
		}
		if known, held := backoff.held(at, v); held {
			said, again = known.said, known.again
			continue
		}
		session, refused, err := signIn(ctx, v)
		if err != nil {
			return none, err
		}
		if refused == "" {
			backoff.accept(at, v)
			return session, nil
		}
		said, again = refused, backoff.refuse(at, v, refused)
	}
	if !again.IsZero() {
		detail += ", and is not sent it again before " + again.UTC().Format(time.TimeOnly) + " UTC, so as not to lock it out"
	}
	return none, &upstream.Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: detail, Said: said,
		Next: "set the admin's password by hand and supply it for the secret that adminRef names: " + upstream.SupplyAdmin,
	}
}

// Unreachable is the error of a call whose connection was never made. The arguments are as for upstream.Told.
func Unreachable(doing string, err error, otherwise string) *upstream.Error {
	detail, cause := upstream.Told(err, otherwise)
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: upstream.Join("the server is unreachable", detail), Cause: cause,
		Next: "check that the server runs, and that host, port and TLS in the Upstream document are right",
	}
}
