// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// identified is the clause that sets password.
func (u *Upstream) identified(password string) (string, error) {
	if u.SendPassword {
		return "IDENTIFIED VIA " + u.Plugin + " USING PASSWORD(" + quoteText(password) + ")", nil
	}
	hash, err := hashed(u.Random, u.Plugin, password)
	if err != nil {
		return "", err
	}
	if u.Server.Product == MySQL {
		return "IDENTIFIED WITH " + u.Plugin + " AS " + quoteText(hash), nil
	}
	return "IDENTIFIED VIA " + u.Plugin + " USING " + quoteText(hash), nil
}

// unusable is the clause that sets a password that nobody is told.
func (u *Upstream) unusable() (string, error) {
	password, err := u.NewPassword(u.Random)
	if err != nil {
		return "", err
	}
	return u.identified(password)
}

func (s *session) hashing(err error) error {
	return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "computing the hash", Cause: err}
}

// alternate makes candidate's user if it is absent, gives it the role, sets the password and unlocks it.
func (u *Upstream) alternate(s *session, candidate secret.Value) error {
	account := quoteAccount(candidate.ExposeText(login.Username), u.Host)
	set, err := u.identified(candidate.ExposeText(login.Password))
	if err != nil {
		return s.hashing(err)
	}
	initial, err := u.unusable()
	if err != nil {
		return s.hashing(err)
	}
	// Made with a password that nobody knows: what fails before the last statement leaves nothing that is honoured.
	if err := s.guarded("CREATE USER IF NOT EXISTS " + account + " " + initial + " ACCOUNT LOCK"); err != nil {
		return err
	}
	if u.Role != "" {
		if err := u.ensureRole(s, candidate.ExposeText(login.Username)); err != nil {
			return err
		}
	}
	return s.guarded("ALTER USER " + account + " " + set + " ACCOUNT UNLOCK")
}

// ensureRole grants the role and makes it the default. Where the admin may not, a person must have done so: Verify sees
// it.
func (u *Upstream) ensureRole(s *session, user string) error {
	for _, statement := range u.roleStatements(user) {
		if err := s.guarded(statement); err != nil && !missingRight(answerIn(err)) {
			return err
		}
	}
	return nil
}

func (u *Upstream) roleStatements(user string) []string {
	account, role := quoteAccount(user, u.Host), quoteName(u.Role)
	if u.Server.Product == MySQL {
		return []string{"GRANT " + role + " TO " + account, "ALTER USER " + account + " DEFAULT ROLE " + role}
	}
	return []string{"GRANT " + role + " TO " + account, "SET DEFAULT ROLE " + role + " FOR " + account}
}

// defaultRole is what a person does where the admin may not.
func (u *Upstream) defaultRole(user string) string {
	statements := u.roleStatements(user)
	return statements[0] + "; " + statements[1]
}

// overwrite sets the password of a user that exists.
func (u *Upstream) overwrite(s *session, candidate secret.Value) error {
	if err := u.keepsMeans(s); err != nil {
		return err
	}
	set, err := u.identified(candidate.ExposeText(login.Password))
	if err != nil {
		return s.hashing(err)
	}
	err = s.guarded("ALTER USER " + quoteAccount(u.User, u.Host) + " " + set)
	if answerIn(err) != errPrivilege || s.product != MariaDB || s.self != u.User+"@"+u.Host || u.SendPassword {
		return err
	}
	// MariaDB lets everybody set their own password, as long as its plugin stays.
	hash, err := hashed(u.Random, u.Plugin, candidate.ExposeText(login.Password))
	if err != nil {
		return s.hashing(err)
	}
	return s.guarded("SET PASSWORD = " + quoteText(hash))
}

// disable gives old's user a password that nobody knows and locks it, if old opens it. Otherwise the user is as it should
// be, or somebody else's: the claim does not tell, since it is at both users before either has a password of Custody's.
func (u *Upstream) disable(s *session, old secret.Value) error {
	user := old.ExposeText(login.Username)
	_, verdict, err := u.enter(s.ctx, old)
	switch {
	case verdict == upstream.Refused:
		return nil
	case verdict == upstream.Unknown && answerIn(err) != errMustChange: // who has to change a password has got in
		return s.unsure(err)
	}
	unusable, err := u.unusable()
	if err != nil {
		return s.hashing(err)
	}
	return s.guarded("ALTER USER IF EXISTS " + quoteAccount(user, u.Host) + " " + unusable + " ACCOUNT LOCK")
}

