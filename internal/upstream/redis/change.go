// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// change is one Apply or Revoke.
type change struct {
	doing string
	run   authority.RunID
	// user is the one that is changed, digest that of the password that is added (apply) or removed.
	user, digest string
	apply        bool
	// kept is the account's credential that stays: the current one (apply), the successor (revoke).
	kept secret.Value
}

// tries bounds how often a change is begun anew because somebody else changed the user meanwhile.
const tries = 5

// change makes c at every node. All are looked at before the first is changed, so that what can be known to fail fails
// with nothing changed.
func (u *Upstream) change(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if c.run == "" {
		return &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
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
			if failure, ok := errors.AsType[*upstream.Error](err); ok && i > 0 && failure.Class != nil {
				failure.Class = nil
				failure.Detail = upstream.Join(failure.Detail, "nodes before it are changed already")
			}
			return err
		}
	}
	return nil
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
	admin, err := login.Admin(ctx, c.doing, n.address, u.Admin, func(ctx context.Context, v secret.Value) (*conn, string, error) {
		admin, code, err := n.signIn(ctx, v.ExposeText(login.Username), v.ExposeText(login.Password))
		switch {
		case err != nil:
			return nil, "", login.Unreachable(c.doing, err, broken(err))
		case code == "":
			return admin, "", nil
		case code == codeWrongPassword:
			return nil, said(code), nil
		}
		return nil, "", &upstream.Error{Doing: c.doing, Class: upstream.ErrNotApplied, Said: said(code)}
	})
	if failure, ok := errors.AsType[*upstream.Error](err); ok {
		failure.At = n.address
	}
	if err != nil {
		return nil, err
	}
	return &session{Upstream: u, change: c, node: n, conn: admin}, nil
}

// fail describes err, which is the server's or the connection's.
func (s *session) fail(class, err error) *upstream.Error {
	failure := &upstream.Error{Doing: s.doing, At: s.node.address, Class: class}
	if refused, ok := errors.AsType[*serverError](err); ok {
		failure.Detail, failure.Said, failure.Next = refused.doing, said(refused.code), refused.next
		if refused.code == codeNoPermission {
			failure.Next = nextRights
		}
		return failure
	}
	failure.Detail, failure.Cause = upstream.Told(err, broken(err))
	return failure
}

