// SPDX-License-Identifier: Apache-2.0

// Package rabbitmq rotates the passwords of users of a RabbitMQ broker, version 3.10 or later, with its management
// interface.
//
// # Modes
//
// alternate: two users take turns. Both get the tags, permissions, topic permissions and limits of a template, which is
// a user without a password. Apply copies them to the user whose turn it is, creates that user if it does not exist,
// and sets its password; Revoke removes the password of the other.
//
// overwrite: one existing user. Setting a password revokes the one before it; Revoke does nothing. The admin may be
// that user itself.
//
// # Guaranteed
//
// To set a password, the broker gets a salted SHA-256 hash; the password itself is sent only to sign in with it. Before
// each change the marker is read: tags of the template (alternate) or of the user (overwrite) with the claim (platform,
// environment, secret), the current run and the eight before it. A run that a later one has replaced changes nothing,
// nor does one with the claim of somebody else. One Verify is one sign-in attempt over AMQP; a connection that breaks
// decides nothing.
//
// # Not guaranteed
//
// The management interface has no conditional changes: another run may change the user between reading the marker and
// the change, and a request that is delayed past its deadline still takes effect. So the broker neither refuses late
// calls nor enforces the deadline. Open connections stay open when a password is revoked. A user may also be able to
// sign in in other ways: with a client certificate, or through another authentication backend. A broker that answers
// sign-ins from a cache does so for as long as the document says (authCache), which is the settle time.
//
// # What the admin needs
//
// The tag administrator, which can do everything; nothing less can change users. It needs no permission in any virtual
// host.
//
// # Cost
//
// Verify is one connection and four round trips. Apply for a pair is one HTTP connection and, once the permissions are
// in place, eleven requests; for overwrite three. Revoke of a pair is four.
package rabbitmq

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
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
)

const (
	defaultCallDeadline = 20 * time.Second
	maxName             = 255
	hashAlgorithm       = "rabbit_password_hashing_sha256"
	saltBytes           = 4
	// maxPassword leaves room for the rest of a sign-in, which AMQP wants in a frame of 4096 bytes.
	maxPassword = 3 << 10
)

// Config describes one user or pair on one broker.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the broker refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// Mode is upstream.Alternate or upstream.Overwrite.
	Mode upstream.Capability
	// Template and Users are for Alternate.
	Template string
	Users    [2]string
	// User is for Overwrite.
	User string
	// AuthCache is how long the broker may answer sign-ins from a cache.
	AuthCache time.Duration
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// Claim is who rotates this account: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	Clock func() time.Time
	// CallDeadline bounds each change. Default 20 s.
	CallDeadline time.Duration
	// Random is drawn from for passwords and salts. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one user or pair. It is safe for concurrent use.
type Upstream struct {
	Config
	account login.Account
	at      endpoints
	// page is the size of one page of lists, 0 for the usual one.
	page int
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
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring rabbitmq upstream: %w", err)
	}
	at, err := config.Server.endpoints()
	if err != nil {
		return nil, fmt.Errorf("configuring rabbitmq upstream: %w", err)
	}
	return &Upstream{Config: config, at: at, account: login.Account{
		Mode: config.Mode, Noun: "user", Names: config.users(), NewPassword: config.NewPassword, Random: config.Random,
	}}, nil
}

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil || c.NewPassword == nil:
		return errors.New("an admin credential, a clock and a password rule are needed")
	case c.CallDeadline < 0 || c.AuthCache < 0:
		return errors.New("a duration is negative")
	case c.Claim == "":
		return errors.New("a claim is needed: PLATFORM/ENVIRONMENT/SECRET")
	case c.Mode != upstream.Alternate && c.Mode != upstream.Overwrite:
		return fmt.Errorf("mode %q: want alternate or overwrite", c.Mode)
	}
	names := c.users()
	if c.Mode == upstream.Alternate {
		names = append(names, c.Template)
		if c.Template == c.Users[0] || c.Template == c.Users[1] || c.Users[0] == c.Users[1] {
			return errors.New("the template and the two users must be three different users")
		}
	}
	for _, name := range names {
		if name == "" {
			return errors.New("a user has no name")
		}
		if fault := nameFault(name); fault != "" {
			return fmt.Errorf("user %q: %s", name, fault)
		}
	}
	return nil
}

