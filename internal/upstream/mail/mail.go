// SPDX-License-Identifier: Apache-2.0

// Package mail rotates the password of a mail login: what Postfix and Dovecot check when somebody signs in to send
// mail. Passwords are stored in a passwd-file of Dovecot, in a table, or in a directory; they are tested by signing in
// for submission.
//
// # Modes
//
// dual: one login in two passdbs of Dovecot, with a different password in each: two passwd-files, two rows, or one
// entry of a directory. Apply writes the candidate where the current password is not; Revoke replaces the old one's
// hash with one that no known password has.
//
// alternate: two logins that take turns.
//
// overwrite: one login with one password. Revoke does nothing.
//
// # Guaranteed
//
// A passwd-file is replaced atomically, under a lock on its folder; its mode, its owner and every other line stay
// exactly as they are. A row is changed in one transaction that locks the login's rows. Each row or line has a marker,
// which is checked and written together with the password: the claim, the current run and the runs before it. A run
// that a later one has replaced changes nothing, nor does one with the claim of somebody else. If a change waits for
// the lock of one whose reply was lost, it sees what that one did; so late calls take effect before a later run, or not
// at all. A password is stored as a bcrypt hash. Verify is one real AUTH over verified TLS, and sends no mail; an empty
// password is never tried. A refusal is believed if another credential of the account is accepted at that moment, or if
// the password is not stored.
//
// # Not guaranteed
//
// Programs that edit the passwd-file without the lock may undo a change, or lose theirs: what they wrote since the file
// was read is noticed only until the moment of the rename. The lock has no effect on other machines that share the
// file. The two files of mode dual are not changed in one transaction: the marker is written to both before either
// password changes. Dovecot's auth cache may accept an old password for some time; Settle says how long. Open sessions
// stay open. There is no evidence of use, because logs are not read. If this package cannot compute the hash of an old
// value, it infers that value from its place. For a directory, the guarantees of the ldap kind apply.
//
// # What the admin needs
//
// passwd-file: none; the account that Custody runs as writes to the folder. Table: SELECT and UPDATE on it. Directory:
// see the ldap kind.
//
// # Cost
//
// Verify is one connection, TLS, EHLO and AUTH; a refusal takes the same again, and one read. Apply and Revoke are one
// read and one or two replaced files, or one connection and five statements.
package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/login/hashing"

	"golang.org/x/crypto/bcrypt"
)

const (
	defaultCallDeadline = 20 * time.Second
	// rereads is how long Dovecot may go by a passwd-file that was replaced: it looks once in each second of its clock.
	// Where nothing else is said, a second is added for a clock that is set back a little.
	rereads       = time.Second
	defaultSettle = 2 * time.Second
)

