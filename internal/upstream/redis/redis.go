// SPDX-License-Identifier: Apache-2.0

// Package redis rotates the passwords of users in the access control lists of Redis 6 or later, and of Valkey.
//
// # Modes
//
// dual: one existing user with two passwords. Apply adds the digest of the candidate, Revoke removes that of the old one.
//
// alternate: two users take turns. Both get the rights of a template, a user that is off and has no password. Apply
// copies its rights to the user whose turn it is and gives that the candidate as its only password; Revoke switches the
// other off and takes its passwords, if the old one is among them.
//
// # Guaranteed
//
// Each change is one ACL SETUSER, which the server does in whole or not at all. It takes the account's marker along: some
// entries in the user's list of password digests (see marker.go) that hold a digest of the claim, the current run, the
// eight runs before it and a count of changes. A change names the marker that it has seen; when that is gone, the server
// does nothing. So a call that arrives late, after any other change of Custody's, changes nothing, nor does one of a run
// that a later one superseded. Of a pair a run takes both users' markers before it changes either. Passwords are not sent
// except to sign in with them; users are given SHA-256 digests. One Verify is one sign-in attempt per node.
//
// # Not guaranteed
//
// The server does not know the deadline: a call that lies on the wire for longer still takes effect, if nothing changed
// the user since. Servers do not replicate users: all must be named, and a change reaches one after the other; when it
// stops halfway, nodes disagree, Verify says Unknown, and applying, revoking or undoing again heals. Connections that are
// open when a password is revoked stay open. A server that is told not to persist its users forgets at its restart.
// Passwords are digested without salt, by the server's own rule: they must be drawn, not thought up.
//
// # What the admin needs
//
// ACL LIST, ACL SETUSER and ACL SAVE (or CONFIG REWRITE); to tell uses, CLIENT LIST. Who may ACL SETUSER may give itself
// every right. The admin may be the user itself, in mode dual.
//
// # Cost, per node
//
// Verify is one connection and two round trips. Apply and Revoke are one connection and six round trips, in mode
// alternate up to seven, and two more for a user that carries no marker yet. Nothing is kept open between calls.
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
)

// Mode says how old and new passwords overlap.
type Mode string

const (
	// Dual has one user with two passwords.
	Dual Mode = "dual"
	// Alternate has two users that take turns.
	Alternate Mode = "alternate"
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

// Fields of the values.
const (
	FieldUsername = "username"
	FieldPassword = "password"
)

const defaultCallDeadline = 20 * time.Second

// Config describes one user or pair on one server, or on several that hold the same users.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	Mode  Mode
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
	nodes []node
}

var _ upstream.Upstream = (*Upstream)(nil)

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
	return &Upstream{Config: config, nodes: nodes}, nil
}

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil || c.NewPassword == nil:
		return errors.New("an admin credential, a clock and a password rule are needed")
	case c.CallDeadline < 0:
		return errors.New("the call deadline is negative")
	case c.Claim == "":
		return errors.New("a claim is needed: PLATFORM/ENVIRONMENT/SECRET")
	case c.Mode != Dual && c.Mode != Alternate:
		return fmt.Errorf("mode %q: want dual or alternate", c.Mode)
	case c.Persist != ACLFile && c.Persist != ConfigFile && c.Persist != None:
		return fmt.Errorf("persist %q: want aclFile, configFile or none", c.Persist)
	}
	names := []string{c.User}
	if c.Mode == Alternate {
		names = []string{c.Template, c.Users[0], c.Users[1]}
		if c.Template == c.Users[0] || c.Template == c.Users[1] || c.Users[0] == c.Users[1] {
			return errors.New("the template and the two users must be three different users")
		}
	}
	for _, name := range names {
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r == 0 || unicode.IsSpace(r) }) {
			return fmt.Errorf("user %q: want a name without spaces", name)
		}
	}
	return nil
}

// Kind describes the mode.
func (u *Upstream) Kind() upstream.Kind {
	capability := upstream.Dual
	if u.Mode == Alternate {
		capability = upstream.Alternate
	}
	return upstream.Kind{
		Name: "redis", Capability: capability, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: u.CallDeadline, Fences: true,
	}
}