// addPassword makes the user honour candidate, and current as well if it does now.
func (u *Upstream) addPassword(s *session, current, candidate secret.Value) error {
	if err := s.tellsRefusal(); err != nil {
		return err
	}
	if err := u.keepsMeans(s); err != nil {
		return err
	}
	keep := false
	if current.ExposeText(login.Username) == u.User && current.ExposeText(login.Password) != candidate.ExposeText(login.Password) {
		var err error
		if keep, err = u.honoured(s, current); err != nil {
			return err
		}
	}
	set, err := u.identified(candidate.ExposeText(login.Password))
	if err != nil {
		return s.hashing(err)
	}
	alter := "ALTER USER " + quoteAccount(u.User, u.Host) + " "
	first := ""
	if keep {
		if first, err = u.identified(current.ExposeText(login.Password)); err != nil {
			return s.hashing(err)
		}
	}
	if s.product == MySQL {
		// Done twice, what follows would lose the current password.
		done, err := u.honoured(s, candidate)
		switch {
		case err != nil:
			return err
		case done:
			return s.guarded()
		}
		return s.guarded(retain(alter, first, set)...)
	}
	if keep {
		// The current password stays the first that is tried: its users see no difference.
		return s.guarded(alter + first + " OR " + set[len("IDENTIFIED VIA "):])
	}
	return s.guarded(alter + set)
}

// retain are MySQL's statements for the password in set beside that in first, or in place of all where first is empty.
// Only the primary password can be kept, and the current one may be the second: it is made the primary before. Both keep
// what they replace, which the server refuses, with nothing changed, when the account's plugin is another one.
func retain(alter, first, set string) []string {
	const keep = " RETAIN CURRENT PASSWORD"
	if first == "" {
		return []string{alter + set, alter + "DISCARD OLD PASSWORD"}
	}
	return []string{alter + first + keep, alter + set + keep}
}

// dropPassword leaves only successor, if old is honoured at all.
func (u *Upstream) dropPassword(s *session, old, successor secret.Value) error {
	if err := s.tellsRefusal(); err != nil {
		return err
	}
	is, err := u.honoured(s, old)
	if err != nil || !is {
		return err
	}
	if err := u.keepsMeans(s); err != nil {
		return err
	}
	set, err := u.unusable()
	if successor.ExposeText(login.Username) == u.User && successor.Has(login.Password) {
		set, err = u.identified(successor.ExposeText(login.Password))
	}
	if err != nil {
		return s.hashing(err)
	}
	alter := "ALTER USER " + quoteAccount(u.User, u.Host) + " "
	if s.product == MySQL {
		return s.guarded(alter+set, alter+"DISCARD OLD PASSWORD")
	}
	return s.guarded(alter + set)
}

// honoured signs in with v, while the lock is held.
func (u *Upstream) honoured(s *session, v secret.Value) (bool, error) {
	verdict, err := u.try(s.ctx, v)
	if verdict == upstream.Unknown {
		return false, s.unsure(err)
	}
	return verdict == upstream.Accepted, nil
}

func (s *session) unsure(err error) error {
	e := &upstream.Error{
		Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "it is not known which passwords the server accepts", Cause: err,
		Next: "Custody repeats the call once a sign-in is accepted or refused",
	}
	if failure, ok := errors.AsType[*upstream.Error](err); ok && failure.Next != "" {
		e.Next = failure.Next
	}
	return e
}

// unlimited is MariaDB's default for max_password_errors.
const unlimited = "4294967295"

// tellsRefusal refuses servers that lock out users after wrong passwords: MariaDB then answers a user with two passwords
// as if the right one were wrong.
func (s *session) tellsRefusal() error {
	if s.product == MySQL || s.wrongLimit == unlimited {
		return nil
	}
	return s.refuse(fmt.Sprintf("the server locks users out (max_password_errors is %s), and does not say so of a user with two passwords", s.wrongLimit),
		"use mode alternate, or SET GLOBAL max_password_errors = DEFAULT")
}

// tellsRefusal is the same for Verify. It signs in as the admin.
func (u *Upstream) tellsRefusal(ctx context.Context) error {
	made, err := u.admin(ctx, login.SigningIn)
	if err != nil {
		return u.doubt(err)
	}
	defer made.hangUp()
	s := &session{ctx: ctx, conn: made, doing: login.SigningIn, product: u.Server.Product}
	rows, err := s.query("SELECT @@GLOBAL.max_password_errors")
	if err != nil {
		return u.doubt(err)
	}
	s.wrongLimit = rows[0][0]
	if err := s.tellsRefusal(); err != nil {
		return u.doubt(err)
	}
	return nil
}

func (u *Upstream) doubt(err error) error {
	return &upstream.Error{Doing: login.SigningIn, Detail: "the password was refused, which may be a lock-out", Cause: err}
}