// Config describes one login or pair on one server. Exactly one of File, SQL and Directory is set.
type Config struct {
	Submission Submission
	Mode       upstream.Capability
	// User is for upstream.Dual and upstream.Overwrite, Users for upstream.Alternate.
	User  string
	Users [2]string
	File  *PasswdFile
	SQL   *SQL
	// Directory changes the logins' entries, whose names are in Entries, in the order of the logins.
	Directory upstream.Upstream
	Entries   []string
	// Known returns credentials of this account that may be honoured: the value of record, and a candidate. nil for none.
	// They vouch for the server when it refuses another.
	Known func(ctx context.Context) ([]secret.Value, error)
	// Settle and WrongEvery are as in upstream.Kind. With a File, Settle is 2 s by default and 1 s at least.
	Settle, WrongEvery time.Duration
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// Claim is who rotates this account: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	// CallDeadline bounds each change. Default 20 s.
	CallDeadline time.Duration
	// Cost is bcrypt's, of the hashes in a File or an SQL. Default 10.
	Cost int
	// Random is drawn from for passwords. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one login or pair. It is safe for concurrent use.
type Upstream struct {
	Config
	account login.Account
	tls     *tls.Config
	store   store
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Owner    = (*Upstream)(nil)
)

// row is where one password of one login is kept.
type row struct {
	login string
	// slot is 1, or 2 for the second password of mode dual.
	slot     int
	password string
	marker   string
}

// store keeps rows.
type store interface {
	// change locks the rows of these logins and slots, has body change them, and keeps them; with an error of body,
	// nothing is kept. Its own errors say that nothing was, unless they carry no class.
	change(ctx context.Context, doing string, places []row, body func([]*row) error) error
	// read returns these rows as they are.
	read(ctx context.Context, doing string, places []row) ([]*row, error)
}

// New checks config. It neither connects nor reads.
func New(config Config) (*Upstream, error) {
	u := &Upstream{Config: config}
	if u.CallDeadline == 0 {
		u.CallDeadline = defaultCallDeadline
	}
	if u.Random == nil {
		u.Random = rand.Reader
	}
	if u.Cost == 0 {
		u.Cost = bcrypt.DefaultCost
	}
	if u.File != nil && u.Settle == 0 {
		u.Settle = defaultSettle
	}
	u.account = login.Account{Mode: u.Mode, Noun: "login", Names: u.names(), NewPassword: u.NewPassword, Random: u.Random}
	if err := u.check(); err != nil {
		return nil, fmt.Errorf("configuring mail upstream: %w", err)
	}
	return u, nil
}

func (u *Upstream) check() (err error) {
	switch {
	case u.NewPassword == nil:
		return errors.New("a password rule is needed")
	case u.CallDeadline < 0 || u.Settle < 0 || u.WrongEvery < 0:
		return errors.New("a duration is negative")
	case u.File != nil && u.Settle < rereads:
		return fmt.Errorf("a passwd-file settles in %s at the earliest", rereads)
	case !wordForm.MatchString(u.Claim) || len(u.Claim) > 256:
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET, 256 bytes at most")
	case u.Cost < bcrypt.MinCost || u.Cost > bcrypt.MaxCost:
		return fmt.Errorf("bcrypt knows no cost %d", u.Cost)
	case u.Mode != upstream.Dual && u.Mode != upstream.Alternate && u.Mode != upstream.Overwrite:
		return fmt.Errorf("mode %q: want dual, alternate or overwrite", u.Mode)
	case u.Mode == upstream.Alternate && u.Users[0] == u.Users[1]:
		return errors.New("the two logins must be different")
	}
	for _, name := range u.account.Names {
		if !isLogin(name) {
			return fmt.Errorf("%q is not a mail login", name)
		}
	}
	stores := 0
	if u.File != nil {
		stores++
		file := *u.File
		file.random, file.cost = u.Random, u.Cost
		u.store, err = &file, file.check(u.Mode)
	}
	if u.SQL != nil {
		stores++
		u.store, err = u.SQL.open(u.Mode, u.CallDeadline)
	}
	if u.Directory != nil {
		stores++
		if len(u.Entries) != len(u.account.Names) {
			err = errors.New("each login needs the name of its entry")
		}
	}
	if stores != 1 {
		return errors.New("exactly one place where passwords are kept is needed")
	}
	if err != nil {
		return err
	}
	u.tls, err = u.Submission.check()
	return err
}

func (c Config) names() []string {
	if c.Mode == upstream.Alternate {
		return c.Users[:]
	}
	return []string{c.User}
}

// places are the account's rows.
func (u *Upstream) places() []row {
	switch u.Mode {
	case upstream.Alternate:
		return []row{{login: u.Users[0], slot: 1}, {login: u.Users[1], slot: 1}}
	case upstream.Dual:
		return []row{{login: u.User, slot: 1}, {login: u.User, slot: 2}}
	}
	return []row{{login: u.User, slot: 1}}
}

// Kind describes the mode.
func (u *Upstream) Kind() upstream.Kind {
	kind := upstream.Kind{
		Name: "mail", Capability: u.Mode, Undo: upstream.Discard, LostReply: upstream.Recover, Verifies: true,
		CallDeadline: u.CallDeadline, Fences: true, Settle: u.Settle, WrongEvery: u.WrongEvery, Whose: login.ByName,
	}
	if u.Mode == upstream.Overwrite {
		kind.Undo = upstream.Reapply
	}
	if u.Directory != nil {
		directory := u.Directory.Kind()
		kind.CallDeadline, kind.Fences = directory.CallDeadline, directory.Fences
		kind.Settle = max(u.Settle, directory.Settle)
		kind.WrongEvery = max(u.WrongEvery, directory.WrongEvery)
	}
	return kind
}

// Whose goes by the name in v.
func (u *Upstream) Whose(_ context.Context, v secret.Value) (string, bool, error) {
	return u.account.Whose(v)
}

// Propose draws a password for the login whose turn it is: of a pair, the one that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return u.account.Propose(ctx, current)
}

// withoutNUL is what AUTH PLAIN asks of both besides.
const withoutNUL = ", neither of them with a NUL"

