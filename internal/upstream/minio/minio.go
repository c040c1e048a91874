// SPDX-License-Identifier: Apache-2.0

// Package minio rotates S3 access keys (service accounts) of one user of a MinIO server, with its admin API.
//
// # Modes
//
// There is one mode, dual: Apply adds an access key that Custody generated, beside the current one; Revoke deletes the
// old one.
//
// # Guaranteed
//
// Custody chooses key id and secret, so after a lost reply a sign-in shows whether the key exists, and adding the same
// key again changes nothing. The description of each key has its claim (platform, environment, secret), its run, and
// the runs before; a key with another claim is never touched, and calls of superseded runs change nothing. Inside TLS,
// the secret is also encrypted for the server. The server enforces the deadline of a call: requests that change
// something are signed with a timestamp so far in the past that the server's limit of 15 minutes ends at the deadline.
// One Verify is one request.
//
// # Not guaranteed
//
// Reading the descriptions and changing a key are two requests: a call of a superseded run that is on its way may still
// take effect until its deadline. The description remembers about five runs, and a run that was undone leaves no trace.
// The deadline depends on the clock of the server, or of the proxy that writes the Date header; a jump of it during one
// call is not detected. Nodes of a cluster, and sites that replicate, learn of changes from each other; see Settle.
//
// # What the admin needs
//
// If it is the user itself, or one of the user's access keys: nothing more. Otherwise admin:CreateServiceAccount,
// admin:ListServiceAccounts and admin:RemoveServiceAccount.
//
// # Cost
//
// Verify is one request; Apply and Revoke are two, three if the admin is one of the user's own keys, and one more if
// Apply is repeated. Each encrypted message costs both sides 64 MiB of memory for about a tenth of a second.
package minio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
)

const defaultCallDeadline = 20 * time.Second

// Config describes one account on one server.
type Config struct {
	Server Server
	// Admin returns the admin's credentials in order of preference. The next is tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// User owns the access keys.
	User string
	// Policy narrows what the keys may do: a policy document in JSON. "" gives them all that the user may.
	Policy string
	// ExpiresAfter makes the server refuse a key that old, whatever Custody does. 0 is never.
	ExpiresAfter time.Duration
	// NewPassword draws a secret from random by the secret's rule. MinIO takes 8 to 40 characters.
	NewPassword func(random io.Reader) (string, error)
	// Claim is who rotates these keys: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	// Settle is how long a change takes to reach every node and site.
	Settle time.Duration
	Clock  func() time.Time
	// CallDeadline bounds each change. Default 20 s, at most 10 min.
	CallDeadline time.Duration
	// Random is drawn from for key ids, secrets and encryption. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is the access keys of one user that carry one claim. It is safe for concurrent use.
type Upstream struct {
	Config
	client *http.Client
	theirs *accesskey.Clock
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
	if config.Server.Region == "" {
		config.Server.Region = defaultRegion
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("configuring minio upstream: %w", err)
	}
	client, err := config.Server.client()
	if err != nil {
		return nil, fmt.Errorf("configuring minio upstream: %w", err)
	}
	return &Upstream{Config: config, client: client, theirs: &accesskey.Clock{Own: config.Clock}}, nil
}

// claimForm leaves room in a description for the run and some before it.
var claimForm = lazyregexp.New(`^[A-Za-z0-9._/-]{1,160}$`)

func (c Config) check() error {
	switch {
	case c.Admin == nil || c.Clock == nil || c.NewPassword == nil:
		return errors.New("an admin credential, a clock and a rule for secrets are needed")
	case c.CallDeadline < time.Second || c.CallDeadline > 10*time.Minute || c.Settle < 0 || c.ExpiresAfter < 0:
		return errors.New("the call deadline must be 1 s to 10 min, and the other times not negative")
	case !claimForm.MatchString(c.Claim):
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET of at most 160 characters")
	case c.User == "":
		return errors.New("a user is needed")
	case c.Policy != "" && !isPolicy(c.Policy):
		return fmt.Errorf("the policy must be a JSON document with statements, of at most %d bytes", maxPolicy)
	}
	return nil
}

// Kind describes the account.
func (u *Upstream) Kind() upstream.Kind {
	return upstream.Kind{
		Name: "minio", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Recover,
		Verifies: true, CallDeadline: u.CallDeadline, Settle: u.Settle, Whose: "the server's list of the user's keys",
	}
}

// Whose looks for v's key among the user's.
func (u *Upstream) Whose(ctx context.Context, v secret.Value) (name string, own bool, err error) {
	const doing = "asking whose key it is"
	id := v.ExposeText(accesskey.ID)
	if id == "" {
		return "", false, &upstream.Error{Doing: doing, Detail: accesskey.Lacking}
	}
	c, err := u.look(ctx, doing)
	if err != nil {
		return "", false, upstream.Classless(err)
	}
	defer c.end()
	if _, exists := c.find(id); !exists {
		return fmt.Sprintf("the access key %q, which is none of the user %q", id, u.User), false, nil
	}
	return fmt.Sprintf("the user %q", u.User), true, nil
}

// keyLength is the most that MinIO takes for an id.
const keyLength = 20

// Propose draws an access key: id and secret. Other fields of current are kept.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	v, err := u.propose(ctx, current)
	if err != nil {
		return secret.Value{}, fmt.Errorf("proposing access key: %w", err)
	}
	return v, nil
}

