// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

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

func (s Server) socket() bool { return filepath.IsAbs(s.Host) }

func (s Server) local() bool {
	if s.socket() || s.Host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(s.Host)
	return err == nil && address.IsLoopback()
}

// check returns the TLS configuration, nil where there is none.
func (s Server) check() (*tls.Config, error) {
	if s.Host == "" || strings.ContainsAny(s.Host, ", \x00") {
		return nil, errors.New("one host is needed")
	}
	if s.Port < 0 || s.Port > 65535 {
		return nil, fmt.Errorf("there is no port %d", s.Port)
	}
	if s.TLS != "" && s.TLS != LDAPS && s.TLS != StartTLS && s.TLS != Disable {
		return nil, fmt.Errorf("TLS mode %q: want ldaps, starttls or disable", s.TLS)
	}
	if s.socket() {
		return nil, nil
	}
	if s.TLS == Disable {
		if !s.local() {
			return nil, fmt.Errorf("TLS cannot be disabled to %q, which is neither loopback nor a socket", s.Host)
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Host}
	if s.CACertificate != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(s.CACertificate)) {
			return nil, errors.New("the CA certificate is not PEM")
		}
	}
	return config, nil
}

// session is one connection, which ends with its context.
type session struct {
	*ldap.Conn
	ctx  context.Context
	stop func() bool
}

// dial connects. The error is a library's and must not be shown.
func (u *Upstream) dial(ctx context.Context) (*session, error) {
	server := u.Server
	network, address := "unix", server.Host
	if !server.socket() {
		port := tlsPort
		if server.TLS == StartTLS || server.TLS == Disable {
			port = plainPort
		}
		network, address = "tcp", net.JoinHostPort(server.Host, strconv.Itoa(cmp.Or(server.Port, port)))
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, network, address)
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
		secured := tls.Client(raw, u.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			s.stop()
			return nil, errors.Join(err, raw.Close())
		}
		encrypted = secured
	}
	s.Conn = ldap.NewConn(encrypted, encrypted != raw)
	s.SetTimeout(u.CallDeadline)
	s.Start()
	if u.tls != nil && server.TLS == StartTLS {
		if err := s.StartTLS(u.tls); err != nil {
			s.hangUp()
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
	if s.ctx.Err() != nil {
		return "", s.ctx.Err()
	}
	return describe(err)
}

// signIn makes one attempt. Passwords of no length are not tried: a directory takes them as a wish to stay anonymous, and
// says that it succeeded. said is what the password policy adds to the answer.
func (s *session) signIn(v secret.Value) (said int8, err error) {
	request := ldap.NewSimpleBindRequest(v.ExposeText(FieldUsername), v.ExposeText(FieldPassword),
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

// admin signs in with the first admin credential that the server does not refuse. Nothing has been changed when it fails.
func (u *Upstream) admin(ctx context.Context, doing string) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	candidates, err := u.Admin(ctx)
	if err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "reading the admin credential", Cause: err}
	}
	refused := &Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: "the server refuses every admin credential",
		Next: "set the admin's password by hand and hand it in, as the secret that adminRef names: `custody supply SECRET`",
	}
	for _, candidate := range candidates {
		if candidate.ExposeText(FieldUsername) == "" || candidate.ExposeText(FieldPassword) == "" {
			continue
		}
		s, err := u.dial(ctx)
		if err != nil {
			return nil, unreachable(ctx, doing, err)
		}
		if _, err = s.signIn(candidate); err == nil {
			return s, nil
		}
		detail, cause := s.explain(err)
		s.hangUp()
		code, answered := answer(err)
		switch {
		case !answered:
			return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "the server is unreachable: " + detail, Cause: cause}
		case !refusesCredential(code):
			return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "signing in as the admin", Code: code}
		}
		refused.Code = code
	}
	return nil, refused
}

func unreachable(ctx context.Context, doing string, err error) *Error {
	detail, cause := describe(err)
	if ctx.Err() != nil {
		detail, cause = "", ctx.Err()
	}
	if detail != "" {
		detail = ": " + detail
	}
	return &Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: "the server is unreachable" + detail, Cause: cause,
		Next: "see that the server runs, and that host, port and TLS in the Upstream document are right",
	}
}

