// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
)

// change is one Apply or Revoke.
type change struct {
	doing string
	run   authority.RunID
	// user is the one that is changed, digest that of the password that is added (apply) or removed.
	user, digest string
	apply        bool
}

// tries bounds how often a change is begun anew because somebody else changed the user meanwhile.
const tries = 5

// change makes c at every node. All are looked at before the first is changed, so that what can be known to fail fails
// with nothing changed.
func (u *Upstream) change(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if c.run == "" {
		return &Error{Doing: c.doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	var sessions []*session
	defer func() {
		for _, s := range sessions {
			s.conn.close()
		}
	}()
	for _, n := range u.nodes {
		s, err := u.open(ctx, n, c)
		if err != nil {
			return err
		}
		sessions = append(sessions, s)
		if s.looked, err = s.plan(); err != nil {
			return err
		}
		if err := s.save(); err != nil {
			return s.fail(upstream.ErrNotApplied, err)
		}
	}
	for i, s := range sessions {
		if err := s.make(); err != nil {
			if failure, ok := errors.AsType[*Error](err); ok && i > 0 && failure.Class == upstream.ErrNotApplied { //nolint:errorlint // the class itself, not what it wraps
				failure.Class = nil // other nodes were changed
				failure.Detail = join(failure.Detail, "nodes before it are changed already")
			}
			return err
		}
	}
	return nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ": " + b
}

// session is one node with the admin signed in, for one change.
type session struct {
	*Upstream
	change
	node node
	conn *conn
	// looked is the plan of the first look.
	looked plan
}

// open signs in with the first admin credential that the node does not refuse.
func (u *Upstream) open(ctx context.Context, n node, c change) (*session, error) {
	conn, err := u.admin(ctx, n, c.doing)
	if err != nil {
		return nil, err
	}
	return &session{Upstream: u, change: c, node: n, conn: conn}, nil
}

func (u *Upstream) admin(ctx context.Context, n node, doing string) (*conn, error) {
	failure := &Error{Doing: doing, Node: n.address, Class: upstream.ErrNotApplied}
	candidates, err := u.Admin(ctx)
	if err != nil {
		failure.Detail, failure.Cause = "reading the admin credential", err
		return nil, failure
	}
	for _, candidate := range candidates {
		c, code, err := n.signIn(ctx, candidate.ExposeText(FieldUsername), candidate.ExposeText(FieldPassword))
		if err != nil {
			detail, cause := describe(err)
			failure.Detail, failure.Cause = join("the server is unreachable", detail), cause
			failure.Next = "see that the server runs, and that host, port and TLS in the Upstream document are right"
			return nil, failure
		}
		if code == "" {
			return c, nil
		}
		failure.Code = code
		if code != codeWrongPassword {
			return nil, failure
		}
	}
	failure.Detail = "the server refuses every admin credential"
	failure.Next = "set the admin's password by hand and hand it in, as the secret that adminRef names: `custody supply SECRET`"
	return nil, failure
}

// fail describes err, which is the server's or the connection's.
func (s *session) fail(class, err error) *Error {
	failure := &Error{Doing: s.doing, Node: s.node.address, Class: class}
	if refused, ok := errors.AsType[*serverError](err); ok {
		failure.Detail, failure.Code, failure.Next = refused.doing, refused.code, refused.next
		if refused.code == codeNoPermission {
			failure.Next = nextRights
		}
		return failure
	}
	failure.Detail, failure.Cause = describe(err)
	return failure
}

// refuse says that nothing was changed, and why.
func (s *session) refuse(detail, next string) *Error {
	return &Error{Doing: s.doing, Node: s.node.address, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// serverError is an error reply.
type serverError struct{ doing, code, next string }

func (e *serverError) Error() string { return e.doing + ": the server says " + e.code }

// command sends one command; an error reply is a *serverError.
func (s *session) command(doing, next string, words ...string) (reply, error) {
	r, err := s.conn.do(words...)
	if err == nil && r.code != "" {
		err = &serverError{doing, r.code, next}
	}
	return r, err
}

// save persists the users as they are.
func (s *session) save() error {
	var err error
	switch s.Persist {
	case ACLFile:
		_, err = s.command("saving the users", "the server has no ACL file, or cannot write it: set aclfile in its configuration, or persist: configFile in the Upstream document", "ACL", "SAVE")
	case ConfigFile:
		_, err = s.command("saving the users", "the server has no configuration file, cannot write it, or has an ACL file as well: see persist in the Upstream document", "CONFIG", "REWRITE")
	}
	return err
}

// plan is what one look at the users says is to do.
type plan struct {
	// unmarked are users that must get a first marker, before they can be changed conditionally.
	unmarked []string
	// before takes the other user's marker, rules makes the change; each is conditional on the markers seen.
	before, rules []string
	// done: there is nothing to change.
	done bool
}

// first is the marker entry of a user that Custody has not changed yet. Setting it late, beside others, does no harm.
var first = stamp{}.entry(entryRun)

// plan looks, and checks that this run may make the change. It changes nothing.
func (s *session) plan() (plan, error) {
	r, err := s.command("reading the users", "", "ACL", "LIST")
	if err != nil {
		return plan{}, s.fail(upstream.ErrNotApplied, err)
	}
	users := parseUsers(r.items)
	if s.Mode == Dual {
		return s.planDual(users)
	}
	return s.planAlternate(users)
}

func (s *session) planDual(users map[string]user) (p plan, err error) {
	subject, exists := users[s.user]
	switch {
	case !exists:
		return p, s.refuse(fmt.Sprintf("there is no user %q", s.user), "make it, with its rights: ACL SETUSER "+s.user+" on …")
	case s.apply && subject.nopass:
		return p, s.refuse(fmt.Sprintf("user %q asks for no password", s.user), "see who signs in without one, then: ACL SETUSER "+s.user+" resetpass")
	case s.apply && !subject.on:
		return p, s.refuse(fmt.Sprintf("user %q is off", s.user), "switch it on: ACL SETUSER "+s.user+" on")
	}
	own, next, err := s.mark(subject)
	if err != nil {
		return p, err
	}
	if len(own) == 0 {
		p.unmarked = []string{s.user}
	}
	p.rules = conditional(own, next)
	switch {
	case s.apply:
		p.rules = append(p.rules, "#"+s.digest)
	case has(subject.digests, s.digest):
		p.rules = append(p.rules, "!"+s.digest)
	}
	return p, nil
}

func (s *session) planAlternate(users map[string]user) (p plan, err error) {
	template, exists := users[s.Template]
	if s.apply && (!exists || template.on || template.nopass || len(template.digests) > 0) {
		return p, s.refuse(fmt.Sprintf("the template %q is missing, is on, or has a password", s.Template),
			"make a user that holds the rights and cannot sign in: ACL SETUSER "+s.Template+" off resetpass …")
	}
	for i, name := range s.Users {
		subject, exists := users[name]
		own, next, err := s.mark(subject)
		if err != nil {
			return p, err
		}
		if exists && len(own) == 0 && s.apply && !slices.Equal(granted(subject.rights), granted(template.rights)) && s.user == name {
			return p, s.refuse(fmt.Sprintf("user %q was made by somebody else and has other rights than the template", name),
				"give it the template's rights, or remove it: ACL DELUSER "+name)
		}
		if name != s.user {
			if m, _, _, _, _ := readMarker(subject.digests); exists && m.run.run != digestRun(s.run) {
				p.before = append([]string{"ACL", "SETUSER", name}, conditional(own, next)...)
				if len(own) == 0 {
					p.unmarked = append(p.unmarked, name)
				}
			}
			continue
		}
		if !s.apply && !has(subject.digests, s.digest) {
			// The old password does not open it: it is as it should be, or somebody else's. The claim does not tell, since both
			// users have it before either has a password of Custody's.
			if len(own) == 0 {
				p.done = true
				return p, nil
			}
			if !subject.nopass {
				p.rules = conditional(own, next) // so that a late call of this run changes nothing
				continue
			}
		}
		if len(own) == 0 {
			p.unmarked = append(p.unmarked, s.Users[i])
		}
		for _, digest := range own {
			p.rules = append(p.rules, "!"+digest)
		}
		if s.apply {
			p.rules = append(append(append(p.rules, "reset"), template.rights...), "on", "#"+s.digest)
		} else {
			p.rules = append(p.rules, "off", "resetpass")
		}
		p.rules = append(p.rules, added(next)...)
	}
	return p, nil
}

// granted leaves out of rights what every change to a user sets anew.
func granted(rights []string) []string {
	return slices.DeleteFunc(slices.Clone(rights), func(rule string) bool { return rule == "sanitize-payload" })
}

// mark checks one user's marker and returns its entries and the marker as this change leaves it.
func (s *session) mark(subject user) (own []string, next marker, err error) {
	m, own, _, claimed, found := readMarker(subject.digests)
	if claim := claimDigest(s.Claim); claimed && m.claim != claim {
		failure := foreign(s.node.address, subject.name)
		failure.Doing = s.doing
		return nil, next, failure
	} else if m.claim = claim; !found {
		own = nil // what there may be is not enough to hold on to
	}
	next, ok := m.supersede(s.run)
	if !ok {
		return nil, next, &Error{
			Doing: s.doing, Node: s.node.address, Class: upstream.ErrSuperseded,
			Detail: fmt.Sprintf("a later run than %s has changed user %q", s.run, subject.name), Next: "nothing: the later run goes on",
		}
	}
	return own, next, nil
}

// make makes the change at this node. It looks again as often as somebody else is quicker.
func (s *session) make() error {
	for try := range tries {
		p, err := s.looked, error(nil)
		if try > 0 {
			p, err = s.plan()
		}
		if err != nil {
			return err
		}
		if p.done {
			return nil
		}
		if len(p.unmarked) > 0 {
			for _, name := range p.unmarked {
				if _, err := s.command("marking user "+name, "", "ACL", "SETUSER", name, "#"+first); err != nil {
					return s.fail(upstream.ErrNotApplied, err)
				}
			}
			continue
		}
		if p.before != nil {
			if err := s.set("marking the other user", p.before); err != nil {
				if beaten(err) {
					continue
				}
				return s.fail(upstream.ErrNotApplied, err)
			}
		}
		err = s.set("changing user "+s.user, append([]string{"ACL", "SETUSER", s.user}, p.rules...))
		if beaten(err) {
			continue
		}
		if err != nil {
			return s.fail(nil, err)
		}
		if err := s.save(); err != nil {
			failure := s.fail(nil, err)
			failure.Detail = join("the change is made, and would be forgotten at a restart", failure.Detail)
			return failure
		}
		return nil
	}
	return s.refuse("the server refuses the change, or others change the users all the time",
		"see that the template's rules are ones that ACL SETUSER takes, and who else changes users")
}

// set sends one conditional change.
func (s *session) set(doing string, words []string) error {
	_, err := s.command(doing, "", words...)
	return err
}

// beaten reports whether the server answered that it did nothing, for another reason than a missing right: most likely
// the marker has changed, which another look tells.
func beaten(err error) bool {
	refused, ok := errors.AsType[*serverError](err)
	return ok && refused.code == "ERR"
}
