// SPDX-License-Identifier: Apache-2.0

// Package redis rotates the passwords of users in the access control lists of Redis 6 or later, and of Valkey.
//
// # Modes
//
// dual: one existing user with two passwords. Apply adds the digest of the candidate, Revoke removes that of the old
// one.
//
// alternate: two users take turns. Both get the permissions of a template, which is a user that is off and has no
// password. Apply copies the template's permissions to the user whose turn it is, with the candidate as its only
// password. Revoke switches the other off and removes its passwords, if the old one is among them. If one of the two
// users belongs to somebody else, Apply changes nothing, and Revoke does not touch that user: it has no claim, the
// current credential does not work for it, and it can be signed in to or has permissions that are not the template's.
//
// # Guaranteed
//
// Each change is one ACL SETUSER, which the server does completely or not at all. It also writes the account's marker:
// entries in the user's list of password digests (see marker.go) with a digest of the claim, the current run, the eight
// runs before it and a count of changes. A change names the marker that was read; if that is gone, the server does
// nothing. So a late call changes nothing after any other change by Custody, nor does one of a run that a later one has
// replaced. For a pair, a run marks both users before it changes either. Passwords are sent only to sign in with them;
// users get SHA-256 digests. One Verify is one sign-in attempt on each node.
//
// # Not guaranteed
//
// The server does not know the deadline: a call that is delayed past it still takes effect, if nothing changed the user
// in between. Servers do not replicate users: all must be named, and a change is made on one after the other. If it
// stops halfway, the nodes disagree and Verify answers Unknown; applying, revoking or undoing again repairs that. Open
// connections stay open when a password is revoked. A server that does not persist its users loses changes at a
// restart. The server stores digests without salt: passwords must be random.
//
// # What the admin needs
//
// ACL LIST, ACL SETUSER and ACL SAVE (or CONFIG REWRITE); for Uses, CLIENT LIST. An account that can run ACL SETUSER
// can give itself every permission. In mode dual the admin may be the user itself.
//
// # Cost, per node
//
// Verify is one connection and two round trips. Apply and Revoke are one connection and six round trips, in mode
// alternate up to seven, and two more for a user without a marker. No connection is kept open between calls.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// Persist says how the server keeps its users over a restart.
type Persist string

const (
	// ACLFile: ACL SAVE.
	ACLFile Persist = "aclFile"
	// ConfigFile: CONFIG REWRITE.
	ConfigFile Persist = "configFile"
	// None: the server forgets.
	None Persist = "none"
)

const defaultCallDeadline = 20 * time.Second

// Config describes one user or pair on one server, or on several that hold the same users.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// Mode is upstream.Dual or upstream.Alternate.
	Mode upstream.Capability
	// User is for Dual.
	User string
	// Template and Users are for Alternate.
	Template string
	Users    [2]string
	// Persist defaults to ACLFile.
	Persist Persist
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// Claim is who rotates this account: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	Clock func() time.Time
	// CallDeadline bounds each change. Default 20 s.
	CallDeadline time.Duration
	// Random is drawn from for passwords. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one user or pair. It is safe for concurrent use.
type Upstream struct {
	Config
	account login.Account
	nodes   []node
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Owner    = (*Upstream)(nil)
)

// New checks config. It does not connect.
func New(config Config) (*Upstream, error) {
	if config.CallDeadline == 0 {
		config.CallDeadline = defaultCallDeadline
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if config.Persist == "" {
		config.Persist = ACLFile
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring redis upstream: %w", err)
	}
	nodes, err := config.Server.nodes()
	if err != nil {
		return nil, fmt.Errorf("configuring redis upstream: %w", err)
	}
	return &Upstream{Config: config, nodes: nodes, account: login.Account{
		Mode: config.Mode, Noun: "user", Names: config.users(), NewPassword: config.NewPassword, Random: config.Random,
	}}, nil
}

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil || c.NewPassword == nil:
		return errors.New("an admin credential, a clock and a password rule are needed")
	case c.CallDeadline < 0:
		return errors.New("the call deadline is negative")
	case c.Claim == "":
		return errors.New("a claim is needed: PLATFORM/ENVIRONMENT/SECRET")
	case c.Mode != upstream.Dual && c.Mode != upstream.Alternate:
		return fmt.Errorf("mode %q: want dual or alternate", c.Mode)
	case c.Persist != ACLFile && c.Persist != ConfigFile && c.Persist != None:
		return fmt.Errorf("persist %q: want aclFile, configFile or none", c.Persist)
	}
	names := c.users()
	if c.Mode == upstream.Alternate {
		names = append(names, c.Template)
		if c.Template == c.Users[0] || c.Template == c.Users[1] || c.Users[0] == c.Users[1] {
			return errors.New("the template and the two users must be three different users")
		}
	}
	for _, name := range names {
		if name == "" || !isName(name) {
			return fmt.Errorf("user %q: want a name without spaces", name)
		}
	}
	return nil
}