// refusesCredential: wrong password or no such entry; an entry without a password, as some servers tell it apart.
func refusesCredential(code uint16) bool {
	return code == ldap.LDAPResultInvalidCredentials || code == ldap.LDAPResultInappropriateAuthentication
}

// Verify signs in once as v's entry, on a connection of its own. A refusal is believed once the admin has seen that the
// password policy has not locked the account, which a directory does not tell those who sign in.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "signing in"
	unknown := func(e *Error) (upstream.Verdict, error) {
		e.Doing, e.Class = doing, nil
		return upstream.Unknown, e
	}
	if v.ExposeText(FieldUsername) == "" || v.ExposeText(FieldPassword) == "" {
		return unknown(&Error{Detail: "a credential needs the fields username and password, neither of them empty"})
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return unknown(&Error{Cause: err})
	}
	u.observe(ctx, v.ExposeText(FieldUsername))
	s, err := u.dial(ctx)
	if err != nil {
		return unknown(unreachable(ctx, doing, err))
	}
	defer s.hangUp()
	said, err := s.signIn(v)
	if err == nil {
		u.own(ctx, v.ExposeText(FieldUsername))
		return u.believe(s, v, said)
	}
	code, answered := answer(err)
	if !answered {
		detail, cause := s.explain(err)
		return unknown(&Error{Detail: detail, Cause: cause})
	}
	switch {
	case said == policyLocked:
		return unknown(u.locked(code))
	case said == policyExpired:
		return unknown(&Error{Detail: "the password policy says that the password has expired", Code: code})
	case !refusesCredential(code):
		return unknown(&Error{Code: code})
	}
	locked, err := u.lockedOut(ctx, v.ExposeText(FieldUsername))
	if err != nil {
		return unknown(&Error{Detail: "the server refuses the credential, and whether it has locked the account cannot be told", Code: code, Cause: err})
	}
	if locked {
		return unknown(u.locked(code))
	}
	return upstream.Refused, nil
}

// believe looks twice at a sign-in that succeeded.
func (u *Upstream) believe(s *session, v secret.Value, said int8) (upstream.Verdict, error) {
	if said == policyReset {
		return upstream.Unknown, &Error{
			Doing: "signing in", Detail: "the password policy wants the account to change its password before it does anything else",
			Next: "give the account a policy without pwdMustChange",
		}
	}
	whoami, err := s.WhoAmI(nil)
	if _, answered := answer(err); err != nil && answered {
		return upstream.Accepted, nil // the server does not tell; the password was not empty, so it was checked
	}
	if err != nil {
		detail, cause := s.explain(err)
		return upstream.Unknown, &Error{Doing: "signing in", Detail: detail, Cause: cause}
	}
	dn, named := strings.CutPrefix(whoami.AuthzID, "dn:")
	if whoami.AuthzID == "" || named && !sameDN(dn, v.ExposeText(FieldUsername)) {
		return upstream.Unknown, &Error{Doing: "signing in", Detail: fmt.Sprintf("the server says that this session is %q", whoami.AuthzID)}
	}
	return upstream.Accepted, nil
}

func (u *Upstream) locked(code uint16) *Error {
	return &Error{
		Detail: "the directory has locked the account", Code: code,
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

// Holds reports, as the admin, whether v's entry holds v's password; told is false when that cannot be computed. Its error says
// that the password policy has locked the entry, or that it cannot be looked at.
func (u *Upstream) Holds(ctx context.Context, v secret.Value) (held, told bool, err error) {
	const doing = "looking at the account"
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	s, err := u.admin(ctx, doing)
	if err != nil {
		return false, false, err
	}
	defer s.hangUp()
	found, err := s.read(doing, v.ExposeText(FieldUsername), passwordAttribute, lockedAttribute)
	if err != nil || found == nil {
		return false, err == nil, err
	}
	if len(found.GetEqualFoldAttributeValues(lockedAttribute)) > 0 {
		e := u.locked(0)
		e.Doing = doing
		return false, false, e
	}
	told = true
	for _, stored := range found.GetEqualFoldAttributeValues(passwordAttribute) {
		switch compare(stored, v.ExposeText(FieldPassword)) {
		case same:
			return true, true, nil
		case untold:
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
			return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: detail, Cause: cause}
		case code == ldap.LDAPResultNoSuchObject, code == ldap.LDAPResultInvalidDNSyntax:
			return nil, nil
		}
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Code: code, Next: nextRights}
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
