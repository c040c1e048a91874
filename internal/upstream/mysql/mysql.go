// SPDX-License-Identifier: Apache-2.0

// Package mysql rotates the password of accounts on MariaDB (10.4.3 or later) and MySQL (8.0.21 or later).
//
// # Modes
//
// alternate: two users take turns. Both are created if they do not exist, and get the same role. Apply sets the
// password of the user whose turn it is and unlocks it; Revoke sets a random password that nobody knows on the other,
// and locks it.
//
// dual: one existing user with two passwords. On MariaDB both are alternatives of the account's authentication
// (IDENTIFIED VIA … OR …); on MySQL the old one is retained (RETAIN CURRENT PASSWORD). Revoke leaves only the
// successor.
//
// overwrite: one existing user. Setting a password revokes the one before it; Revoke does nothing. The admin may be
// that user itself.
//
// # Guaranteed
//
// Each change is made under a lock of the server (GET_LOCK), with one message that first checks, on the server, that
// the lock is still held and that the deadline has not passed. If there is a marker table, and on MySQL in the
// accounts' attributes, a marker has the claim (platform, environment, secret), the current run and the runs before it;
// it is read and written under the same lock, before the change. A run that a later one has replaced changes nothing,
// nor does one with the claim of somebody else. On MariaDB the server ends a waiting change at the deadline
// (max_statement_time). One Verify is one sign-in attempt. The server gets a hash, never the password, unless
// SendPassword is set. In dual mode what is changed, and for a pair what is revoked, depends on whether the old
// password is still valid; this is tested by signing in with it under the lock. While the old password also works for
// an account of the same name with another host part, and the admin can see that account, Apply changes nothing and
// Revoke waits. Dual and overwrite do not change an account that can also authenticate in another way than by passwords
// of Custody's, because a change would remove that way.
//
// # Not guaranteed
//
// Changes of accounts are not transactions: a marker may be written although its change then fails, which does no harm.
// Without a place for the marker, nothing stops superseded runs or a second owner. The lock belongs to one server:
// nodes of a Galera cluster do not share it, so name one node. A replica that lags may accept a revoked password. The
// deadline depends on the server's clock; a jump of it during a call is not detected. On MySQL the deadline does not
// end a change that waits for another session's lock on the grant tables. An account that requires a client
// certificate, or TLS where it is disabled, is refused with the same error as a wrong password. With SendPassword the
// server sees the password, and shows it in its general log and its list of statements, unless the admin is allowed to
// switch off its own log (SUPER).
//
// # What the admin needs
//
// CREATE USER; for dual and overwrite SELECT on mysql.global_priv (MySQL: on the columns User, Host and plugin of
// mysql.user), which also shows accounts of the same name (MySQL: with authentication_string and account_locked); for
// the role of a pair ADMIN OPTION on it; for the marker table SELECT, INSERT and UPDATE on it; for Uses PROCESS. To
// overwrite itself on MariaDB: nothing. On MariaDB only an account that can write to the database mysql can set default
// roles of others: otherwise a person sets them, once.
//
// # Cost
//
// Verify is one connection and one query. Apply and Revoke are one connection and about nine round trips; in dual mode,
// and to revoke a pair, one sign-in more. On MariaDB a refused Verify in dual mode takes one more sign-in, as the
// admin. No connection is kept open between calls.
package mysql

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

const (
	defaultCallDeadline = 20 * time.Second
	maxName             = 80
)

// Config describes one account or pair on one server.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// Mode is how old and new passwords overlap.
	Mode upstream.Capability
	// Users and Role are for Alternate; Role may be empty.
	Users [2]string
	Role  string
	// User is for Dual and Overwrite.
	User string
	// Host part of the accounts, in lower case, as servers keep it. Default %.
	Host string
	// Plugin that checks the password. Default mysql_native_password on MariaDB, caching_sha2_password on MySQL.
	Plugin string
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// SendPassword sends the password itself instead of a hash, for servers whose password rule must see it.
	SendPassword bool
	// Usage makes alternate tell who uses a credential; see Uses.
	Usage bool
	// WrongEvery is as in upstream.Kind.
	WrongEvery time.Duration
	// Claim is who rotates this account: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	Clock func() time.Time
	// CallDeadline bounds each change. Default 20 s.
	CallDeadline time.Duration
	// Random is drawn from for passwords and salts. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one account or pair. It is safe for concurrent use.
type Upstream struct {
	Config
	account login.Account
	way     *way
	// rewritten are the plugins whose passwords a change may replace: where the document names one, any that is known.
	rewritten []string
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Witness  = (*Upstream)(nil)
	_ upstream.Marked   = (*Upstream)(nil)
	_ upstream.Owner    = (*Upstream)(nil)
)

