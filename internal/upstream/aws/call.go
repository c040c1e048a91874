// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/login"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// maxPages bounds a listing; a user has two keys.
const maxPages = 10

// call is one call to IAM: who administers, and what is known of the user.
type call struct {
	u      *Upstream
	ctx    context.Context
	end    context.CancelFunc
	doing  string
	admin  secret.Value
	marked marker
	keys   []types.AccessKeyMetadata
}

// begin finds an admin credential that AWS honours and reads the user with it. Its errors say that nothing was changed.
func (u *Upstream) begin(ctx context.Context, doing string, run authority.RunID) (*call, error) {
	c, err := u.open(ctx, doing)
	if err != nil {
		return nil, err
	}
	if run == "" {
		err = upstream.NotApplied(doing, "a run id is needed")
	} else {
		err = c.marked.admit(doing, u.Claim, run)
	}
	if err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// open is begin for what changes nothing.
func (u *Upstream) open(ctx context.Context, doing string) (*call, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	c := &call{u: u, ctx: ctx, end: cancel, doing: doing}
	if err := c.signIn(); err != nil {
		cancel()
		return nil, err
	}
	return c, nil
}

func (c *call) signIn() error {
	return accesskey.Admin(c.ctx, c.doing, "AWS refuses every admin credential; a new one may not be known everywhere yet", c.u.Admin,
		func(admin secret.Value) (refused string, err error) {
			c.admin = admin
			var got *iam.GetUserOutput
			o := c.ask(func(a *attempt) (err error) {
				got, err = a.asIAM(c.admin).GetUser(c.ctx, &iam.GetUserInput{UserName: &c.u.User})
				return err
			})
			switch {
			case o.refusesCredential():
				return o.code, nil
			case o.err != nil:
				return "", o.failure(c.doing)
			case got.User == nil:
				return "", upstream.NotApplied(c.doing, "AWS's answer names no user")
			}
			if why := c.u.mismatch(aws.ToString(got.User.Arn)); why != "" {
				e := upstream.NotApplied(c.doing, why)
				e.Next = "correct accountId, partition or user in the documents, or the admin credential"
				return "", e
			}
			c.marked = readMarker(got.User.Tags)
			return "", nil
		})
}

func (c *call) ask(do func(*attempt) error) outcome { return c.u.ask(c.admin, do) }

// mismatch says why an ARN is not the user's; "" when it is.
func (u *Upstream) mismatch(arn string) string {
	partition := u.Server.Partition
	if partition == "" {
		partition = "aws"
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "iam" {
		return "what AWS names is not a user of IAM: " + arn
	}
	path := strings.Split(parts[5], "/")
	switch {
	case parts[1] != partition || parts[4] != u.Server.AccountID:
		return fmt.Sprintf("it belongs to account %s of partition %s, not to %s of %s", parts[4], parts[1], u.Server.AccountID, partition)
	case path[0] != "user" || !strings.EqualFold(path[len(path)-1], u.User):
		return "it belongs to " + parts[5] + ", not to the user " + u.User
	}
	return ""
}

// listKeys reads the user's keys, page by page.
func (c *call) listKeys() error {
	c.keys = nil
	var from *string
	for range maxPages {
		var page *iam.ListAccessKeysOutput
		o := c.ask(func(a *attempt) (err error) {
			page, err = a.asIAM(c.admin).ListAccessKeys(c.ctx, &iam.ListAccessKeysInput{UserName: &c.u.User, Marker: from})
			return err
		})
		if o.err != nil {
			return upstream.Unapplied(o.failure(c.doing))
		}
		c.keys = append(c.keys, page.AccessKeyMetadata...)
		if from = page.Marker; !page.IsTruncated || from == nil {
			return nil
		}
	}
	return upstream.NotApplied(c.doing, "AWS's list of keys does not end")
}

func (c *call) find(id string) (types.AccessKeyMetadata, bool) {
	for _, key := range c.keys {
		if aws.ToString(key.AccessKeyId) == id {
			return key, true
		}
	}
	return types.AccessKeyMetadata{}, false
}

// stillInactive are the keys that Custody made inactive and that are so now.
func (c *call) stillInactive() []string {
	return slices.DeleteFunc(slices.Clone(c.marked.Inactive), func(id string) bool {
		key, exists := c.find(id)
		return !exists || key.Status != types.StatusTypeInactive
	})
}

// older reports whether the key was there before its successor, which both are listed.
func (c *call) older(id, successor string) bool {
	key, exists := c.find(id)
	after, follows := c.find(successor)
	return exists && follows && key.CreateDate != nil && after.CreateDate != nil && !key.CreateDate.After(*after.CreateDate)
}

// maxKeys is how many access keys a user may have; AWS raises it for nobody.
const maxKeys = 2

// makeRoom deletes what Custody made inactive in an earlier run when the house is full.
func (c *call) makeRoom(current string) error {
	if len(c.keys) < maxKeys {
		return nil
	}
	for _, id := range c.stillInactive() {
		if id == current {
			continue
		}
		if _, err := c.delete(id); err != nil {
			return upstream.Unapplied(err)
		}
		c.keys = slices.DeleteFunc(c.keys, func(key types.AccessKeyMetadata) bool { return aws.ToString(key.AccessKeyId) == id })
	}
	if len(c.keys) >= maxKeys {
		return c.full()
	}
	return nil
}

// full tells a person which keys there are. It costs a request for each.
func (c *call) full() error {
	var told []string
	for _, key := range c.keys {
		id := aws.ToString(key.AccessKeyId)
		text := fmt.Sprintf("%s (%s", id, strings.ToLower(string(key.Status)))
		if key.CreateDate != nil {
			text += fmt.Sprintf(", %d days old", int(c.u.theirs.Now().Sub(*key.CreateDate).Hours()/24))
		}
		switch used, o := c.lastUsed(id); {
		case o.err != nil:
			text += ", last use unknown"
		case used.LastUsedDate == nil:
			text += ", never used"
		default:
			text += fmt.Sprintf(", last used %s by %s", used.LastUsedDate.UTC().Format("2006-01-02 15:04"), aws.ToString(used.ServiceName))
		}
		told = append(told, text+")")
	}
	e := upstream.NotApplied(c.doing, fmt.Sprintf("the user %s has %d access keys, as many as it may: %s", c.u.User, len(c.keys), strings.Join(told, "; ")))
	e.Said = codeLimit
	e.Next = "find out which key nobody uses, then: aws iam delete-access-key --user-name " + c.u.User + " --access-key-id ID"
	return e
}

func (c *call) lastUsed(id string) (types.AccessKeyLastUsed, outcome) {
	var got *iam.GetAccessKeyLastUsedOutput
	o := c.ask(func(a *attempt) (err error) {
		got, err = a.asIAM(c.admin).GetAccessKeyLastUsed(c.ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &id})
		return err
	})
	if o.err != nil || got.AccessKeyLastUsed == nil {
		return types.AccessKeyLastUsed{}, o
	}
	return *got.AccessKeyLastUsed, o
}

// tag writes the marker, unless it is there already.
func (c *call) tag(m marker) error {
	m.Claim = c.u.Claim
	if c.u.Untagged || m.equal(c.marked) {
		return nil
	}
	o := c.ask(func(a *attempt) error {
		_, err := a.asIAM(c.admin).TagUser(c.ctx, &iam.TagUserInput{UserName: &c.u.User, Tags: m.tags()})
		return err
	})
	if o.err != nil {
		return o.failure(c.doing)
	}
	c.marked = m
	return nil
}

// create has a key issued. What it returns is nowhere else.
func (c *call) create(current secret.Value) (secret.Value, error) {
	var got *iam.CreateAccessKeyOutput
	o := c.ask(func(a *attempt) (err error) {
		got, err = a.asIAM(c.admin).CreateAccessKey(c.ctx, &iam.CreateAccessKeyInput{UserName: &c.u.User})
		return err
	})
	switch {
	case o.code == codeLimit: // somebody made one in between, or the list was old
		if err := c.listKeys(); err != nil {
			return secret.Value{}, err
		}
		return secret.Value{}, c.full()
	case o.err != nil:
		return secret.Value{}, o.failure(c.doing)
	case got.AccessKey == nil || aws.ToString(got.AccessKey.AccessKeyId) == "" || aws.ToString(got.AccessKey.SecretAccessKey) == "":
		return secret.Value{}, &upstream.Error{Doing: c.doing, Detail: "AWS's answer holds no key"}
	}
	return accesskey.With(current, *got.AccessKey.AccessKeyId, *got.AccessKey.SecretAccessKey)
}

// delete removes a key of the user; gone says that there was none.
func (c *call) delete(id string) (gone bool, err error) {
	o := c.ask(func(a *attempt) error {
		_, err := a.asIAM(c.admin).DeleteAccessKey(c.ctx, &iam.DeleteAccessKeyInput{UserName: &c.u.User, AccessKeyId: &id})
		return err
	})
	return o.ended(c.doing)
}

// deactivate notes that the key is Custody's to delete later, and makes it inactive.
func (c *call) deactivate(run authority.RunID, id string) (gone bool, err error) {
	inactive := c.stillInactive()
	if !slices.Contains(inactive, id) {
		inactive = append([]string{id}, inactive...)
	}
	if err := c.tag(c.marked.next(run, inactive)); err != nil {
		return false, err
	}
	if key, exists := c.find(id); exists && key.Status == types.StatusTypeInactive {
		return false, nil
	}
	o := c.ask(func(a *attempt) error {
		_, err := a.asIAM(c.admin).UpdateAccessKey(c.ctx, &iam.UpdateAccessKeyInput{
			UserName: &c.u.User, AccessKeyId: &id, Status: types.StatusTypeInactive,
		})
		return err
	})
	return o.ended(c.doing)
}

// ended reads the outcome of a change to one key.
func (o outcome) ended(doing string) (gone bool, err error) {
	switch {
	case o.err == nil:
		return false, nil
	case o.code == codeNoEntity:
		return true, nil
	}
	return false, o.failure(doing)
}

// elsewhere decides about a key that the user does not have: revoked already, or another user's, which is never changed.
func (c *call) elsewhere(old secret.Value) error {
	arn, verdict, err := c.u.identify(c.ctx, old)
	switch {
	case verdict == upstream.Refused:
		return nil
	case verdict == upstream.Unknown:
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Detail: "it is not known whether the key is still accepted", Cause: err}
	case c.u.mismatch(arn) == "":
		return nil // deleted a moment ago, which does not show everywhere yet
	}
	e := upstream.NotApplied(c.doing, c.u.mismatch(arn))
	e.Next = "delete that key by hand; the run then continues"
	return e
}

// Stranger reads the user's tags; without them nothing is told.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	if u.Untagged {
		return "", nil
	}
	c, err := u.open(ctx, login.LookingAtMarker)
	if err != nil {
		return "", err
	}
	defer c.end()
	if err := c.marked.foreign(c.doing, u.Claim); err != nil {
		return "", err
	}
	return c.marked.Stranger(known), nil
}

// List names the ids of the user's keys, those left out that Custody made inactive.
func (u *Upstream) List(ctx context.Context) ([]string, error) {
	c, err := u.open(ctx, "listing access keys")
	if err != nil {
		return nil, err
	}
	defer c.end()
	if err := c.listKeys(); err != nil {
		return nil, err
	}
	inactive := c.stillInactive()
	var ids []string
	for _, key := range c.keys {
		if id := aws.ToString(key.AccessKeyId); !slices.Contains(inactive, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

var errForeign = errors.New("the key is not this user's")
