// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"errors"
	"fmt"
	"strconv"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/jackc/pgx/v5/pgconn"
)

// role is what the server says about a role that exists.
type role struct {
	login, super bool
	// expired: its VALID UNTIL has passed, by the server's clock; the server then refuses every password.
	expired bool
}

// role looks a role up; found is false when there is none.
func (s *session) role(name string) (r role, found bool, err error) {
	rows, err := s.query(`SELECT rolcanlogin::text, rolsuper::text, coalesce(rolvaliduntil < clock_timestamp(), false)::text
		FROM pg_roles WHERE rolname = $1`, name)
	if err != nil || len(rows) == 0 {
		return role{}, false, err
	}
	return role{login: rows[0][0] == "true", super: rows[0][1] == "true", expired: rows[0][2] == "true"}, true, nil
}

// expired ends the call for a user whose password would be refused, whatever it is.
func (s *session) expired(user string) error {
	return s.refuse(fmt.Sprintf("the user %q is VALID UNTIL a time that has passed, so the server refuses its every password", user),
		fmt.Sprintf("ALTER ROLE %s VALID UNTIL 'infinity', or a later time; the call is repeated", quoteName(user)))
}

// alternate makes candidate's user, and the owner if absent, what the mode says, and sets the password.
func (u *Upstream) alternate(s *session, candidate secret.Value) error {
	user := candidate.ExposeText(login.Username)
	if err := u.ensureOwner(s); err != nil {
		return err
	}
	if err := u.ensureUser(s, user); err != nil {
		return err
	}
	return u.setPassword(s, candidate)
}

func (u *Upstream) ensureOwner(s *session) error {
	owner, found, err := s.role(u.Owner)
	switch {
	case err != nil:
		return err
	case !found:
		return s.exec("CREATE ROLE " + quoteName(u.Owner) + " NOLOGIN")
	case owner.login:
		return s.refuse(fmt.Sprintf("the owner %q can log in, which the pair would not revoke", u.Owner), u.ownerApart())
	case owner.super:
		return s.refuse(fmt.Sprintf("the owner %q is a superuser", u.Owner),
			fmt.Sprintf("ALTER ROLE %s NOSUPERUSER, or name another owner", quoteName(u.Owner)))
	}
	return nil
}

// ownerApart is how a role that owns its objects and is in use gets an owner beside it. It works on all the while, as a
// member of that owner, until its consumers have moved to the pair.
func (u *Upstream) ownerApart() string {
	login, owner := quoteName(u.Owner), quoteName(u.Owner+"_owner")
	return fmt.Sprintf("if nobody signs in as it: ALTER ROLE %[1]s NOLOGIN. If it is in use, give the pair an owner of its own: CREATE ROLE %[2]s NOLOGIN; "+
		"GRANT %[2]s TO %[1]s; in each database where it owns something: REASSIGN OWNED BY %[1]s TO %[2]s; ALTER ROLE %[1]s SET role TO %[2]s; "+
		"grant %[2]s what %[1]s was granted; name %[2]s as owner in the document. Once the consumers have moved to the pair: ALTER ROLE %[1]s NOLOGIN. "+
		"Or use mode overwrite for it", login, owner)
}

func (u *Upstream) ensureUser(s *session, user string) error {
	existing, found, err := s.role(user)
	switch {
	case err != nil:
		return err
	case !found:
		err = s.exec("CREATE ROLE " + quoteName(user) + " LOGIN")
	case existing.super:
		return s.refuse(fmt.Sprintf("the user %q is a superuser", user),
			fmt.Sprintf("ALTER ROLE %s NOSUPERUSER, or name other users", quoteName(user)))
	case existing.expired:
		return s.expired(user)
	case !existing.login:
		err = s.exec("ALTER ROLE " + quoteName(user) + " LOGIN")
	}
	if err != nil {
		return err
	}
	if err := u.ensureMember(s, user); err != nil {
		return err
	}
	if err := s.exec("ALTER ROLE " + quoteName(user) + " SET role TO " + quoteName(u.Owner)); err != nil {
		return err
	}
	return u.takeSettings(s, user, !found)
}

// ensureMember makes user a member of the owner, and refuses one who is a member of anything else: rights that only one
// of the pair has would come and go with each run.
func (u *Upstream) ensureMember(s *session, user string) error {
	rows, err := s.query(`SELECT g.rolname FROM pg_auth_members m
		JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1`, user)
	if err != nil {
		return err
	}
	member := false
	for _, row := range rows {
		if row[0] != u.Owner {
			return s.refuse(fmt.Sprintf("the user %q is also a member of %q", user, row[0]),
				fmt.Sprintf("grant that to the owner instead, then REVOKE %s FROM %s", quoteName(row[0]), quoteName(user)))
		}
		member = true
	}
	if member {
		return nil
	}
	return s.exec("GRANT " + quoteName(u.Owner) + " TO " + quoteName(user))
}

