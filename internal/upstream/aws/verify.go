// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// identify asks STS whom v's key belongs to, which needs no permission.
func (u *Upstream) identify(ctx context.Context, v secret.Value) (arn string, verdict upstream.Verdict, err error) {
	const doing = accesskey.SigningIn
	if !accesskey.Whole(v) {
		return "", upstream.Unknown, &upstream.Error{Doing: doing, Detail: accesskey.Lacking}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return "", upstream.Unknown, &upstream.Error{Doing: doing, Cause: err}
	}
	var got *sts.GetCallerIdentityOutput
	o := u.ask(v, func(a *attempt) (err error) {
		got, err = a.asSTS(v).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	})
	switch {
	case o.refusesCredential():
		return "", upstream.Refused, nil
	case o.err != nil:
		e := o.failure(doing)
		e.Class, e.Next = nil, "" // nothing was to be applied
		if o.code == codeSignature {
			e.Detail = "the clocks differ, or AWS does not tell its time: a wrong signature decides nothing"
		}
		return "", upstream.Unknown, e
	}
	return aws.ToString(got.Arn), upstream.Accepted, nil
}

// Verify asks STS whom v's key belongs to, and compares account and user.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	arn, verdict, err := u.identify(ctx, v)
	if verdict != upstream.Accepted {
		return verdict, err
	}
	if why := u.mismatch(arn); why != "" {
		return upstream.Unknown, &upstream.Error{Doing: accesskey.SigningIn, Detail: "AWS accepts the key, but " + why}
	}
	return upstream.Accepted, nil
}

// Whose asks STS.
func (u *Upstream) Whose(ctx context.Context, v secret.Value) (name string, own bool, err error) {
	arn, verdict, err := u.identify(ctx, v)
	if verdict == upstream.Refused {
		err = &upstream.Error{Doing: accesskey.SigningIn, Detail: "AWS refuses the key"}
	}
	if err != nil {
		return "", false, err
	}
	return arn, u.mismatch(arn) == "", nil
}

// ownWithin is how near to one of Custody's own requests a recorded use is taken for it.
const ownWithin = 90 * time.Second

// ownUse reports whether a use of STS or IAM recorded at that time is one of Custody's own, of this process.
func (u *Upstream) ownUse(id, service string, at time.Time) bool {
	if service != "sts" && service != "iam" {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, own := range u.own[id] {
		if own.Sub(at).Abs() <= ownWithin {
			return true
		}
	}
	return false
}

// Uses tells the last use of old's key that AWS has recorded, unless it was Custody's own.
func (u *Upstream) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	const doing = "asking for the last use"
	id := old.ExposeText(accesskey.ID)
	if !keyForm.MatchString(id) {
		return nil, &upstream.Error{Doing: doing, Detail: "a credential needs the field accessKeyId"}
	}
	c, err := u.open(ctx, doing)
	if err != nil {
		return nil, err
	}
	defer c.end()
	var got *iam.GetAccessKeyLastUsedOutput
	o := c.ask(func(a *attempt) (err error) {
		got, err = a.asIAM(c.admin).GetAccessKeyLastUsed(c.ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &id})
		return err
	})
	switch {
	case o.err != nil:
		return nil, o.failure(doing)
	case got.UserName != nil && !strings.EqualFold(*got.UserName, u.User), got.AccessKeyLastUsed == nil:
		return nil, &upstream.Error{Doing: doing, Cause: errForeign}
	}
	used := got.AccessKeyLastUsed
	service := aws.ToString(used.ServiceName)
	if used.LastUsedDate == nil || u.ownUse(id, service, *used.LastUsedDate) {
		return nil, nil
	}
	last := used.LastUsedDate.Add(-u.theirs.Ahead()) // by the caller's clock
	if last.Before(since) {
		return nil, nil
	}
	who := fmt.Sprintf("somebody who asks %s in %s", service, aws.ToString(used.Region))
	if service == "sts" || service == "iam" {
		who += " (it may have been Custody itself, before it was last started)"
	}
	return []upstream.Use{{Who: who, Last: last}}, nil
}
