// SPDX-License-Identifier: Apache-2.0

// Package aws rotates the access keys of one IAM user of Amazon Web Services.
//
// # Modes
//
// There is one mode, dual: a user can have two access keys. Apply lets IAM create the second one. Revoke makes the old
// one inactive, and the next Apply deletes it (Deactivate), or Revoke deletes it at once (Delete). If a run is taken
// back, its key is deleted at once in both cases, because nobody has it yet.
//
// # Guaranteed
//
// Keys that Custody does not know are never changed: if there are two of them, Apply names them and leaves them. To
// make room, it deletes only an inactive key that Custody itself made inactive. Tags of the user name the claim
// (platform, environment, secret), the runs and those inactive keys; with the claim of somebody else, or in a run that
// a later one has replaced, nothing is changed. The user's ARN is checked, so that credentials of another AWS account
// change nothing. The SDK never retries a request, and nothing is taken from the environment or from files of the AWS
// tools, except a proxy (see transport.HTTP).
//
// # Not guaranteed
//
// A key has no place for the run's id, so if the reply to creating one is lost, a person has to decide; List shows what
// is new. Reading tags, writing them and changing a key are separate requests, and IAM is eventually consistent: two
// runs at the same time can both pass the check. The deadline of a call applies to the client; AWS accepts a request
// for some minutes after it was signed.
//
// # What the admin needs
//
// On the one user: iam:GetUser, iam:ListAccessKeys, iam:CreateAccessKey, iam:UpdateAccessKey, iam:DeleteAccessKey,
// iam:GetAccessKeyLastUsed, and iam:TagUser for tags whose keys begin with custody. The user may be its own admin.
//
// # Cost
//
// Verify is one request to STS. Apply is three to five requests to IAM, Revoke three or four, Uses and List two each.
package aws

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
)

// Revocation says what becomes of a key that is revoked.
type Revocation string

const (
	// Deactivate makes it inactive; it is deleted when the next key is issued, and can be brought back until then.
	Deactivate Revocation = "deactivate"
	// Delete deletes it at once.
	Delete Revocation = "delete"
)

const (
	defaultCallDeadline = 30 * time.Second
	// evidenceLate is what AWS says of last-accessed information in general; it gives no figure for access keys.
	evidenceLate = 4 * time.Hour
	// evidenceFine: of several uses within this span AWS records the first.
	evidenceFine = 15 * time.Minute
)

// Config describes one user.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference. The next is tried only when AWS refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// User is the IAM user's name, without its path.
	User string
	// Revocation is what becomes of old keys. Default Deactivate, or Delete when Untagged.
	Revocation Revocation
	// Untagged leaves the user without tags: no claim, and no memory of runs and inactive keys.
	Untagged bool
	// Claim is who rotates these keys: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	// Settle is how long a change takes to show everywhere.
	Settle time.Duration
	Clock  func() time.Time
	// CallDeadline bounds each call. Default 30 s.
	CallDeadline time.Duration
	// Random is drawn from for decoys. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is the access keys of one user. It is safe for concurrent use.
type Upstream struct {
	Config
	client *http.Client
	theirs accesskey.Clock

	mu sync.Mutex
	// own are the times of Custody's own requests by key id, by AWS's clock: they are no evidence of use.
	own map[string][]time.Time
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Lister   = (*Upstream)(nil)
	_ upstream.Decoyer  = (*Upstream)(nil)
	_ upstream.Witness  = (*Upstream)(nil)
	_ upstream.Marked   = (*Upstream)(nil)
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
	if config.Revocation == "" {
		config.Revocation = Deactivate
		if config.Untagged {
			config.Revocation = Delete
		}
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring aws upstream: %w", err)
	}
	client, err := config.Server.client()
	if err != nil {
		return nil, fmt.Errorf("configuring aws upstream: %w", err)
	}
	return &Upstream{
		Config: config, client: client, theirs: accesskey.Clock{Own: config.Clock}, own: map[string][]time.Time{},
	}, nil
}

