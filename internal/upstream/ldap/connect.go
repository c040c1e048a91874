// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
	"custody.dev/custody/internal/upstream/login/hashing"

	"github.com/go-ldap/ldap/v3"
)

// TLS modes, as documents write them.
const (
	LDAPS    = "ldaps"
	StartTLS = "starttls"
	Disable  = "disable"
)

const (
	tlsPort   = 636
	plainPort = 389
)

// Server says where the directory is and how its identity is checked.
type Server struct {
	// Host name, address, or path of the Unix socket.
	Host string
	// Port. Default 636 with LDAPS, else 389.
	Port int
	// TLS is ldaps (default), starttls or disable. disable wants loopback or a socket, which needs none.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
}

// check returns the TLS configuration, nil where there is none.
func (s Server) check() (*tls.Config, error) {
	if err := cmp.Or(transport.Host(s.Host), transport.Port(s.Port)); err != nil {
		return nil, err
	}
	switch s.TLS {
	case Disable:
		return nil, transport.Plain(s.Host)
	case "", LDAPS, StartTLS:
		if transport.Socket(s.Host) {
			return nil, nil
		}
		return transport.Verified(s.Host, s.CACertificate)
	}
	return nil, fmt.Errorf("TLS mode %q: want ldaps, starttls or disable", s.TLS)
}

// session is one connection, which ends with its context.
type session struct {
	*ldap.Conn
	ctx  context.Context
	stop func() bool
}

// dial connects. A server now and then takes a connection and never answers on it: another is tried once a quarter of the call's time is
// over, as nothing was asked yet. The error is a library's and must not be shown.
func (u *Upstream) dial(ctx context.Context) (*session, error) {
	patient, cancel := context.WithTimeout(ctx, u.CallDeadline/4)
	defer cancel()
	s, err := u.connect(ctx, patient)
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return u.connect(ctx, ctx)
	}
	return s, err
}

// connect makes a session that ends with ctx. The connection, and TLS from the first byte, are agreed on before the other context ends.
func (u *Upstream) connect(ctx, soon context.Context) (*session, error) {
	server := u.Server
	network, address := "unix", server.Host
	if !transport.Socket(server.Host) {
		port := tlsPort
		if server.TLS == StartTLS || server.TLS == Disable {
			port = plainPort
		}
		network, address = "tcp", net.JoinHostPort(server.Host, strconv.Itoa(cmp.Or(server.Port, port)))
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(soon, network, address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	s := &session{ctx: ctx, stop: context.AfterFunc(ctx, func() { _ = raw.Close() })}
	encrypted := raw
	if u.tls != nil && server.TLS != StartTLS {
		if encrypted, err = transport.Secure(soon, raw, u.tls); err != nil {
			s.stop()
			return nil, err
		}
	}
	s.Conn = ldap.NewConn(encrypted, encrypted != raw)
	s.SetTimeout(u.CallDeadline)
	s.Start()
	if u.tls != nil && server.TLS == StartTLS {
		if err := s.StartTLS(u.tls); err != nil {
			s.hangUp()
			switch code, _ := answer(err); code {
			case ldap.LDAPResultProtocolError, ldap.LDAPResultUnavailable: // it does not know the operation, or has no certificate
				return nil, transport.ErrNoTLS
			}
			return nil, err
		}
	}
	return s, nil
}

func (s *session) hangUp() {
	s.stop()
	_ = s.Close() // all that mattered has been answered
}

// explain describes a failure that is not the server's answer.
func (s *session) explain(err error) (detail string, cause error) {
	return upstream.Told(errors.Join(s.ctx.Err(), err), broke)
}

// signIn makes one attempt. Passwords of no length are not tried: a directory takes them as a wish to stay anonymous, and
// says that it succeeded. said is what the password policy adds to the answer.
func (s *session) signIn(v secret.Value) (said int8, err error) {
	request := ldap.NewSimpleBindRequest(v.ExposeText(login.Username), v.ExposeText(login.Password),
		[]ldap.Control{ldap.NewControlBeheraPasswordPolicy()})
	result, err := s.SimpleBind(request)
	said = policySaysNought
	if result != nil {
		if control, ok := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy); ok {
			said = control.Error
		}
	}
	return said, err
}

// admin signs in as the admin. Nothing has been changed when it fails.
func (u *Upstream) admin(ctx context.Context, doing string) (*session, error) {
	return login.Admin(ctx, doing, login.At(u.Server.Host, u.Server.Port), u.Admin, func(ctx context.Context, v secret.Value) (*session, string, error) {
		if v.ExposeText(login.Password) == "" { // a directory lets anybody in so, as nobody (RFC 4513, 5.1.2)
			return nil, "the credential has no password", nil
		}
		s, err := u.dial(ctx)
		if err != nil {
			return nil, "", unreachable(ctx, doing, err)
		}
		if _, err = s.signIn(v); err == nil {
			return s, "", nil
		}
		s.hangUp()
		code, answered := answer(err)
		switch {
		case !answered:
			return nil, "", unreachable(ctx, doing, err)
		case !refusesCredential(code):
			return nil, "", &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "signing in as the admin", Said: result(code)}
		}
		return nil, result(code), nil
	})
}

func unreachable(ctx context.Context, doing string, err error) *upstream.Error {
	return login.Unreachable(doing, errors.Join(ctx.Err(), err), broke)
}

// refusesCredential: wrong password or no such entry; an entry without a password, as some servers tell it apart.
func refusesCredential(code uint16) bool {
	return code == ldap.LDAPResultInvalidCredentials || code == ldap.LDAPResultInappropriateAuthentication
}