// New checks config. It does not connect.
func New(config Config) (*Upstream, error) {
	config.Host = strings.ToLower(cmp.Or(config.Host, "%"))
	if config.Server.Product == "" {
		config.Server.Product = MariaDB
	}
	rewritten := config.Server.Product.plugins()
	if config.Plugin == "" {
		config.Plugin, rewritten = rewritten[0], rewritten[:1]
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring mysql upstream: %w", err)
	}
	if config.CallDeadline == 0 {
		config.CallDeadline = defaultCallDeadline
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	way, err := config.Server.way()
	if err != nil {
		return nil, fmt.Errorf("configuring mysql upstream: %w", err)
	}
	return &Upstream{Config: config, way: way, rewritten: rewritten, account: login.Account{
		Mode: config.Mode, Noun: "user", Names: config.users(), NewPassword: config.NewPassword, Random: config.Random,
	}}, nil
}

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil || c.NewPassword == nil:
		return errors.New("an admin credential, a clock and a password rule are needed")
	case c.CallDeadline < 0 || c.WrongEvery < 0:
		return errors.New("a duration is negative")
	case c.Claim == "" || !utf8.ValidString(c.Claim) || len(c.Claim) > 512:
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET, 512 bytes at most")
	case !slices.Contains([]upstream.Capability{upstream.Alternate, upstream.Dual, upstream.Overwrite}, c.Mode):
		return fmt.Errorf("mode %q: want alternate, dual or overwrite", c.Mode)
	case c.Mode == upstream.Dual && (c.SendPassword || c.Plugin == pluginEd25519):
		return errors.New("mode dual sends hashes, and on MariaDB those of mysql_native_password")
	case c.SendPassword && c.Server.Product == MySQL:
		return errors.New("MySQL takes the hash whatever its password rule is")
	}
	if err := c.Server.Product.check(c.Plugin); err != nil {
		return err
	}
	names := append(c.users(), c.Host)
	if c.Mode == upstream.Alternate {
		if c.Users[0] == c.Users[1] {
			return errors.New("the two users must be different")
		}
		if c.Role != "" {
			names = append(names, c.Role)
		}
	}
	for _, name := range names {
		if name == "" || !isName(name, maxName) {
			return fmt.Errorf("name %q: want 1 to %d characters of text", name, maxName)
		}
	}
	return nil
}

// isName reports whether text can be the name of a user, a role or a host.
func isName(text string, longest int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= longest && !strings.ContainsFunc(text, unicode.IsControl)
}

// users are those whose passwords are set, and whose accounts carry the marker.
func (c Config) users() []string {
	if c.Mode == upstream.Alternate {
		return []string{c.Users[0], c.Users[1]}
	}
	return []string{c.User}
}

// Kind describes the mode.
func (u *Upstream) Kind() upstream.Kind { return u.kind() }

// Whose goes by the name in v.
func (u *Upstream) Whose(_ context.Context, v secret.Value) (string, bool, error) {
	return u.account.Whose(v)
}

// kind needs no connection's settings, so that Describe can ask as well.
func (c Config) kind() upstream.Kind {
	kind := upstream.Kind{
		Name: "mysql", Capability: c.Mode, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: c.CallDeadline, Fences: c.marked(),
		WrongEvery: c.WrongEvery, Whose: login.ByName,
	}
	switch {
	case c.Mode == upstream.Overwrite:
		kind.Undo = upstream.Reapply
	case c.Mode == upstream.Alternate && c.Usage:
		kind.Evidence = &upstream.Evidence{Source: "open sessions (information_schema.PROCESSLIST)", Fine: time.Second, Names: true}
	}
	return kind
}

// marked reports whether there is a place for the marker.
func (c Config) marked() bool { return c.Server.MarkerTable != "" || c.Server.Product == MySQL }

// Propose draws a password for the user whose turn it is: of a pair, the one that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return u.account.Propose(ctx, current)
}

// Apply makes the server honour candidate.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if err := u.ours(candidate); err != nil {
		return secret.Value{}, &upstream.Error{Doing: login.Applying, Class: upstream.ErrNotApplied, Cause: err}
	}
	err := u.change(ctx, login.Applying, run, func(s *session) error {
		if err := u.noSibling(s, current); err != nil {
			return err
		}
		switch u.Mode {
		case upstream.Alternate:
			return u.alternate(s, candidate)
		case upstream.Dual:
			return u.addPassword(s, current, candidate)
		default:
			return u.overwrite(s, candidate)
		}
	})
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// ours checks that v is a credential of a user this upstream may change.
func (u *Upstream) ours(v secret.Value) error {
	if err := u.account.Check(v); err != nil {
		return err
	}
	if password := v.ExposeText(login.Password); !utf8.ValidString(password) || strings.ContainsRune(password, 0) {
		return errors.New("the password is not text that the server can hold")
	}
	return nil
}

// Revoke makes the server refuse old. Open sessions are left alone. A user of a pair is changed only if old opens it. A
// user outside the account (a credential from before Custody) is never changed: Revoke then succeeds only once somebody
// has made the server refuse it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	switch {
	case u.account.Replaced(old, successor):
		return nil
	case !u.account.Manages(old.ExposeText(login.Username)):
		return u.account.Foreign(ctx, u.Verify, old, "lock it by hand (ALTER USER … ACCOUNT LOCK)")
	}
	return u.change(ctx, login.Revoking, run, func(s *session) error {
		host, err := u.sibling(s, old)
		if err != nil {
			return err
		}
		revoke := func() error { return u.disable(s, old) }
		if u.Mode == upstream.Dual {
			revoke = func() error { return u.dropPassword(s, old, successor) }
		}
		if err := revoke(); err != nil || host == "" {
			return err
		}
		return u.shared(s, old, host, nil) // what could be revoked is
	})
}