var (
	userForm = lazyregexp.New(`^[A-Za-z0-9_+=,.@-]{1,64}$`)
	// claimForm is what fits the value of a tag, of 256 characters at most.
	claimForm = lazyregexp.New(`^[A-Za-z0-9_.:/=+@-]{1,256}$`)
	keyForm   = lazyregexp.New(`^[A-Za-z0-9_]{16,128}$`)
)

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil:
		return errors.New("an admin credential and a clock are needed")
	case c.CallDeadline < 0 || c.Settle < 0:
		return errors.New("a time is negative")
	case !claimForm.MatchString(c.Claim):
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET of at most 256 characters, as tags take them")
	case !userForm.MatchString(c.User):
		return errors.New("the user must be the name of an IAM user, without its path")
	case c.Revocation != Deactivate && c.Revocation != Delete:
		return fmt.Errorf("revocation %q: want deactivate or delete", c.Revocation)
	case c.Revocation == Deactivate && c.Untagged:
		return errors.New("without tags nothing tells which keys were made inactive: they must be deleted")
	}
	return nil
}

// Kind describes the account.
func (u *Upstream) Kind() upstream.Kind {
	return upstream.Kind{
		Name: "aws", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Person, Issues: true,
		Verifies: true, CallDeadline: u.CallDeadline, Settle: u.Settle, Whose: "a sign-in",
		Evidence: &upstream.Evidence{Source: "last use of the access key", Late: evidenceLate, Fine: evidenceFine},
	}
}

// Propose is for kinds that do not issue.
func (u *Upstream) Propose(context.Context, secret.Value) (secret.Value, error) {
	return secret.Value{}, errors.New("proposing access key: AWS issues them itself")
}

const (
	secretLetters = accesskey.Letters + "abcdefghijklmnopqrstuvwxyz0189+/"
	keyPrefix     = "AKIA"
	keyRandom     = 16
	secretLength  = 40
)

// Decoy makes a well-formed access key that AWS never issued.
func (u *Upstream) Decoy(v secret.Value) (secret.Value, error) {
	id, err := accesskey.Draw(u.Random, accesskey.Letters, keyRandom)
	if err != nil {
		return secret.Value{}, fmt.Errorf("making a decoy: %w", err)
	}
	text, err := accesskey.Draw(u.Random, secretLetters, secretLength)
	if err != nil {
		return secret.Value{}, fmt.Errorf("making a decoy: %w", err)
	}
	return accesskey.With(v, keyPrefix+id, text)
}

// Apply has IAM issue another key for the user.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	const doing = "issuing access key"
	if !candidate.Empty() {
		return secret.Value{}, upstream.NotApplied(doing, "AWS issues keys itself and takes none")
	}
	c, err := u.begin(ctx, doing, run)
	if err != nil {
		return secret.Value{}, err
	}
	defer c.end()
	if err := c.listKeys(); err != nil {
		return secret.Value{}, err
	}
	if err := c.makeRoom(current.ExposeText(accesskey.ID)); err != nil {
		return secret.Value{}, err
	}
	if err := c.tag(c.marked.next(run, c.stillInactive())); err != nil {
		return secret.Value{}, upstream.Unapplied(err)
	}
	return c.create(current)
}

// Revoke makes old's key inactive, or deletes it: see Revocation. A key that was issued after its successor, as when a
// run is taken back, and a key without a successor, are deleted.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	const doing = "revoking access key"
	id := old.ExposeText(accesskey.ID)
	if id == "" || id == successor.ExposeText(accesskey.ID) {
		return nil
	}
	c, err := u.begin(ctx, doing, run)
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.listKeys(); err != nil {
		return err
	}
	gone := true
	if keyForm.MatchString(id) {
		if u.Revocation == Deactivate && c.older(id, successor.ExposeText(accesskey.ID)) {
			gone, err = c.deactivate(run, id)
		} else {
			gone, err = c.delete(id)
		}
	}
	if err != nil || !gone {
		return err
	}
	return c.elsewhere(old)
}