// isName reports whether an ACL command can hold the name of a user.
func isName(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r == 0 || unicode.IsSpace(r) })
}

// users are those whose passwords are set.
func (c Config) users() []string {
	if c.Mode == upstream.Alternate {
		return []string{c.Users[0], c.Users[1]}
	}
	return []string{c.User}
}

// Kind describes the mode.
func (u *Upstream) Kind() upstream.Kind {
	return upstream.Kind{
		Name: "redis", Capability: u.Mode, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: u.CallDeadline, Fences: true, Whose: login.ByName,
	}
}

// Whose goes by the name in v.
func (u *Upstream) Whose(_ context.Context, v secret.Value) (string, bool, error) {
	return u.account.Whose(v)
}

// Propose draws a password: for the one user, or for that of the pair that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return u.account.Propose(ctx, current)
}

// Apply makes candidate's user sign in with candidate's password, at every node.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if err := u.account.Check(candidate); err != nil {
		return secret.Value{}, &upstream.Error{Doing: login.Applying, Class: upstream.ErrNotApplied, Cause: err}
	}
	err := u.change(ctx, change{
		doing: login.Applying, run: run, user: candidate.ExposeText(login.Username), digest: digest(candidate), apply: true, kept: current,
	})
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// digest is how Redis keeps a password.
func digest(v secret.Value) string {
	sum := sha256.Sum256(v.Expose(login.Password))
	return hex.EncodeToString(sum[:])
}

// Revoke makes every node refuse old: dual, by removing its password; alternate, by switching its user off if old opens
// it, unless that is successor's too. Open connections are left alone. A user that is not this account's (a credential
// from before Custody) is never changed: Revoke then succeeds only once somebody has made the server refuse it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	name := old.ExposeText(login.Username)
	switch {
	case !u.account.Manages(name):
		return u.account.Foreign(ctx, u.Verify, old, "switch it off by hand (ACL SETUSER … off)")
	case u.account.Replaced(old, successor):
		return nil
	}
	return u.change(ctx, change{doing: login.Revoking, run: run, user: name, digest: digest(old), kept: successor})
}

// Verify signs in once as v's user at every node, each time on a connection of its own. Nodes that disagree decide
// nothing.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = login.SigningIn
	name, password := v.ExposeText(login.Username), v.ExposeText(login.Password)
	if name == "" || !v.Has(login.Password) {
		return upstream.Unknown, &upstream.Error{Doing: doing, Detail: login.Lacking}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	at := map[upstream.Verdict][]string{}
	for _, n := range u.nodes {
		c, code, err := n.signIn(ctx, name, password)
		switch {
		case err != nil:
			detail, cause := upstream.Told(err, broken(err))
			return upstream.Unknown, &upstream.Error{Doing: doing, At: n.address, Detail: detail, Cause: cause}
		case code == "":
			c.close()
			at[upstream.Accepted] = append(at[upstream.Accepted], n.address)
		case code == codeWrongPassword:
			at[upstream.Refused] = append(at[upstream.Refused], n.address)
		default:
			return upstream.Unknown, &upstream.Error{Doing: doing, At: n.address, Said: said(code)}
		}
	}
	if len(at) > 1 {
		return upstream.Unknown, &upstream.Error{
			Doing: doing, Detail: fmt.Sprintf("%s accepts what %s refuses", strings.Join(at[upstream.Accepted], ", "), strings.Join(at[upstream.Refused], ", ")),
			Next: "a change stopped halfway, or a node was restored from older users: abort the run, which removes its candidate on every node, or make the users of all nodes equal (ACL LIST on each)",
		}
	}
	for verdict := range at {
		return verdict, nil
	}
	return upstream.Unknown, &upstream.Error{Doing: doing, Detail: "there is no node to ask"}
}