// overwrite sets the password of a user that exists.
func (u *Upstream) overwrite(s *session, candidate secret.Value) error {
	existing, found, err := s.role(u.User)
	switch {
	case err != nil:
		return err
	case !found:
		return s.refuse(fmt.Sprintf("the user %q does not exist", u.User), "create it, or use the mode alternate, which does")
	case existing.expired:
		return s.expired(u.User)
	}
	if err := u.setPassword(s, candidate); err != nil {
		return err
	}
	return u.mayMark(s)
}

// mayMark finds out whether a user that changes itself may comment on itself. Others must be able to.
func (u *Upstream) mayMark(s *session) error {
	rows, err := s.query("SELECT (current_user = $1)::text", u.User)
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0][0] != "true" {
		return nil
	}
	failure, err := s.attempt("COMMENT ON ROLE " + quoteName(u.User) + " IS NULL")
	if err != nil {
		return err
	}
	if failure != nil && failure.Code != statePrivilege {
		return fromServer(s.doing, failure, true)
	}
	s.unmarked = failure != nil
	return nil
}

// disable takes login and password from old's user, if it exists. A user without the claim has no password of Custody's:
// it is somebody else's, unless old opens it.
func (u *Upstream) disable(s *session, old secret.Value) error {
	user := old.ExposeText(login.Username)
	existing, found, err := s.role(user)
	if err != nil || !found {
		return err
	}
	if !s.claimed {
		opens, err := u.opens(s, old)
		if err != nil {
			return err
		}
		if !opens {
			return errNothing
		}
	}
	if existing.super {
		return s.refuse(fmt.Sprintf("the user %q is a superuser", user), "take its login away by hand; the run then continues")
	}
	return s.exec("ALTER ROLE " + quoteName(user) + " NOLOGIN PASSWORD NULL")
}

// opens signs in with v. Unlike Verify it does not mind whom the session becomes.
func (u *Upstream) opens(s *session, v secret.Value) (bool, error) {
	if !v.Has(login.Password) {
		return false, nil
	}
	conn, err := u.signIn(s.ctx, v)
	if err == nil {
		hangUp(conn)
		return true, nil
	}
	e := &upstream.Error{
		Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "it is not known whether the credential belongs to a user without a claim",
		Next: "Custody repeats the call once a sign-in is accepted or refused",
	}
	failure, answered := errors.AsType[*pgconn.PgError](err)
	switch {
	case !answered:
		_, e.Cause = upstream.Told(err, broken)
		return false, e
	case refusesCredential(failure):
		return false, nil
	}
	e.Said = said(failure)
	return false, e
}

// setPassword hands the password (or its verifier) and the user over as parameters and sets it inside a block that
// swallows the statement on failure, so that neither the server's log nor an error repeats it.
func (u *Upstream) setPassword(s *session, candidate secret.Value) error {
	text := candidate.ExposeText(login.Password)
	if u.SendPassword {
		if err := s.hush(); err != nil {
			return err
		}
	} else {
		iterations, err := s.iterations()
		if err != nil {
			return err
		}
		if text, err = verifier(u.Random, text, iterations); err != nil {
			return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "computing the verifier", Cause: err}
		}
	}
	_, failure, err := s.try(`SELECT 1 WHERE set_config('custody.user', $1, true) IS NULL
		OR set_config('custody.password', $2, true) IS NULL`, candidate.ExposeText(login.Username), text)
	if failure == nil && err == nil {
		_, failure, err = s.try(`DO $custody$ BEGIN
			EXECUTE format('ALTER ROLE %I PASSWORD %L', current_setting('custody.user'), current_setting('custody.password'));
		EXCEPTION WHEN query_canceled OR OTHERS THEN
			RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'setting the password failed';
		END $custody$`)
		if failure != nil && refusesCandidate(failure) {
			return &upstream.Error{
				Doing: s.doing, Class: upstream.ErrRefusedCandidate, Detail: "its password rule speaks", Said: said(failure),
				Next: "make the secret's generate rule at least as strict as the server's",
			}
		}
	}
	if failure != nil {
		return fromServer(s.doing, failure, false)
	}
	return err
}

// hush keeps the password out of the server's log where the admin may say so: a superuser.
func (s *session) hush() error {
	rows, err := s.query("SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user")
	if err != nil || len(rows) != 1 || rows[0][0] != "true" {
		return err
	}
	return s.exec(`SELECT set_config('log_statement', 'none', true), set_config('log_duration', 'off', true),
		set_config('log_min_duration_statement', '-1', true), set_config('log_min_duration_sample', '-1', true),
		set_config('log_transaction_sample_rate', '0', true), set_config('log_parameter_max_length', '0', true),
		set_config('log_parameter_max_length_on_error', '0', true), set_config('pg_stat_statements.track', 'none', true)`)
}

// iterations is the server's own choice where it has one (PostgreSQL 16).
func (s *session) iterations() (int, error) {
	rows, err := s.query("SELECT coalesce(current_setting('scram_iterations', true), '')")
	if err != nil || len(rows) != 1 || rows[0][0] == "" {
		return minIterations, err
	}
	chosen, err := strconv.Atoi(rows[0][0])
	if err != nil {
		return minIterations, nil //nolint:nilerr // not a number: not a choice
	}
	return min(max(chosen, minIterations), maxIterations), nil
}
