// SPDX-License-Identifier: Apache-2.0

// Package postgres rotates the password of PostgreSQL roles, server version 14 or later.
//
// # Modes
//
// alternate: two login users take turns. At sign-in both become one owner role (ALTER ROLE … SET role), so objects
// belong to the owner, whichever user creates them. The owner cannot log in. All three are created if they do not
// exist. Apply copies the owner's settings and connection limit to the user whose turn it is, and sets its password;
// Revoke removes LOGIN and the password from the other.
//
// overwrite: one existing login user. Setting a password revokes the one before it; Revoke does nothing. The admin may
// be that user itself.
//
// # Guaranteed
//
// Each change is one transaction: lock the account, check its marker, make the change, write the new marker. The marker
// is the comment of the owner (alternate) or of the user (overwrite); it has the claim (platform, environment, secret),
// the current run and the runs before it. A run that a later one has replaced changes nothing, nor does one with the
// claim of somebody else; a comment written by a person counts as such a claim. Users of a pair have the claim too. The
// server itself enforces the call's deadline: lock and statement timeouts are shorter, and the COMMIT is sent together
// with a check of the server's clock, so that a message that arrives late commits nothing. One Verify is one sign-in
// attempt. By default the server gets a SCRAM-SHA-256 verifier, never the password.
//
// # Not guaranteed
//
// The deadline depends on the server's wall clock during one call (20 s): its difference to Custody's clock is measured
// when the call starts, and a later jump is not detected. The marker remembers the last 16 runs. The lock is per
// database: another Custody that manages the same roles must use the same database for administration. Changes are made
// on the server itself, never through a pooler. Standbys, and poolers that are not named in AlsoAt, may still accept a
// revoked credential. Open sessions stay open when a credential is revoked; EndSessions ends them. With SendPassword the server sees the password and may show it: in its log with log_statement=all, log_duration or
// log_min_duration_statement (these are switched off for the statement if the admin is a superuser), in
// pg_stat_statements with track=all, and to any auditing extension. A user that rotates itself without CREATEROLE (or,
// from PostgreSQL 16 on, without being a superuser) is not allowed to comment on itself: that account has the lock and
// the deadline, but no marker.
//
// # What the admin needs
//
// To overwrite itself: nothing. Otherwise LOGIN and CREATEROLE on all versions; a superuser is not needed. This is
// enough up to PostgreSQL 15. From 16 on, a CREATEROLE role manages only roles that it created or has ADMIN OPTION on,
// so for existing roles: GRANT owner, user_a, user_b TO admin WITH ADMIN OPTION. To end sessions: pg_signal_backend.
// For Uses: pg_read_all_stats. With AlsoAt: permission to sign in there, so that an error there can be distinguished
// from a refusal. From PostgreSQL 16 on a pair cannot administer itself (no role has ADMIN OPTION on itself): rotate
// the admin in mode overwrite. Custody does not grant the owner its permissions on schemas and objects; the users need
// CONNECT on the database named in the Upstream document, which Verify signs in to.
//
// # Cost
//
// Verify is one connection and one query, and the same again for each further server, twice if it refuses. Apply and
// Revoke are one connection and about twelve round trips each. No connection is kept open between calls.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	defaultCallDeadline = 20 * time.Second
	// maxName is the longest role name that PostgreSQL does not cut (NAMEDATALEN - 1).
	maxName = 63
)

// Config describes one account or pair on one server.
type Config struct {
	Server Server
	// AlsoAt are further places that take the same credentials, poolers above all: Verify asks there as well.
	AlsoAt []Endpoint
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// Mode is how old and new passwords overlap: not dual.
	Mode upstream.Capability
	// Owner and Users are for Alternate.
	Owner string
	Users [2]string
	// User is for Overwrite.
	User string
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// SendPassword sends the password itself instead of a verifier, for servers whose password rule must see it.
	SendPassword bool
	// Usage makes alternate tell who uses a credential; see Uses.
	Usage bool
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
	base    *pgconn.Config
	also    []place
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Witness  = (*Upstream)(nil)
	_ upstream.Marked   = (*Upstream)(nil)
	_ upstream.Owner    = (*Upstream)(nil)
)