func (u *Upstream) propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, err
	}
	id, err := accesskey.Draw(u.Random, accesskey.Letters, keyLength)
	if err != nil {
		return secret.Value{}, err
	}
	text, err := u.NewPassword(u.Random)
	if err != nil {
		return secret.Value{}, err
	}
	return accesskey.With(current, id, text)
}

// Apply adds candidate as an access key of the user.
func (u *Upstream) Apply(ctx context.Context, run authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	const doing = "adding access key"
	if !accesskey.Whole(candidate) {
		return secret.Value{}, upstream.NotApplied(doing, accesskey.Lacking)
	}
	c, err := u.begin(ctx, doing, run)
	if err != nil {
		return secret.Value{}, err
	}
	defer c.end()
	next, err := c.supersede(run)
	if err != nil {
		return secret.Value{}, err
	}
	if found, exists := c.find(candidate.ExposeText(accesskey.ID)); exists {
		err = c.same(found, next, candidate)
	} else {
		err = c.add(next, candidate)
	}
	if err != nil {
		return secret.Value{}, err
	}
	return candidate, nil
}

// same makes sure that a key which exists already is the candidate, added by an earlier call of this run.
func (c *call) same(found account, next marker, candidate secret.Value) error {
	held, own := parseMarker(found.Description)
	if !own || held.Claim != c.u.Claim || held.Run != next.Run {
		return foreign(c.doing)
	}
	switch verdict, err := c.u.Verify(c.ctx, candidate); verdict {
	case upstream.Accepted:
		return nil
	case upstream.Refused:
		e := upstream.NotApplied(c.doing, "the key of this run exists, with another secret or switched off")
		e.Next = "delete the key by hand: mc admin accesskey rm ALIAS KEY; the run then continues"
		return e
	default:
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Detail: "the key exists, but it is not known whether it is accepted", Cause: err}
	}
}

// Revoke deletes old's key, unless it is successor's too. A key that carries another claim is never deleted. One without
// any claim was there before Custody: it is deleted only if old's secret opens it.
func (u *Upstream) Revoke(ctx context.Context, run authority.RunID, old, successor secret.Value) error {
	id := old.ExposeText(accesskey.ID)
	if id == "" || id == successor.ExposeText(accesskey.ID) {
		return nil
	}
	c, err := u.begin(ctx, "deleting access key", run)
	if err != nil {
		return err
	}
	defer c.end()
	if _, err := c.supersede(run); err != nil {
		return err
	}
	found, exists := c.find(id)
	held, own := parseMarker(found.Description)
	switch {
	case exists && own && held.Claim != u.Claim, exists && claimed(found.Description) && !own:
		return foreign(c.doing)
	case exists && own:
		return c.remove(id)
	}
	switch verdict, err := u.Verify(c.ctx, old); {
	case verdict == upstream.Refused && exists:
		return upstream.NotApplied(c.doing, "a key of that id exists without a claim, and the old secret does not open it")
	case verdict == upstream.Refused:
		return nil
	case verdict == upstream.Accepted && exists:
		return c.remove(id)
	case verdict == upstream.Accepted:
		e := upstream.NotApplied(c.doing, "the key works, but is not an access key of the user "+u.User)
		e.Next = "delete it by hand (mc admin accesskey rm, or mc admin user disable); the run then continues"
		return e
	default:
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Detail: "it is not known whether the key is still accepted", Cause: err}
	}
}
