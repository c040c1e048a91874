// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"context"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// change is one Apply or Revoke, with the admin signed in and the marker read.
type change struct {
	*Upstream
	manager *manager
	doing   string
	run     authority.RunID
	// holder is the user whose tags hold the marker, others its tags that are not Custody's, marker what the run leaves.
	holder account
	others []string
	marker marker
}

// change runs body if run is not superseded.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID, body func(context.Context, *change) error) error {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if run == "" {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	m, err := u.manage(ctx, doing)
	if err != nil {
		return err
	}
	defer m.close()
	c := &change{Upstream: u, manager: m, doing: doing, run: run}
	if err := c.check(ctx); err != nil {
		return err
	}
	return body(ctx, c)
}

// read reads the marker, and who holds it.
func (c *change) read(ctx context.Context) (found marker, err error) {
	name := c.User
	if c.Mode == upstream.Alternate {
		name = c.Template
	}
	holder, exists, err := c.manager.user(ctx, name)
	if err != nil {
		return found, err
	}
	if !exists {
		return found, c.refuse(fmt.Sprintf("there is no user %q", name), "make it by hand: rabbitmqctl add_user, and for a template rabbitmqctl clear_password and its permissions")
	}
	found, others := readMarker(holder.Tags)
	if found.claim != "" && found.claim != inTag(c.Claim) {
		return found, foreign(c.doing, name, found.claim)
	}
	c.holder, c.others = holder, others
	return found, nil
}

// Stranger reads the tags that hold the run.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	m, err := u.manage(ctx, login.LookingAtMarker)
	if err != nil {
		return "", err
	}
	defer m.close()
	found, err := (&change{Upstream: u, manager: m, doing: login.LookingAtMarker}).read(ctx)
	return found.Stranger(known, func(run authority.RunID) string { return inTag(string(run)) }), err
}

// check reads the marker, and that the run may change the account.
func (c *change) check(ctx context.Context) error {
	found, err := c.read(ctx)
	if err != nil {
		return err
	}
	next, ok := found.supersede(c.run)
	if !ok {
		return login.Superseded(c.doing, string(c.run), found.Run)
	}
	next.claim = inTag(c.Claim)
	c.marker = next
	return nil
}

func (c *change) refuse(detail, next string) error {
	return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// tags are those of the marker's holder as the run leaves them.
func (c *change) tags() []string { return append(slices.Clone(c.others), c.marker.tags()...) }

// overwrite sets the password and the marker in one request.
func (c *change) overwrite(ctx context.Context, candidate secret.Value) error {
	if c.holder.opens(candidate) && slices.Equal(c.holder.Tags, c.tags()) {
		return nil
	}
	hashed, err := hash(c.Random, candidate)
	if err != nil {
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	return c.manager.put(ctx, nil, c.User, hashed, c.tags())
}

// mark puts the marker on the template. It has no password before and after.
func (c *change) mark(ctx context.Context) error {
	if slices.Equal(c.holder.Tags, c.tags()) {
		return nil
	}
	return c.manager.put(ctx, upstream.ErrNotApplied, c.Template, "", c.tags())
}

// subject reads one user of the pair, which may carry no other claim.
func (c *change) subject(ctx context.Context, name string) (account, bool, error) {
	a, exists, err := c.manager.user(ctx, name)
	if err != nil || !exists {
		return a, exists, err
	}
	if found, _ := readMarker(a.Tags); found.claim != "" && found.claim != inTag(c.Claim) {
		return a, true, foreign(c.doing, name, found.claim)
	}
	return a, true, nil
}

// opens reports whether v's password is the user's. Where its hash is of a kind that is not computed here, a sign-in
// tells.
func (c *change) opens(ctx context.Context, a account, v secret.Value) (bool, error) {
	if a.Hash == "" || a.Algorithm == hashAlgorithm {
		return a.opens(v), nil
	}
	verdict, err := c.Verify(ctx, v)
	if verdict == upstream.Unknown {
		return false, &upstream.Error{
			Doing: c.doing, Class: upstream.ErrNotApplied, Detail: "it is not known whether the password belongs to a user without a claim", Cause: err,
			Next: "Custody repeats the call once a sign-in is accepted or refused",
		}
	}
	return verdict == upstream.Accepted, nil
}

// pairTags are those of both users: the template's, and the claim.
func (c *change) pairTags() []string {
	return append(slices.Clone(c.others), marker{claim: c.marker.claim}.tags()...)
}

func (c *change) alternate(ctx context.Context, candidate secret.Value) error {
	name := candidate.ExposeText(login.Username)
	switch {
	case c.holder.Hash != "":
		return c.refuse(fmt.Sprintf("the template %q has a password", c.Template), "take it away: rabbitmqctl clear_password "+c.Template)
	case slices.Contains(c.others, "administrator"):
		return c.refuse(fmt.Sprintf("the template %q is an administrator", c.Template), "rotate administrators in mode overwrite, or take the tag off the template")
	}
	subject, exists, err := c.subject(ctx, name)
	if err != nil {
		return err
	}
	want, err := c.manager.rights(ctx, c.Template)
	if err != nil {
		return err
	}
	have := rights{}
	if exists {
		if have, err = c.manager.rights(ctx, name); err != nil {
			return err
		}
		if found, others := readMarker(subject.Tags); found.claim == "" && (subject.Hash != "" || slices.Contains(others, "administrator")) {
			return c.refuse(fmt.Sprintf("user %q was made by somebody else and has a password", name), "remove it, or take its password away: rabbitmqctl clear_password "+name)
		}
	}
	if err := c.mark(ctx); err != nil {
		return err
	}
	if !exists {
		if err := c.manager.put(ctx, upstream.ErrNotApplied, name, "", c.pairTags()); err != nil {
			return err
		}
	}
	if err := c.manager.grant(ctx, name, want, have); err != nil {
		return err
	}
	if subject.opens(candidate) && slices.Equal(subject.Tags, c.pairTags()) {
		return nil
	}
	hashed, err := hash(c.Random, candidate)
	if err != nil {
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	return c.manager.put(ctx, nil, name, hashed, c.pairTags())
}

// disable takes the password of old's user away. Its rights stay, for the connections that are open. A user without the
// claim has no password of Custody's: it is somebody else's, unless old opens it.
func (c *change) disable(ctx context.Context, old secret.Value) error {
	name := old.ExposeText(login.Username)
	subject, exists, err := c.subject(ctx, name)
	if err != nil || !exists {
		return err
	}
	if found, _ := readMarker(subject.Tags); found.claim == "" {
		if opens, err := c.opens(ctx, subject, old); err != nil || !opens {
			return err
		}
	}
	if err := c.mark(ctx); err != nil {
		return err
	}
	if subject.Hash == "" {
		return nil
	}
	_, others := readMarker(subject.Tags)
	return c.manager.put(ctx, nil, name, "", append(others, marker{claim: c.marker.claim}.tags()...))
}
