// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/login/hashing"

	"github.com/go-ldap/ldap/v3"
)

const (
	// assertionControl makes an operation conditional on a filter (RFC 4528).
	assertionControl = "1.3.6.1.1.12"
	// lookAgain is how often a change is prepared anew because somebody else changed the entry first.
	lookAgain = 6
	// between lies between two tries. Together they last more than a second: a password policy with a history notes each
	// password at most once a second, and refuses the change that would note one twice.
	between = 250 * time.Millisecond
)

// entry is one entry as it was read, and the values of userPassword that a change deletes and adds.
type entry struct {
	ctx       context.Context
	doing, dn string
	passwords []string
	// text is the marker as read, "" when there was none; next is what the change leaves.
	text string
	next login.Marker

	// remove and add are single values. With replace, what was read is given up for add, which may be nothing.
	remove, add []string
	replace     bool
	// taken: the entry signs in with the candidate already.
	taken bool
}

func (e *entry) refuse(detail, next string) error {
	return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// errMoved: the entry is no longer as it was read.
var errMoved = errors.New("the entry has changed since it was read")

// change prepares and does one change of target, if run is not superseded. sent is the password that the server is to
// hash, used with Hash server alone.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID, target string, prepare func(*entry) error, sent string) error {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if run == "" {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	s, err := u.admin(ctx, doing)
	if err != nil {
		return err
	}
	defer s.hangUp()
	for range lookAgain {
		err = u.attempt(s, doing, run, target, prepare, sent)
		if !errors.Is(err, errMoved) {
			return err
		}
		pause(ctx, between)
	}
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: "the admin cannot read the whole entry",
		Next: nextBusy + "; if it goes on: " + nextRights,
	}
}

// pause waits without a clock of its own.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