// Apply makes candidate's login sign in with candidate's password.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	const doing = login.Applying
	if err := u.account.Check(candidate); err != nil {
		return secret.Value{}, notApplied(doing, err.Error(), "")
	}
	name, password := candidate.ExposeText(login.Username), candidate.ExposeText(login.Password)
	if strings.ContainsRune(password, 0) {
		return secret.Value{}, notApplied(doing, login.Lacking+withoutNUL, "")
	}
	if u.Directory != nil {
		if _, err := u.Directory.Apply(ctx, run, u.entry(current), u.entry(candidate)); err != nil {
			return secret.Value{}, err
		}
		return candidate, nil
	}
	made, err := hashed(u.Cost, password)
	if errors.Is(err, hashing.ErrTooLong) {
		return secret.Value{}, &upstream.Error{Doing: doing, Class: upstream.ErrRefusedCandidate, Cause: err, Next: "change the secret's generate rule so that it makes shorter passwords"}
	}
	if err != nil {
		return secret.Value{}, notApplied(doing, err.Error(), "")
	}
	err = u.change(ctx, doing, run, func(rows []*row) error {
		if target := u.target(rows, name, current, password); target != nil {
			target.password = made
		}
		return nil
	})
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// target is where the login's new password goes, nil when one of its rows has it already. In mode dual that is not
// where the current one is: a password whose scheme cannot be computed is taken for the current one.
func (u *Upstream) target(rows []*row, name string, current secret.Value, password string) *row {
	var own []*row
	for _, r := range rows {
		if r.login == name {
			own = append(own, r)
		}
	}
	for _, r := range own {
		if compare(r.password, password) == hashing.Same {
			return nil
		}
	}
	if u.Mode != upstream.Dual {
		return own[0]
	}
	for i, r := range own {
		if compare(r.password, current.ExposeText(login.Password)) == hashing.Same {
			return own[1-i]
		}
	}
	for i, r := range own {
		if compare(r.password, current.ExposeText(login.Password)) == hashing.Untold {
			return own[1-i]
		}
	}
	return own[1]
}

// Revoke makes the server refuse old. Of a pair a login is changed only if old opens it. A login outside the account (a
// credential from before Custody) is never changed: Revoke then succeeds only once somebody has made the server refuse
// it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	const doing = login.Revoking
	name, password := old.ExposeText(login.Username), old.ExposeText(login.Password)
	switch {
	case u.account.Replaced(old, successor):
		return nil
	case !u.account.Manages(name):
		return u.account.Foreign(ctx, u.Verify, old, "take its password away by hand")
	}
	if u.Directory != nil {
		return u.Directory.Revoke(ctx, run, u.entry(old), u.entry(successor))
	}
	nobodys, err := locked(u.Random, u.Cost)
	if err != nil {
		return notApplied(doing, err.Error(), "")
	}
	return u.change(ctx, doing, run, func(rows []*row) error {
		for _, r := range rows {
			if r.login != name {
				continue
			}
			held := u.Mode == upstream.Dual && holds(r, rows, password, successor.ExposeText(login.Password))
			if u.Mode == upstream.Alternate {
				var err error
				if held, err = u.opens(ctx, doing, r, old); err != nil {
					return err
				}
			}
			if held {
				r.password = nobodys
			}
		}
		return nil
	})
}

// opens reports whether old opens the row of a pair: by its hash, or, where that cannot be computed, by a sign-in. The
// claim does not tell, since it is at both logins before either has a password of Custody's.
func (u *Upstream) opens(ctx context.Context, doing string, r *row, old secret.Value) (bool, error) {
	switch compare(r.password, old.ExposeText(login.Password)) {
	case hashing.Same:
		return true, nil
	case hashing.Differs:
		return false, nil
	}
	verdict, err := u.Verify(ctx, old)
	if verdict == upstream.Unknown {
		return false, &upstream.Error{
			Doing: doing, Class: upstream.ErrNotApplied, Detail: fmt.Sprintf("it is not known whether %q accepts the old password", r.login), Cause: err,
			Next: "Custody repeats the call once a sign-in is accepted or refused",
		}
	}
	return verdict == upstream.Accepted, nil
}

// holds reports whether r holds the old password of mode dual: by its hash, or, where that cannot be computed, because
// the other row holds the successor.
func holds(r *row, rows []*row, old, successor string) bool {
	if compare(r.password, successor) == hashing.Same {
		return false
	}
	if got := compare(r.password, old); got != hashing.Untold {
		return got == hashing.Same
	}
	for _, other := range rows {
		if other != r && compare(other.password, successor) == hashing.Same {
			return true
		}
	}
	return false
}

// entry is v with the name of its login's entry.
func (u *Upstream) entry(v secret.Value) secret.Value {
	for i, name := range u.account.Names {
		if v.ExposeText(login.Username) == name {
			if named, err := v.With(login.Username, []byte(u.Entries[i])); err == nil {
				return named
			}
		}
	}
	return v
}

// change lets body change the account's rows, if run is not superseded.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID, body func([]*row) error) error {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if !wordForm.MatchString(string(run)) {
		return notApplied(doing, "a run id is needed, of letters, digits and ._/@+-", "")
	}
	if err := ctx.Err(); err != nil {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	return u.store.change(ctx, doing, u.places(), func(rows []*row) error {
		for _, r := range rows {
			m, err := u.marked(doing, r)
			if err != nil {
				return err
			}
			next, ok := m.begin(run)
			if !ok {
				return login.Superseded(doing, run, m.Run)
			}
			r.marker = next.encode()
		}
		return body(rows)
	})
}
