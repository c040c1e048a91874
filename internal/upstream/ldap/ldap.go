// SPDX-License-Identifier: Apache-2.0

// Package ldap rotates the password of entries in an LDAP directory that supports the assertion control (RFC 4528),
// such as OpenLDAP.
//
// # Modes
//
// dual: one entry with two values of userPassword. Apply adds the candidate's; Revoke deletes the old one's, which it
// finds by comparing the old password with the values of the entry.
//
// alternate: two entries that take turns. Apply sets the password of the entry whose turn it is; Revoke removes all
// passwords from the other, if the old one is among them.
//
// overwrite: one entry with one password. One modify operation deletes the value that was read and adds the
// candidate's. Revoke does nothing. The admin may be that entry itself.
//
// # Guaranteed
//
// Each change is one modify operation, which a directory does entirely or not at all: it asserts the marker that was
// read, changes passwords value by value, and increases the marker's count. So a request cannot take effect after
// another one has, however late it arrives; a run that a later one has replaced changes nothing, and neither does one
// with the claim of somebody else. Both entries of a pair are marked before either password is changed. The marker is
// one value of an attribute (description by default); other values are not touched. A password is sent as a hash. An
// empty password is never tried. One Verify is one sign-in. If the password policy has locked the account, Verify
// answers Unknown, never Refused.
//
// # Not guaranteed
//
// Directories enforce no deadline on a request that is on its way. It can take effect until the next change of the same
// account, but not after that. The marker remembers the last 16 runs. Replicas lag; Settle says by how much. Open
// sessions stay open when a password is revoked. With Hash server the plain password is sent, in a separate operation
// after the marker: such an upstream does not refuse late calls. If this package cannot compute the hash of an old
// value (SHA-crypt, PBKDF2), it infers that value: the old password signs in, and exactly one value is left that it can
// be. Verify cannot distinguish a locked account from a wrong password if the admin is not allowed to read
// pwdAccountLockedTime.
//
// # What the admin needs
//
// Permission to read and write userPassword and the marker's attribute of the account's entries, and to read and search
// their other attributes. See the page.
//
// # Cost
//
// Verify is one connection, bind and whoami; a refusal costs a second connection, of the admin. Apply and Revoke are
// one connection, a bind, a search and one modify; for a pair, two of each of the last two. LastUse adds two
// connections to a Verify.
package ldap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
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
	Mode  upstream.Capability
	// DN is for upstream.Dual and upstream.Overwrite, Entries for upstream.Alternate.
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
	account login.Account
	tls     *tls.Config

	mu   sync.Mutex
	seen map[string]*watched
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Owner    = (*Upstream)(nil)
)

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
	u := &Upstream{Config: config, tls: secured, seen: map[string]*watched{}, account: login.Account{
		Mode: config.Mode, Noun: "entry", Names: config.names(), Same: sameDN, NewPassword: config.NewPassword, Random: config.Random,
	}}
	if config.LastUse != "" {
		return witness{u}, nil
	}
	return u, nil
}

var attributeForm = lazyregexp.New(`^[A-Za-z][A-Za-z0-9-]*$`)

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
	case c.LastUse != "" && c.Mode != upstream.Alternate:
		return nil, errors.New("the last use is kept for an entry, not for a password: it tells something in mode alternate alone")
	case c.LastUse != "" && !attributeForm.MatchString(c.LastUse):
		return nil, fmt.Errorf("%q is not the name of an attribute", c.LastUse)
	case c.Hash == ByServer && c.Mode == upstream.Dual:
		return nil, errors.New("a password that the server hashes replaces all others: mode dual needs another hash")
	}
	if c.Hash != "" && !slices.Contains(hashes, c.Hash) {
		return nil, fmt.Errorf("hash %q: want %s", c.Hash, strings.Join(hashes, ", "))
	}
	switch c.Mode {
	case upstream.Dual, upstream.Alternate, upstream.Overwrite:
	default:
		return nil, fmt.Errorf("mode %q: want dual, alternate or overwrite", c.Mode)
	}
	for _, dn := range c.names() {
		if !IsDN(dn) {
			return nil, fmt.Errorf("%q is not a distinguished name", dn)
		}
	}
	if c.Mode == upstream.Alternate && sameDN(c.Entries[0], c.Entries[1]) {
		return nil, errors.New("the two entries must be different")
	}
	return c.Server.check()
}

func (c Config) names() []string {
	if c.Mode == upstream.Alternate {
		return c.Entries[:]
	}
	return []string{c.DN}
}

// Kind describes the mode.
func (u *Upstream) Kind() upstream.Kind {
	kind := upstream.Kind{
		Name: "ldap", Capability: u.Mode, Undo: upstream.Discard, LostReply: upstream.Recover, Verifies: true, CallDeadline: u.CallDeadline,
		Fences: u.Hash != ByServer, Settle: u.Settle, WrongEvery: u.WrongEvery, Whose: login.ByName,
	}
	if u.Mode == upstream.Overwrite {
		kind.Undo = upstream.Reapply
	}
	if u.LastUse != "" {
		kind.Evidence = &upstream.Evidence{Source: "last sign-in of the entry (" + u.LastUse + ")", Late: u.Settle, Fine: time.Second}
	}
	return kind
}

// Whose goes by the name in v.
func (u *Upstream) Whose(_ context.Context, v secret.Value) (string, bool, error) {
	return u.account.Whose(v)
}

// Propose draws a password for the entry whose turn it is: of a pair, the one that current does not name.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	return u.account.Propose(ctx, current)
}

// entries are the account's, target first.
func (u *Upstream) entries(target string) []string {
	if u.Mode == upstream.Alternate && sameDN(target, u.Entries[1]) {
		return []string{u.Entries[1], u.Entries[0]}
	}
	return u.names()
}

// Apply makes candidate's entry sign in with candidate's password.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	if err := u.account.Check(candidate); err != nil {
		return secret.Value{}, &upstream.Error{Doing: login.Applying, Class: upstream.ErrNotApplied, Cause: err}
	}
	dn, password := candidate.ExposeText(login.Username), candidate.ExposeText(login.Password)
	signIn := u.once(candidate)
	err := u.change(ctx, login.Applying, run, dn, func(e *entry) error { return u.set(e, candidate, signIn) }, password)
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// Revoke makes the directory refuse old: in mode dual its value is deleted, in mode alternate all passwords of its entry,
// if old's is among them.
// An entry outside the account (a credential from before Custody) is never changed: Revoke then succeeds only once
// somebody has made the server refuse it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	dn := old.ExposeText(login.Username)
	switch {
	case u.account.Replaced(old, successor):
		return nil
	case !u.account.Manages(dn):
		return u.account.Foreign(ctx, u.Verify, old, "take its password away by hand")
	}
	signIn := u.once(old)
	return u.change(ctx, login.Revoking, run, dn, func(e *entry) error { return u.unset(e, old, successor, signIn) }, "")
}
