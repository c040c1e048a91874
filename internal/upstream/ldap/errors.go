// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"errors"
	"fmt"

	"custody.dev/custody/internal/upstream"

	"github.com/go-ldap/ldap/v3"
)

const (
	nextRights = "the admin needs to read and write userPassword and the marker's attribute of the account's entries, and to read and search the rest of them; see the kind's page"
	nextBusy   = "somebody else changes this entry; the call is repeated"
)

// broke is what is said of a failure on this side that must not be quoted.
const broke = "the connection broke, or the server and this client could not agree on TLS"

// result is what may be shown of the server's answer: its code, never its text.
func result(code uint16) string {
	return fmt.Sprintf("LDAP result %d (%s)", code, ldap.LDAPResultCodeMap[code])
}

// answer returns the server's result code; ok is false when err is not the server's.
func answer(err error) (code uint16, ok bool) {
	failure, ok := errors.AsType[*ldap.Error](err)
	if !ok || failure.ResultCode >= ldap.ErrorNetwork {
		return 0, false // codes from there on are the library's own
	}
	return failure.ResultCode, true
}

// policy returns what the password policy says in a failed operation's reply, -1 when it says nothing.
func policy(err error) int8 {
	failure, ok := errors.AsType[*ldap.Error](err)
	if !ok || failure.Packet == nil || len(failure.Packet.Children) < 3 {
		return -1
	}
	for _, child := range failure.Packet.Children[2].Children {
		control, err := ldap.DecodeControl(child)
		if err != nil {
			continue
		}
		if said, ok := control.(*ldap.ControlBeheraPasswordPolicy); ok {
			return said.Error
		}
	}
	return -1
}

// Errors of the password policy, from draft-behera-ldap-password-policy-10.
const (
	policyExpired    = 0
	policyLocked     = 1
	policyReset      = 2
	policyForbidden  = 3
	policyWantsOld   = 4
	policyQuality    = 5
	policyTooShort   = 6
	policyTooYoung   = 7
	policyInHistory  = 8
	policyTooLong    = 9
	policySaysNought = -1
)

// refusal describes what the server answered to a change. The server changes all or nothing, so nothing was changed,
// except where its answer is that something broke.
func refusal(doing string, err error) *upstream.Error {
	code, _ := answer(err)
	e := &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Said: result(code)}
	switch policy(err) {
	case policyQuality, policyTooShort, policyInHistory, policyTooLong:
		e.Class, e.Detail = upstream.ErrRefusedCandidate, "the directory's password policy"
		e.Next = "a policy with pwdCheckQuality 2 refuses every hash: see hash: server; a password in pwdHistory cannot be set again"
		return e
	case policyTooYoung:
		e.Detail, e.Next = "the password is younger than the policy's pwdMinAge", "give the account a policy without pwdMinAge"
		return e
	case policyForbidden, policyWantsOld:
		e.Class, e.Detail = upstream.ErrRefusedCandidate, "the directory's password policy forbids this change"
		e.Next = "give the account a policy without pwdSafeModify and with pwdAllowUserChange, or use mode overwrite"
		return e
	}
	switch code {
	case ldap.LDAPResultConstraintViolation:
		e.Class = upstream.ErrRefusedCandidate
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultNoSuchObject:
		e.Next = nextRights
	case ldap.LDAPResultObjectClassViolation, ldap.LDAPResultUndefinedAttributeType, ldap.LDAPResultInvalidAttributeSyntax:
		e.Next = "the entry's object classes must allow userPassword and the marker's attribute"
	case ldap.LDAPResultUnavailableCriticalExtension:
		e.Next = "the directory does not know the assertion control (RFC 4528), without which nothing is changed"
	case ldap.LDAPResultReferral:
		e.Next = "the server is a read-only replica: name the provider in the Upstream document"
	case ldap.LDAPResultOther, ldap.LDAPResultOperationsError:
		e.Class, e.Detail = nil, "the server broke off the change, which may have taken effect"
	}
	return e
}

func foreign(doing, dn, attribute, claim string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded,
		Detail: fmt.Sprintf("the marker in %s of %q is %s", attribute, dn, claim),
		Next:   "if nobody else rotates it, remove that value from the entry",
	}
}