func (u *Upstream) attempt(s *session, doing string, run authority.RunID, target string, prepare func(*entry) error, sent string) error {
	var entries []*entry
	for _, dn := range u.entries(target) {
		e, err := u.look(s, doing, run, dn)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	for _, partner := range entries[1:] { // from here on no call of an earlier run can change it
		if _, read, _ := findMarker([]string{partner.text}); read.Run == run {
			continue
		}
		if err := u.modify(s, partner); err != nil {
			return err
		}
	}
	e := entries[0]
	if err := prepare(e); err != nil {
		return err
	}
	if err := u.modify(s, e); err != nil {
		return err
	}
	if sent == "" || u.Hash != ByServer || e.taken {
		return nil
	}
	return u.send(s, e, sent)
}

// look reads an entry and checks its marker.
func (u *Upstream) look(s *session, doing string, run authority.RunID, dn string) (*entry, error) {
	found, err := s.read(doing, dn, passwordAttribute, u.MarkerAttribute)
	if err != nil {
		return nil, err
	}
	e := &entry{ctx: s.ctx, doing: doing, dn: dn}
	if found == nil {
		return nil, e.refuse(fmt.Sprintf("there is no entry %q that the admin can see", dn), "make the entry; "+nextRights)
	}
	// OpenLDAP returns attributes as its schema writes them, with options as they are stored.
	for _, attribute := range found.Attributes {
		if strings.EqualFold(attribute.Name, passwordAttribute) {
			e.passwords = attribute.Values
		}
	}
	text, m, err := u.marker(doing, dn, found)
	if err != nil {
		return nil, err
	}
	next, ok := m.Change(run)
	if !ok {
		return nil, login.Superseded(doing, run, m.Run)
	}
	e.text, e.next = text, next
	return e, nil
}

// modify does what was prepared, in one operation that asserts the marker as it was read, and the passwords. Where none
// was read, it asserts that there is none: an admin who may not read them would otherwise add to what it cannot see.
func (u *Upstream) modify(s *session, e *entry) error {
	request := ldap.NewModifyRequest(e.dn, nil)
	condition := "(!(" + u.MarkerAttribute + "=" + ldap.EscapeFilter(markerStart) + "*))"
	if e.text != "" {
		condition = "(" + u.MarkerAttribute + "=" + ldap.EscapeFilter(e.text) + ")"
		request.Delete(u.MarkerAttribute, []string{e.text})
	}
	request.Add(u.MarkerAttribute, []string{e.next.Text()})
	if e.replace || len(e.add) > 0 {
		condition = "(&" + condition + held(e.passwords) + ")"
	}
	// A password policy takes a deletion together with an addition for a person who gives the old password in clear.
	if e.replace {
		request.Replace(passwordAttribute, e.add)
	} else if len(e.add) > 0 {
		request.Add(passwordAttribute, e.add)
	} else if len(e.remove) > 0 {
		request.Delete(passwordAttribute, e.remove)
	}
	filter, err := ldap.CompileFilter(condition)
	if err != nil {
		return e.refuse("the assertion cannot be written", "")
	}
	request.Controls = []ldap.Control{
		ldap.NewControlString(assertionControl, true, string(filter.Bytes())), ldap.NewControlBeheraPasswordPolicy(),
	}
	if err := s.ctx.Err(); err != nil {
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	_, err = s.ModifyWithResult(request)
	if err == nil {
		return nil
	}
	code, answered := answer(err)
	if !answered {
		detail, cause := s.explain(err)
		return &upstream.Error{Doing: e.doing, Detail: upstream.Join("no answer to the change, which may have taken effect", detail), Cause: cause}
	}
	switch code {
	case ldap.LDAPResultAssertionFailed, ldap.LDAPResultNoSuchAttribute, ldap.LDAPResultAttributeOrValueExists:
		return errMoved
	case ldap.LDAPResultObjectClassViolation:
		if e.replace && len(e.add) == 0 {
			return u.lock(s, e) // such as simpleSecurityObject, which must have one
		}
	}
	return refusal(e.doing, err)
}

// lock leaves the entry one password that nobody knows.
func (u *Upstream) lock(s *session, e *entry) error {
	unknown := make([]byte, 32)
	if _, err := io.ReadFull(u.Random, unknown); err != nil {
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Detail: "reading randomness"}
	}
	made, err := hashed(u.Random, SSHA, string(unknown))
	if err != nil {
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	e.add = []string{made}
	return u.modify(s, e)
}

// held is a filter for an entry with these passwords and at least no other when there are none.
func held(passwords []string) string {
	if len(passwords) == 0 {
		return "(!(" + passwordAttribute + "=*))"
	}
	var filter strings.Builder
	for _, stored := range passwords {
		filter.WriteString("(" + passwordAttribute + "=" + ldap.EscapeFilter(stored) + ")")
	}
	return filter.String()
}

// send has the server hash the password and put it in place of all others.
func (u *Upstream) send(s *session, e *entry, password string) error {
	_, err := s.PasswordModify(ldap.NewPasswordModifyRequest(e.dn, "", password))
	if err == nil {
		return nil
	}
	if _, answered := answer(err); answered {
		return refusal(e.doing, err)
	}
	detail, cause := s.explain(err)
	return &upstream.Error{Doing: e.doing, Detail: upstream.Join("no answer to the change, which may have taken effect", detail), Cause: cause}
}

// once signs in with v when it is first asked, and gives that answer ever after: a change may be prepared several
// times, and wrong sign-ins are counted.
func (u *Upstream) once(v secret.Value) func(context.Context) (upstream.Verdict, error) {
	var verdict upstream.Verdict
	var err error
	return func(ctx context.Context) (upstream.Verdict, error) {
		if verdict == "" {
			verdict, err = u.Verify(ctx, v)
		}
		return verdict, err
	}
}

// set prepares that e's entry takes candidate: beside what it holds (dual), or in its place. signIn tries the candidate.
func (u *Upstream) set(e *entry, candidate secret.Value, signIn func(context.Context) (upstream.Verdict, error)) error {
	password := candidate.ExposeText(login.Password)
	held := slices.IndexFunc(e.passwords, func(stored string) bool { return compare(stored, password) == hashing.Same })
	e.taken = held >= 0
	// What this package hashed it can compute: only a server may have made the candidate something that it cannot.
	if held < 0 && u.Hash == ByServer && slices.ContainsFunc(e.passwords, func(stored string) bool { return compare(stored, password) == hashing.Untold }) {
		verdict, _ := signIn(e.ctx)
		e.taken = verdict == upstream.Accepted && len(e.passwords) == 1 // of several, sending it leaves one
	}
	if u.Mode == upstream.Overwrite && len(e.passwords) > 1 {
		return e.refuse(fmt.Sprintf("the entry has %d passwords, and mode overwrite knows one", len(e.passwords)),
			"remove what nobody uses, or use mode dual")
	}
	if held >= 0 {
		if u.Mode == upstream.Alternate && len(e.passwords) > 1 {
			e.replace, e.add = true, []string{e.passwords[held]}
		}
		return nil
	}
	if u.Hash == ByServer {
		return nil // the password modify operation replaces them
	}
	made, err := hashed(u.Random, u.Hash, password)
	if errors.Is(err, hashing.ErrTooLong) {
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrRefusedCandidate, Cause: err, Next: "change the secret's generate rule so that it makes shorter passwords"}
	}
	if err != nil {
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	e.add, e.replace = []string{made}, u.Mode != upstream.Dual
	return nil
}

// empty prepares that e's entry has no password, if old opens it. Otherwise the entry is as it should be, or somebody
// else's: the claim does not tell, since it is at both entries before either has a password of Custody's.
func (u *Upstream) empty(e *entry, old secret.Value, signIn func(context.Context) (upstream.Verdict, error)) error {
	untellable := false
	for _, stored := range e.passwords {
		switch compare(stored, old.ExposeText(login.Password)) {
		case hashing.Same:
			e.replace = true
		case hashing.Untold:
			untellable = true
		}
	}
	if e.replace || !untellable {
		return nil
	}
	verdict, err := signIn(e.ctx)
	if verdict == upstream.Unknown {
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Detail: "finding out whether the entry accepts the old password", Cause: err}
	}
	e.replace = verdict == upstream.Accepted
	return nil
}

// unset prepares that e's entry refuses old. signIn tries old.
func (u *Upstream) unset(e *entry, old, successor secret.Value, signIn func(context.Context) (upstream.Verdict, error)) error {
	if u.Mode == upstream.Alternate {
		return u.empty(e, old, signIn)
	}
	var left []string // values that may be anybody's
	for _, stored := range e.passwords {
		switch {
		case successor.Has(login.Password) && compare(stored, successor.ExposeText(login.Password)) == hashing.Same:
		case compare(stored, old.ExposeText(login.Password)) == hashing.Same:
			e.remove = append(e.remove, stored)
		case compare(stored, old.ExposeText(login.Password)) == hashing.Untold:
			left = append(left, stored)
		}
	}
	if len(e.remove) > 0 || len(left) == 0 {
		return nil
	}
	// A directory takes a password that any one value stands for. If old is taken, one of those left is it.
	verdict, err := signIn(e.ctx)
	switch {
	case verdict == upstream.Refused:
		return nil
	case verdict == upstream.Unknown:
		return &upstream.Error{Doing: e.doing, Class: upstream.ErrNotApplied, Detail: "finding out which value belongs to the old password", Cause: err}
	case len(left) > 1:
		return e.refuse(fmt.Sprintf("%d values of userPassword could be the old password's, in schemes that cannot be computed here", len(left)),
			"delete the right one by hand; the run then continues")
	}
	e.remove = left
	return nil
}
