// SPDX-License-Identifier: Apache-2.0

// Package ldap rotates the password of entries in an LDAP directory that knows the assertion control (RFC 4528), such as
// OpenLDAP.
//
// # Modes
//
// dual: one entry with two values of userPassword. Apply adds the candidate's; Revoke deletes the old one's, which is
// found by comparing the old password with what the entry holds.
//
// alternate: two entries that take turns. Apply sets the password of the entry whose turn it is; Revoke takes all
// passwords from the other, if the old one is among them.
//
// overwrite: one entry with one password. One modify operation deletes the value that was read and adds the candidate's.
// Revoke does nothing. The admin may be that entry itself.
//
// # Guaranteed
//
// Each change is one modify operation, which a directory does entirely or not at all: it asserts the marker that was read,
// changes passwords value by value, and counts the marker up. So no request lands after another has, however late it
// arrives, a run that a later one superseded changes nothing, and neither does one under a foreign claim. Of a pair, both
// entries are marked before either password is changed. The marker is one value of an attribute (description by default);
// other values are left alone. A password is sent as a hash. An empty password is never tried. One Verify is one sign-in.
// Where the password policy has locked the account, Verify says Unknown, never Refused.
//
// # Not guaranteed
//
// No directory enforces a deadline on a request that is under way. It can land until the next change of the same account,
// which it then cannot follow. The marker remembers the last 16 runs. Replicas lag: Settle says by how much. Sessions that
// are open when a password is revoked stay open. With Hash server the password itself travels, after the marker and not
// with it: such an upstream has no fence, and its late calls may land. What hashes an old value has that this package
// cannot compute (SHA-crypt, PBKDF2) is inferred: the old password signs in, and exactly one value is left to be it.
// Verify cannot tell a locked account from a wrong password where the admin may not read pwdAccountLockedTime.
//
// # What the admin needs
//
// To read and write userPassword and the marker's attribute of the account's entries, and to read and search their other
// attributes. See the page.
//
// # Cost
//
// Verify is one connection, bind and whoami; a refusal costs a second one, of the admin. Apply and Revoke are one
// connection, a bind, a search and one modify; for a pair, two of each of the last two. LastUse adds two connections to a
// Verify.
package ldap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"
	"unicode/utf8"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/go-ldap/ldap/v3"
)

// Mode says how many entries and passwords share the work.
type Mode string

const (
	// Dual has one entry with two passwords.
	Dual Mode = "dual"
	// Alternate has two entries that take turns.
	Alternate Mode = "alternate"
	// Overwrite has one entry with one password.
	Overwrite Mode = "overwrite"
)

// Fields of the values.
const (
	// FieldUsername is the entry's distinguished name.
	FieldUsername = "username"
	FieldPassword = "password"
)

const (
	defaultCallDeadline = 20 * time.Second
	defaultMarker       = "description"
	passwordAttribute   = "userPassword"
)

// Config describes one account or pair in one directory.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	Mode  Mode
	// DN is for Dual and Overwrite, Entries for Alternate.
	DN      string
	Entries [2]string
	// Hash is ssha (default), ssha512, argon2, bcrypt or server.
	Hash string
	// MarkerAttribute carries the marker. Default description.
	MarkerAttribute string
	// LastUse is the operational attribute that holds when an entry last signed in; "" when none is kept.
	LastUse string
	// WrongEvery and Settle are as in upstream.Kind.
	WrongEvery, Settle time.Duration
	// NewPassword draws a password from random by the secret's rule.
	NewPassword func(random io.Reader) (string, error)
	// Claim is who rotates this account: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	// CallDeadline bounds each change. Default 20 s.
	CallDeadline time.Duration
	// Random is drawn from for passwords and salts. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one account or pair. It is safe for concurrent use.
type Upstream struct {
	Config
	tls *tls.Config

	mu   sync.Mutex
	seen map[string]*watched
}

var _ upstream.Upstream = (*Upstream)(nil)

