// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
)

const adminPath = "/minio/admin/v3/"

// account is what the server tells of an access key.
type account struct {
	ParentUser  string `json:"parentUser"`
	AccessKey   string `json:"accessKey"`
	Status      string `json:"accountStatus"`
	Description string `json:"description"`
}

// call is one change: who administers, what keys there are, and by when the change must be in.
type call struct {
	u      *Upstream
	ctx    context.Context
	end    func()
	doing  string
	admin  secret.Value
	cutoff time.Time // of the change, by the server's clock
	// accounts are all access keys of the user.
	accounts []account
}

// begin finds an admin credential that is honoured and lists the user's keys with it. Its errors say that nothing was
// changed.
func (u *Upstream) begin(ctx context.Context, doing string, run authority.RunID) (*call, error) {
	if run == "" {
		return nil, upstream.NotApplied(doing, "a run id is needed")
	}
	return u.look(ctx, doing)
}

// look is begin for what changes nothing.
func (u *Upstream) look(ctx context.Context, doing string) (*call, error) {
	begun := u.Clock()
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	link, cut := u.linked()
	c := &call{u: link, ctx: ctx, end: func() { cancel(); cut() }, doing: doing}
	if err := c.list(begun); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

func (c *call) list(begun time.Time) error {
	return accesskey.Admin(c.ctx, c.doing, "the server refuses every admin credential", c.u.Admin, func(admin secret.Value) (string, error) {
		c.admin = admin
		a, err := c.listAs(admin)
		switch {
		case err != nil:
			return "", err
		case a.refusesCredential():
			return a.code, nil
		case a.Status != http.StatusOK:
			e := a.failure(c.doing)
			e.Class = upstream.ErrNotApplied
			return "", e
		case a.Date().IsZero():
			return "", upstream.NotApplied(c.doing, "the server does not tell its time")
		}
		// The server's clock had reached its date before now, so this errs on the side of too early.
		c.cutoff = a.Date().Add(c.u.CallDeadline - c.u.Clock().Sub(begun))
		return "", c.read(a.Body)
	})
}

// listAs lists the user's keys. One of its own keys may ask only for those of its owner, without naming it.
func (c *call) listAs(admin secret.Value) (answer, error) {
	q := question{method: http.MethodGet, path: adminPath + "list-service-accounts"}
	own := admin.ExposeText(accesskey.ID) == c.u.User
	if !own {
		q.query = url.Values{"user": {c.u.User}}
	}
	a, err := c.u.read(c.ctx, c.doing, admin, q)
	if err != nil || own || a.code != codeDenied {
		return a, err
	}
	q.query = nil
	b, err := c.u.read(c.ctx, c.doing, admin, q)
	if err != nil || b.Status != http.StatusOK {
		return a, err
	}
	probe := &call{u: c.u, admin: admin, doing: c.doing}
	if probe.read(b.Body) != nil {
		return a, nil
	}
	if _, exists := probe.find(admin.ExposeText(accesskey.ID)); !exists {
		return a, nil // another user's key: what it listed are not this user's
	}
	return b, nil
}

// read takes the keys out of a sealed answer.
func (c *call) read(sealed []byte) error {
	message, err := open(c.admin.ExposeText(accesskey.Secret), sealed)
	if err != nil {
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Cause: err, Next: "name a MinIO server of 2023 or later; builds for FIPS 140 are not supported"}
	}
	var listed struct {
		Accounts []account `json:"accounts"`
	}
	if json.Unmarshal(message, &listed) != nil {
		return upstream.NotApplied(c.doing, "the server's list of keys is not one")
	}
	c.accounts = nil
	for _, a := range listed.Accounts {
		if a.ParentUser == c.u.User {
			c.accounts = append(c.accounts, a)
		}
	}
	return nil
}

func (c *call) find(id string) (account, bool) {
	for _, a := range c.accounts {
		if a.AccessKey == id {
			return a, true
		}
	}
	return account{}, false
}