// refuse says that nothing was changed, and why.
func (s *session) refuse(detail, next string) *upstream.Error {
	return &upstream.Error{Doing: s.doing, At: s.node.address, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// superseded says that nothing was changed, since the account is another's.
func (s *session) superseded(detail, next string) *upstream.Error {
	return &upstream.Error{Doing: s.doing, At: s.node.address, Class: upstream.ErrSuperseded, Detail: detail, Next: next}
}

// serverError is an error reply.
type serverError struct{ doing, code, next string }

func (e *serverError) Error() string { return upstream.Join(e.doing, said(e.code)) }

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
var first = runEntry(entryRun, 0, noRun)

// look reads the users.
func (s *session) look() (map[string]user, error) {
	r, err := s.command("reading the users", "", "ACL", "LIST")
	if err != nil {
		return nil, s.fail(upstream.ErrNotApplied, err)
	}
	return parseUsers(r.items), nil
}

// plan looks, and checks that this run may make the change. It changes nothing.
func (s *session) plan() (plan, error) {
	users, err := s.look()
	if err != nil {
		return plan{}, err
	}
	if s.Mode == upstream.Dual {
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
	next, err := s.mark(subject)
	if err != nil {
		return p, err
	}
	if len(subject.own) == 0 {
		p.unmarked = []string{s.user}
	}
	p.rules = conditional(subject.own, next)
	switch {
	case s.apply:
		p.rules = append(p.rules, "#"+s.digest)
	case subject.opens(s.digest):
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
	for _, name := range s.Users {
		subject, exists := users[name]
		next, err := s.mark(subject)
		if err != nil {
			return p, err
		}
		own, theirs := subject.own, exists && s.theirs(subject, template)
		if theirs && s.apply {
			return p, s.foreign(subject)
		}
		if name != s.user {
			if exists && !theirs && subject.marker.Run != runDigest(s.run) {
				p.before = append([]string{"ACL", "SETUSER", name}, conditional(own, next)...)
				if len(own) == 0 {
					p.unmarked = append(p.unmarked, name)
				}
			}
			continue
		}
		if !s.apply && !subject.opens(s.digest) {
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
			p.unmarked = append(p.unmarked, name)
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

// theirs reports whether subject is somebody else's: Custody did not make it, it is not the user of the account's
// credential with that password or none, and it was not handed over, which is to let nobody in, with the template's
// rights or none.
func (s *session) theirs(subject, template user) bool {
	opens := subject.nopass || len(subject.passwords) > 0
	if subject.marker.claim != "" || s.kept.ExposeText(login.Username) == subject.name && (!opens || subject.opens(digest(s.kept))) {
		return false
	}
	rights := granted(subject.rights)
	return subject.on && opens || !powerless(rights) && !slices.Equal(rights, granted(template.rights))
}

// foreign is the error for a user of the pair that is somebody else's.
func (s *session) foreign(subject user) error {
	detail := "the current credential does not open it"
	next := fmt.Sprintf("see who uses it; if its password is known, supply that:  %[2]s; else hand it over with ACL SETUSER %[1]s reset, "+
		"which switches it off and takes its passwords and rights, or remove it: ACL DELUSER %[1]s; and let no configuration of the server's declare it", subject.name, upstream.SupplyOwn)
	if subject.nopass {
		detail, next = "any password opens it", "see who uses it without one, then ACL SETUSER "+subject.name+" reset"
	}
	return s.superseded(fmt.Sprintf("user %q is somebody else's: it carries no claim, and %s", subject.name, detail), next)
}

// granted leaves out of rights what every change to a user sets anew.
func granted(rights []string) []string {
	return slices.DeleteFunc(slices.Clone(rights), func(rule string) bool { return rule == "sanitize-payload" })
}

// powerless reports whether rights let nobody do anything.
func powerless(rights []string) bool {
	return !slices.ContainsFunc(rights, func(rule string) bool { return rule[0] == '+' || rule[0] == '(' })
}

// claimed checks that one user carries no other claim.
func (s *session) claimed(subject user) error {
	if claim := subject.marker.claim; claim != "" && claim != claimDigest(s.Claim) {
		return s.superseded(fmt.Sprintf("user %q carries another claim", subject.name), fmt.Sprintf(
			"if nobody else rotates it, take the entries that begin with #%[1]s off the user (ACL LIST shows them, ACL SETUSER %[2]s !… removes one), or all of it: ACL SETUSER %[2]s reset", marked, subject.name))
	}
	return nil
}

// mark checks one user's marker and returns it as this change leaves it.
func (s *session) mark(subject user) (next marker, err error) {
	if err := s.claimed(subject); err != nil {
		return next, err
	}
	m := subject.marker
	m.claim = claimDigest(s.Claim)
	next, ok := m.supersede(s.run)
	if !ok {
		return next, s.superseded(fmt.Sprintf("a later run than %s has changed user %q", s.run, subject.name), "nothing: the later run continues")
	}
	return next, nil
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
			return s.fail(unpermitted(err), err)
		}
		if err := s.save(); err != nil {
			failure := s.fail(nil, err)
			failure.Detail = upstream.Join("the change is made, and would be forgotten at a restart", failure.Detail)
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

// unpermitted is the class of an answer that the right is missing: nothing was changed. nil of any other.
func unpermitted(err error) error {
	if refused, ok := errors.AsType[*serverError](err); ok && refused.code == codeNoPermission {
		return upstream.ErrNotApplied
	}
	return nil
}

// beaten reports whether the server answered that it did nothing, for another reason than a missing right: most likely
// the marker has changed, which another look tells.
func beaten(err error) bool {
	refused, ok := errors.AsType[*serverError](err)
	return ok && refused.code == "ERR"
}