// New checks config. It does not connect. What it returns is an upstream.Witness where uses can be told.
func New(config Config) (upstream.Upstream, error) {
	secured, err := config.check()
	if err != nil {
		return nil, fmt.Errorf("configuring ldap upstream: %w", err)
	}
	if config.CallDeadline == 0 {
		config.CallDeadline = defaultCallDeadline
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if config.Hash == "" {
		config.Hash = SSHA
	}
	if config.MarkerAttribute == "" {
		config.MarkerAttribute = defaultMarker
	}
	u := &Upstream{Config: config, tls: secured, seen: map[string]*watched{}}
	if config.LastUse != "" {
		return witness{u}, nil
	}
	return u, nil
}

var attributeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

func (c Config) check() (*tls.Config, error) {
	switch {
	case c.Admin == nil || c.NewPassword == nil:
		return nil, errors.New("an admin credential and a password rule are needed")
	case c.CallDeadline < 0 || c.Settle < 0 || c.WrongEvery < 0:
		return nil, errors.New("a duration is negative")
	case c.Claim == "" || !utf8.ValidString(c.Claim) || len(c.Claim) > 512:
		return nil, errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET, 512 bytes at most")
	case c.MarkerAttribute != "" && !attributeForm.MatchString(c.MarkerAttribute):
		return nil, fmt.Errorf("%q is not the name of an attribute", c.MarkerAttribute)
	case c.LastUse != "" && c.Mode != Alternate:
		return nil, errors.New("the last use is kept for an entry, not for a password: it tells something in mode alternate alone")
	case c.LastUse != "" && !attributeForm.MatchString(c.LastUse):
		return nil, fmt.Errorf("%q is not the name of an attribute", c.LastUse)
	case c.Hash == ByServer && c.Mode == Dual:
		return nil, errors.New("a password that the server hashes replaces all others: mode dual needs another hash")
	}
	switch c.Hash {
	case "", SSHA, SSHA512, Argon2, Bcrypt, ByServer:
	default:
		return nil, fmt.Errorf("hash %q: want ssha, ssha512, argon2, bcrypt or server", c.Hash)
	}
	var names []string
	switch c.Mode {
	case Dual, Overwrite:
		names = []string{c.DN}
	case Alternate:
		names = c.Entries[:]
	default:
		return nil, fmt.Errorf("mode %q: want dual, alternate or overwrite", c.Mode)
	}
	for _, dn := range names {
		if parsed, err := ldap.ParseDN(dn); err != nil || len(parsed.RDNs) == 0 {
			return nil, fmt.Errorf("%q is not a distinguished name", dn)
		}
	}
	if c.Mode == Alternate && sameDN(c.Entries[0], c.Entries[1]) {
		return nil, errors.New("the two entries must be different")
	}
	return c.Server.check()
}

// Kind describes the mode.
func (u *Upstream) Kind() upstream.Kind {
	kind := upstream.Kind{
		Name: "ldap", Undo: upstream.Discard, LostReply: upstream.Recover, Verifies: true, CallDeadline: u.CallDeadline,
		Fences: u.Hash != ByServer, Settle: u.Settle, WrongEvery: u.WrongEvery,
	}
	switch u.Mode {
	case Dual:
		kind.Capability = upstream.Dual
	case Alternate:
		kind.Capability = upstream.Alternate
	default:
		kind.Capability, kind.Undo = upstream.Overwrite, upstream.Reapply
	}
	if u.LastUse != "" {
		kind.Evidence = &upstream.Evidence{Source: "last sign-in of the entry (" + u.LastUse + ")", Late: u.Settle, Fine: time.Second}
	}
	return kind
}

// Propose draws a password for the entry whose turn it is: of a pair, the one that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	password, err := u.NewPassword(u.Random)
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	dn := u.DN
	if u.Mode == Alternate {
		dn = u.Entries[0]
		if sameDN(current.ExposeText(FieldUsername), dn) {
			dn = u.Entries[1]
		}
	}
	v, err := current.With(FieldUsername, []byte(dn))
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing credential: %w", err)
	}
	return v.With(FieldPassword, []byte(password))
}

// entries are the account's, target first.
func (u *Upstream) entries(target string) []string {
	if u.Mode != Alternate {
		return []string{u.DN}
	}
	if sameDN(target, u.Entries[1]) {
		return []string{u.Entries[1], u.Entries[0]}
	}
	return u.Entries[:]
}

func (u *Upstream) manages(dn string) bool {
	if u.Mode == Alternate {
		return sameDN(dn, u.Entries[0]) || sameDN(dn, u.Entries[1])
	}
	return sameDN(dn, u.DN)
}

// Apply makes candidate's entry sign in with candidate's password.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	const doing = "applying credential"
	if err := u.ours(candidate); err != nil {
		return secret.Value{}, &Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	dn, password := candidate.ExposeText(FieldUsername), candidate.ExposeText(FieldPassword)
	signIn := u.once(candidate)
	err := u.change(ctx, doing, run, dn, func(e *entry) error { return u.set(e, candidate, signIn) }, password)
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// ours checks that v is a credential of an entry this upstream may change.
func (u *Upstream) ours(v secret.Value) error {
	if v.ExposeText(FieldUsername) == "" || v.ExposeText(FieldPassword) == "" {
		return errors.New("a credential needs the fields username and password, neither of them empty")
	}
	if !u.manages(v.ExposeText(FieldUsername)) {
		return fmt.Errorf("%q is not one of this account's entries", v.ExposeText(FieldUsername))
	}
	return nil
}

// Revoke makes the directory refuse old: in mode dual its value is deleted, in mode alternate all passwords of its entry,
// if old's is among them.
// An entry outside the account (a credential from before Custody) is never changed: Revoke then succeeds only once
// somebody has made the server refuse it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	const doing = "revoking credential"
	dn := old.ExposeText(FieldUsername)
	switch {
	case u.Mode == Overwrite:
		return nil // applying the successor replaced it
	case u.Mode == Alternate && sameDN(dn, successor.ExposeText(FieldUsername)) && dn != "":
		return nil // likewise
	case u.Mode == Dual && sameDN(dn, successor.ExposeText(FieldUsername)) && old.ExposeText(FieldPassword) == successor.ExposeText(FieldPassword):
		return nil // it must not be touched
	case !u.manages(dn):
		verdict, err := u.Verify(ctx, old)
		if verdict == upstream.Refused {
			return nil
		}
		return &Error{
			Doing: doing, Class: upstream.ErrNotApplied, Cause: err, Detail: fmt.Sprintf("%q is not one of this account's entries", dn),
			Next: "take its password away by hand; the run then goes on",
		}
	}
	signIn := u.once(old)
	return u.change(ctx, doing, run, dn, func(e *entry) error { return u.unset(e, old, successor, signIn) }, "")
}