// Verify signs in once as v's entry, on a connection of its own. A refusal is believed once the admin has seen that the
// password policy has not locked the account, which a directory does not tell those who sign in.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	unknown := func(e *upstream.Error) (upstream.Verdict, error) {
		e.Doing, e.Class = login.SigningIn, nil
		return upstream.Unknown, e
	}
	if v.ExposeText(login.Username) == "" || v.ExposeText(login.Password) == "" {
		return unknown(&upstream.Error{Detail: login.Lacking})
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return unknown(&upstream.Error{Cause: err})
	}
	u.observe(ctx, v.ExposeText(login.Username))
	s, err := u.dial(ctx)
	if err != nil {
		return unknown(unreachable(ctx, login.SigningIn, err))
	}
	defer s.hangUp()
	said, err := s.signIn(v)
	if err == nil {
		u.own(ctx, v.ExposeText(login.Username))
		return u.believe(s, v, said)
	}
	code, answered := answer(err)
	if !answered {
		detail, cause := s.explain(err)
		return unknown(&upstream.Error{Detail: detail, Cause: cause})
	}
	switch {
	case said == policyLocked:
		return unknown(u.locked(result(code)))
	case said == policyExpired:
		return unknown(&upstream.Error{Detail: "the password policy says that the password has expired", Said: result(code)})
	case !refusesCredential(code):
		return unknown(&upstream.Error{Said: result(code)})
	}
	locked, err := u.lockedOut(ctx, v.ExposeText(login.Username))
	if err != nil {
		return unknown(&upstream.Error{Detail: "the server refuses the credential; it is not known whether it has locked the account", Said: result(code), Cause: err})
	}
	if locked {
		return unknown(u.locked(result(code)))
	}
	return upstream.Refused, nil
}

// believe looks twice at a sign-in that succeeded.
func (u *Upstream) believe(s *session, v secret.Value, said int8) (upstream.Verdict, error) {
	if said == policyReset {
		return upstream.Unknown, &upstream.Error{
			Doing: login.SigningIn, Detail: "the password policy requires the account to change its password before anything else",
			Next: "give the account a policy without pwdMustChange",
		}
	}
	whoami, err := s.WhoAmI(nil)
	if _, answered := answer(err); err != nil && answered {
		return upstream.Accepted, nil // the server does not tell; the password was not empty, so it was checked
	}
	if err != nil {
		detail, cause := s.explain(err)
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: detail, Cause: cause}
	}
	dn, named := strings.CutPrefix(whoami.AuthzID, "dn:")
	if whoami.AuthzID == "" || named && !sameDN(dn, v.ExposeText(login.Username)) {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: fmt.Sprintf("the server says that this session is %q", whoami.AuthzID)}
	}
	return upstream.Accepted, nil
}

func (u *Upstream) locked(said string) *upstream.Error {
	return &upstream.Error{
		Detail: "the directory has locked the account", Said: said,
		Cause: &upstream.Later{After: max(u.WrongEvery, time.Minute), Err: errLocked},
		Next:  "find who signs in with wrong passwords; unlock by removing pwdAccountLockedTime from the entry",
	}
}

var errLocked = errors.New("too many wrong sign-ins")

// lockedOut asks as the admin whether the password policy has locked the entry. One that does not exist is not locked.
func (u *Upstream) lockedOut(ctx context.Context, dn string) (bool, error) {
	const doing = "looking at the account"
	s, err := u.admin(ctx, doing)
	if err != nil {
		return false, err
	}
	defer s.hangUp()
	found, err := s.read(doing, dn, lockedAttribute)
	if err != nil || found == nil {
		return false, err
	}
	return len(found.GetEqualFoldAttributeValues(lockedAttribute)) > 0, nil
}

// Holds reports, as the admin, whether v's entry holds v's password; told is false when that cannot be computed. Its
// error says that the password policy has locked the entry, or that it cannot be looked at.
func (u *Upstream) Holds(ctx context.Context, v secret.Value) (held, told bool, err error) {
	const doing = "looking at the account"
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	s, err := u.admin(ctx, doing)
	if err != nil {
		return false, false, err
	}
	defer s.hangUp()
	found, err := s.read(doing, v.ExposeText(login.Username), passwordAttribute, lockedAttribute)
	if err != nil || found == nil {
		return false, err == nil, err
	}
	if len(found.GetEqualFoldAttributeValues(lockedAttribute)) > 0 {
		e := u.locked("")
		e.Doing = doing
		return false, false, e
	}
	told = true
	for _, stored := range found.GetEqualFoldAttributeValues(passwordAttribute) {
		switch compare(stored, v.ExposeText(login.Password)) {
		case hashing.Same:
			return true, true, nil
		case hashing.Untold:
			told = false
		}
	}
	return false, told, nil
}

// lockedAttribute is where the password policy notes that it has locked an entry.
const lockedAttribute = "pwdAccountLockedTime"

// read returns some attributes of one entry, nil when there is none.
func (s *session) read(doing, dn string, attributes ...string) (*ldap.Entry, error) {
	request := ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 2, 0, false, "(objectClass=*)", attributes, nil)
	found, err := s.Search(request)
	if err != nil {
		code, answered := answer(err)
		switch {
		case !answered:
			detail, cause := s.explain(err)
			return nil, &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: detail, Cause: cause}
		case code == ldap.LDAPResultNoSuchObject, code == ldap.LDAPResultInvalidDNSyntax:
			return nil, nil
		}
		return nil, &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Said: result(code), Next: nextRights}
	}
	if len(found.Entries) != 1 {
		return nil, nil
	}
	return found.Entries[0], nil
}

// sameDN compares names as directories do, as far as that can be told without their schema.
func sameDN(a, b string) bool {
	first, err := ldap.ParseDN(a)
	if err != nil {
		return a == b
	}
	second, err := ldap.ParseDN(b)
	return err == nil && first.EqualFold(second)
}