// add makes candidate an access key of the user.
func (c *call) add(m marker, candidate secret.Value) error {
	message := struct {
		Policy      json.RawMessage `json:"policy,omitempty"`
		TargetUser  string          `json:"targetUser"`
		AccessKey   string          `json:"accessKey"`
		SecretKey   string          `json:"secretKey"`
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Expiration  *time.Time      `json:"expiration,omitempty"`
	}{
		TargetUser: c.u.User, AccessKey: candidate.ExposeText(accesskey.ID), SecretKey: candidate.ExposeText(accesskey.Secret),
		Name: keyName, Description: m.encode(),
	}
	if c.u.Policy != "" {
		message.Policy = json.RawMessage(c.u.Policy)
	}
	if c.u.ExpiresAfter > 0 {
		at := c.cutoff.Add(c.u.ExpiresAfter).UTC()
		message.Expiration = &at
	}
	encoded, err := json.Marshal(message)
	if err != nil {
		return upstream.NotApplied(c.doing, "the key cannot be written as JSON")
	}
	a, err := c.change(question{method: http.MethodPut, path: adminPath + "add-service-account", message: encoded})
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return a.failure(c.doing)
	}
	return nil
}

// remove deletes an access key that was listed. Without the right, MinIO says that there is none: the list is read again.
func (c *call) remove(id string) error {
	a, err := c.change(question{
		method: http.MethodDelete, path: adminPath + "delete-service-account", query: url.Values{"accessKey": {id}},
	})
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusNoContent, a.Status == http.StatusOK:
		return nil
	case a.Status != http.StatusNotFound || a.code != codeNoAccount:
		return a.failure(c.doing)
	}
	listed, err := c.listAs(c.admin)
	if err != nil {
		return &upstream.Error{Doing: c.doing, Detail: "it is not known whether the key is gone", Cause: upstream.Classless(err)}
	}
	if listed.Status != http.StatusOK {
		return listed.failure(c.doing)
	}
	if err := c.read(listed.Body); err != nil {
		return err
	}
	if _, exists := c.find(id); !exists {
		return nil // somebody else was quicker
	}
	e := a.failure(c.doing)
	e.Detail, e.Next = "the server hides a key that the admin may list", nextRights
	return e
}

// change sends what changes something, signed for a time so far back that the server takes it until the call's end and
// no longer. The error is ambiguous once the request has left.
func (c *call) change(q question) (answer, error) {
	q.signed = c.cutoff.Add(-validFor)
	return c.u.ask(c.ctx, c.doing, c.admin, q)
}

// Verify signs one request with v: to list buckets. A key that may not do so was recognised nevertheless: MinIO looks at
// rights after the signature.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = accesskey.SigningIn
	if !accesskey.Whole(v) {
		return upstream.Unknown, &upstream.Error{Doing: doing, Detail: accesskey.Lacking}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	a, err := u.read(ctx, doing, v, question{method: http.MethodGet, path: "/"})
	switch {
	case err != nil:
		return upstream.Unknown, upstream.Classless(err) // nothing was to be applied
	case a.refusesCredential():
		return upstream.Refused, nil
	case a.Status == http.StatusForbidden && a.code == codeDenied, a.Status == http.StatusOK && listsBuckets(a.Body):
		return upstream.Accepted, nil
	}
	e := a.failure(doing)
	e.Class = nil
	return upstream.Unknown, e
}

// listsBuckets tells MinIO's answer from a page that something in between made.
func listsBuckets(body []byte) bool {
	var list struct {
		XMLName xml.Name `xml:"ListAllMyBucketsResult"`
	}
	return xml.Unmarshal(body, &list) == nil
}

// isPolicy reports whether text is a policy document that MinIO takes for one key.
func isPolicy(text string) bool {
	var document struct{ Statement []json.RawMessage }
	return len(text) <= maxPolicy && json.Unmarshal([]byte(text), &document) == nil && len(document.Statement) > 0
}

// maxPolicy is what MinIO takes of a policy for one key.
const maxPolicy = 2048