// nameFault says why no user can have the name; "" when one can.
func nameFault(name string) string {
	switch {
	case len(name) > maxName:
		return fmt.Sprintf("the name of a user is longer than %d bytes", maxName)
	case name == "." || name == ".." || !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return "the management interface has no address for a user of that name"
	}
	return ""
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
	kind := upstream.Kind{
		Name: "rabbitmq", Capability: u.Mode, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: u.CallDeadline, Settle: u.AuthCache, Whose: login.ByName,
	}
	if u.Mode == upstream.Overwrite {
		kind.Undo = upstream.Reapply
	}
	return kind
}

// Whose goes by the name in v.
func (u *Upstream) Whose(_ context.Context, v secret.Value) (string, bool, error) {
	return u.account.Whose(v)
}

// Propose draws a password: for the one user, or for that of the pair that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return u.account.Propose(ctx, current)
}

// Apply makes candidate's user sign in with candidate's password.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	if err := u.account.Check(candidate); err != nil {
		return secret.Value{}, &upstream.Error{Doing: login.Applying, Class: upstream.ErrNotApplied, Cause: err}
	}
	if password := candidate.ExposeText(login.Password); strings.ContainsRune(password, 0) || len(password) > maxPassword {
		return secret.Value{}, &upstream.Error{
			Doing: login.Applying, Class: upstream.ErrRefusedCandidate,
			Detail: fmt.Sprintf("nobody can sign in with a password that has a zero byte or more than %d bytes", maxPassword),
		}
	}
	err := u.change(ctx, login.Applying, run, func(ctx context.Context, c *change) error {
		if u.Mode == upstream.Overwrite {
			return c.overwrite(ctx, candidate)
		}
		return c.alternate(ctx, candidate)
	})
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// Revoke takes the password of old's user away, unless it is successor's user too. Open connections are left alone. A user
// of the pair that does not carry the claim is changed only if old opens it. A user that is not this account's (a
// credential from before Custody) is never changed: Revoke then succeeds only once somebody has made the broker refuse it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	switch {
	case u.account.Replaced(old, successor):
		return nil
	case !u.account.Manages(old.ExposeText(login.Username)):
		return u.account.Foreign(ctx, u.Verify, old, "take its password away by hand (rabbitmqctl clear_password …)")
	}
	return u.change(ctx, login.Revoking, run, func(ctx context.Context, c *change) error { return c.disable(ctx, old) })
}

// Verify signs in once as v's user over AMQP, on a connection of its own.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	name, password := v.ExposeText(login.Username), v.ExposeText(login.Password)
	if name == "" || !v.Has(login.Password) || strings.ContainsRune(name+password, 0) {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: login.Lacking + ", without zero bytes"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	verdict, code, err := u.at.signIn(ctx, name, password)
	if verdict != upstream.Unknown {
		return verdict, nil
	}
	failure := &upstream.Error{Doing: login.SigningIn, Next: nextReachable}
	if err != nil {
		failure.Detail, failure.Cause = upstream.Told(err, broken(err))
	} else {
		failure.Said = said(code)
	}
	return upstream.Unknown, failure
}

// hash is what RabbitMQ keeps of a password: a salt, and SHA-256 of salt and password.
func hash(random io.Reader, v secret.Value) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return salted(salt, v), nil
}

func salted(salt []byte, v secret.Value) string {
	sum := sha256.Sum256(append(bytes.Clone(salt), v.Expose(login.Password)...))
	return base64.StdEncoding.EncodeToString(append(bytes.Clone(salt), sum[:]...))
}

// opens reports whether v's password is the one that a user's hash was made of.
func (a account) opens(v secret.Value) bool {
	raw, err := base64.StdEncoding.DecodeString(a.Hash)
	if err != nil || len(raw) != saltBytes+sha256.Size || a.Algorithm != hashAlgorithm {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(a.Hash), []byte(salted(raw[:saltBytes], v))) == 1
}