// New checks config. It does not connect.
func New(config Config) (*Upstream, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring postgres upstream: %w", err)
	}
	if config.CallDeadline == 0 {
		config.CallDeadline = defaultCallDeadline
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	base, err := config.Server.connection()
	if err != nil {
		return nil, fmt.Errorf("configuring postgres upstream: %w", err)
	}
	u := &Upstream{Config: config, base: base, account: login.Account{
		Mode: config.Mode, Noun: "role", Names: config.users(), NewPassword: config.NewPassword, Random: config.Random,
	}}
	for _, endpoint := range config.AlsoAt {
		further, err := endpoint.place()
		if err != nil {
			return nil, fmt.Errorf("configuring postgres upstream: %w", err)
		}
		u.also = append(u.also, further)
	}
	return u, nil
}

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil || c.NewPassword == nil:
		return errors.New("an admin credential, a clock and a password rule are needed")
	case c.CallDeadline < 0:
		return errors.New("the call deadline is negative")
	case c.Claim == "" || !utf8.ValidString(c.Claim) || len(c.Claim) > 512:
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET, 512 bytes at most")
	case c.Mode != upstream.Alternate && c.Mode != upstream.Overwrite:
		return fmt.Errorf("mode %q: want alternate or overwrite", c.Mode)
	}
	roles := c.users()
	if c.Mode == upstream.Alternate {
		roles = append(roles, c.Owner)
		if c.Owner == c.Users[0] || c.Owner == c.Users[1] || c.Users[0] == c.Users[1] {
			return errors.New("the owner and the two users must be three different roles")
		}
	}
	for _, role := range roles {
		if err := checkRole(role); err != nil {
			return err
		}
	}
	return nil
}

// users are those whose passwords are set.
func (c Config) users() []string {
	if c.Mode == upstream.Alternate {
		return []string{c.Users[0], c.Users[1]}
	}
	return []string{c.User}
}

func checkRole(name string) error {
	if name == "" {
		return errors.New("a role name is missing")
	}
	if fault := roleFault(name); fault != "" {
		return fmt.Errorf("role %q: %s", name, fault)
	}
	return nil
}

// roleFault says why no role that Custody rotates can have the name; "" when one can.
func roleFault(name string) string {
	switch {
	case len(name) > maxName || strings.HasPrefix(name, "pg_"):
		return fmt.Sprintf("the role name is longer than %d bytes or begins with pg_", maxName)
	case name == "public" || name == "none":
		return "the role name is one that PostgreSQL keeps for itself"
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return "the role name is not text"
	}
	return ""
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
		Name: "postgres", Capability: c.Mode, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: c.CallDeadline, Fences: true, Whose: login.ByName,
	}
	switch {
	case c.Mode == upstream.Overwrite: // a user that rotates itself may have no marker
		kind.Undo, kind.Fences = upstream.Reapply, false
	case c.Usage:
		kind.Evidence = &upstream.Evidence{Source: "open sessions (pg_stat_activity)", Fine: time.Second, Names: true}
	}
	return kind
}

// Propose draws a password for the user whose turn it is: of a pair, the one that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return u.account.Propose(ctx, current)
}

// Apply makes candidate's user sign in with candidate's password.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	if err := u.ours(candidate); err != nil {
		return secret.Value{}, &upstream.Error{Doing: login.Applying, Class: upstream.ErrNotApplied, Cause: err}
	}
	err := u.change(ctx, login.Applying, run, candidate.ExposeText(login.Username), func(s *session) error {
		if u.Mode == upstream.Overwrite {
			return u.overwrite(s, candidate)
		}
		return u.alternate(s, candidate)
	})
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// ours checks that v is a credential of a role this upstream may change.
func (u *Upstream) ours(v secret.Value) error {
	if err := u.account.Check(v); err != nil {
		return err
	}
	if password := v.ExposeText(login.Password); !utf8.ValidString(password) || strings.ContainsRune(password, 0) {
		return errors.New("the password is not text that PostgreSQL can hold")
	}
	return nil
}

// Revoke takes LOGIN and the password from old's user, unless it is successor's user too. Its open sessions are left
// alone; see EndSessions. A user of the pair that does not carry the claim is changed only if old opens it. A user outside the pair (a
// credential from before Custody) is never changed: Revoke then succeeds only once somebody has made the server refuse
// it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	user := old.ExposeText(login.Username)
	switch {
	case u.account.Replaced(old, successor):
		return nil
	case !u.account.Manages(user):
		return u.account.Foreign(ctx, u.Verify, old, "take its login away by hand (ALTER ROLE … NOLOGIN)")
	}
	return u.change(ctx, login.Revoking, run, user, func(s *session) error { return u.disable(s, old) })
}