// Propose draws a password: for the one user, or for that of the pair that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	password, err := u.NewPassword(u.Random)
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	name := u.User
	if u.Mode == Alternate {
		name = u.Users[0]
		if current.ExposeText(FieldUsername) == name {
			name = u.Users[1]
		}
	}
	v, err := current.With(FieldUsername, []byte(name))
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	return v.With(FieldPassword, []byte(password))
}

// Apply makes candidate's user sign in with candidate's password, at every node.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	const doing = "applying credential"
	name := candidate.ExposeText(FieldUsername)
	switch {
	case name == "" || candidate.ExposeText(FieldPassword) == "":
		return secret.Value{}, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a credential needs the fields username and password"}
	case !u.manages(name):
		return secret.Value{}, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: fmt.Sprintf("user %q is not one of this account's", name)}
	}
	err := u.change(ctx, change{doing: doing, run: run, user: name, digest: digest(candidate), apply: true})
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

func (u *Upstream) manages(name string) bool {
	if u.Mode == Dual {
		return name == u.User
	}
	return name == u.Users[0] || name == u.Users[1]
}

// digest is how Redis keeps a password.
func digest(v secret.Value) string {
	sum := sha256.Sum256(v.Expose(FieldPassword))
	return hex.EncodeToString(sum[:])
}

// Revoke makes every node refuse old: dual, by removing its password; alternate, by switching its user off if old opens it,
// unless that is successor's too. Open connections are left alone. A user that is not this account's (a credential from before
// Custody) is never changed: Revoke then succeeds only once somebody has made the server refuse it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	const doing = "revoking credential"
	name, same := old.ExposeText(FieldUsername), old.ExposeText(FieldUsername) == successor.ExposeText(FieldUsername)
	if same && (u.Mode == Alternate || digest(old) == digest(successor)) && u.manages(name) {
		return nil
	}
	if !u.manages(name) {
		verdict, err := u.Verify(ctx, old)
		if verdict == upstream.Refused {
			return nil
		}
		return &Error{
			Doing: doing, Class: upstream.ErrNotApplied, Cause: err, Detail: fmt.Sprintf("user %q is not one of this account's", name),
			Next: "switch it off by hand (ACL SETUSER … off); the run then goes on",
		}
	}
	return u.change(ctx, change{doing: doing, run: run, user: name, digest: digest(old)})
}

// Verify signs in once as v's user at every node, each time on a connection of its own. Nodes that disagree decide
// nothing.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "signing in"
	name, password := v.ExposeText(FieldUsername), v.ExposeText(FieldPassword)
	if name == "" || !v.Has(FieldPassword) {
		return upstream.Unknown, &Error{Doing: doing, Detail: "a credential needs the fields username and password"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	said := map[upstream.Verdict][]string{}
	for _, n := range u.nodes {
		c, code, err := n.signIn(ctx, name, password)
		switch {
		case err != nil:
			detail, cause := describe(err)
			return upstream.Unknown, &Error{Doing: doing, Node: n.address, Detail: detail, Cause: cause}
		case code == "":
			c.close()
			said[upstream.Accepted] = append(said[upstream.Accepted], n.address)
		case code == codeWrongPassword:
			said[upstream.Refused] = append(said[upstream.Refused], n.address)
		default:
			return upstream.Unknown, &Error{Doing: doing, Node: n.address, Code: code}
		}
	}
	if len(said) > 1 {
		return upstream.Unknown, &Error{
			Doing: doing, Detail: fmt.Sprintf("%s accepts what %s refuses", strings.Join(said[upstream.Accepted], ", "), strings.Join(said[upstream.Refused], ", ")),
			Next: "a change stopped halfway, or a node was restored from older users: abort the run, which takes its candidate off everywhere, or bring the users of the nodes in line (ACL LIST at each)",
		}
	}
	for verdict := range said {
		return verdict, nil
	}
	return upstream.Unknown, &Error{Doing: doing, Detail: "there is no node to ask"}
}
