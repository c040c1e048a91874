// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// TLS modes, as documents write them.
const (
	VerifyFull = "verify-full"
	VerifyCA   = "verify-ca"
	Require    = "require"
	Disable    = "disable"
)

// applicationName is how Custody's own sessions name themselves.
const applicationName = "custody"

// Server says where PostgreSQL is and how its identity is checked.
type Server struct {
	// Host name, address, or folder of the Unix socket.
	Host string
	// Port. Default 5432.
	Port int
	// Database to sign in to. Default postgres.
	Database string
	// TLS is verify-full (default), verify-ca, require or disable. disable wants loopback or a socket, which needs none.
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

// connection builds what every connection has in common; the credential is added by field, so that no connection string
// ever holds it. Nothing is taken from the process's environment or the user's files.
func (s Server) connection() (*pgconn.Config, error) {
	if s.Host == "" || strings.ContainsAny(s.Host, ",\x00") {
		return nil, errors.New("one host is needed")
	}
	if s.Port < 0 || s.Port > 65535 {
		return nil, fmt.Errorf("port %d is out of range", s.Port)
	}
	if s.Port == 0 {
		s.Port = 5432
	}
	if s.Database == "" {
		s.Database = "postgres"
	}
	// The driver insists on parsing something; each setting it would look up elsewhere is given, then replaced.
	config, err := pgconn.ParseConfig("host=localhost port=1 user=unset password=unset dbname=unset sslmode=disable " +
		"sslcertmode=disable target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 " +
		"channel_binding=prefer require_auth='' connect_timeout=0 sslnegotiation=postgres")
	if err != nil {
		return nil, errors.New("the environment's PG* variables disturb the driver: unset them (PGSERVICE above all)")
	}
	config.Host, config.Port, config.Database = s.Host, uint16(s.Port), s.Database
	config.Fallbacks, config.ConnectTimeout, config.ValidateConnect = nil, 0, nil
	config.KerberosSpn, config.KerberosSrvName = "", ""
	config.RuntimeParams = map[string]string{
		"application_name":            applicationName,
		"client_encoding":             "UTF8",
		"search_path":                 "pg_catalog", // nothing that a schema's owner planted is called
		"standard_conforming_strings": "on",
	}
	// Of a name's several addresses, TCP may try all, but a sign-in is attempted at one.
	var dialer net.Dialer
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = dialer.DialContext
	config.TLSConfig, err = s.tls()
	if err != nil {
		return nil, err
	}
	if config.TLSConfig == nil || s.TLS == Require {
		config.RequireAuth = "!password" // a server whose identity is not checked is never told the password itself
	}
	return config, nil
}

func (s Server) tls() (*tls.Config, error) {
	if s.socket() {
		return nil, nil
	}
	var roots *x509.CertPool
	if s.CACertificate != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(s.CACertificate)) {
			return nil, errors.New("the CA certificate is not PEM")
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Host, RootCAs: roots}
	switch s.TLS {
	case "", VerifyFull:
	case VerifyCA:
		// The chain is checked below; the name is what this mode leaves out.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	case Require:
		config.InsecureSkipVerify = true // what the mode means: encrypted, to whomever
	case Disable:
		if !s.local() {
			return nil, fmt.Errorf("TLS cannot be disabled to %q, which is neither loopback nor a socket", s.Host)
		}
		return nil, nil
	default:
		return nil, fmt.Errorf("TLS mode %q: want verify-full, verify-ca, require or disable", s.TLS)
	}
	return config, nil
}

func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, certificate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// signIn opens one connection as v's user, with one attempt. The error is the driver's and must not be shown.
func (u *Upstream) signIn(ctx context.Context, v secret.Value) (*pgconn.PgConn, error) {
	return connect(ctx, u.base, v)
}

func connect(ctx context.Context, base *pgconn.Config, v secret.Value) (*pgconn.PgConn, error) {
	config := base.Copy()
	config.User, config.Password = v.ExposeText(FieldUsername), v.ExposeText(FieldPassword)
	// The driver prepares passwords by newer rules than the server's, which differ beyond ASCII. Prepared here by the
	// server's, the password fits SCRAM and nothing else.
	if prepared := prepare(config.Password); prepared != config.Password {
		config.Password, config.RequireAuth = prepared, "scram-sha-256"
	}
	return pgconn.ConnectConfig(ctx, config)
}

// closing bounds the farewell to a server that may be gone.
const closing = 250 * time.Millisecond

func hangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	_ = conn.Close(ctx) // all that mattered has been answered
}

// admin signs in with the first admin credential that the server does not refuse. Nothing has been changed when it fails.
func (u *Upstream) admin(ctx context.Context, doing string) (*pgconn.PgConn, error) {
	candidates, err := u.Admin(ctx)
	if err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "reading the admin credential", Cause: err}
	}
	refused := &Error{
		Doing: doing, Class: upstream.ErrNotApplied, Detail: "the server refuses every admin credential",
		Next: "set the admin's password by hand and hand it in, as the secret that adminRef names: `custody supply SECRET`",
	}
	for _, candidate := range candidates {
		conn, err := u.signIn(ctx, candidate)
		if err == nil {
			return conn, nil
		}
		failure, answered := errors.AsType[*pgconn.PgError](err)
		if !answered {
			detail, cause := describe(err)
			return nil, &Error{
				Doing: doing, Class: upstream.ErrNotApplied, Detail: join("the server is unreachable", detail), Cause: cause,
				Next: "see that the server runs, and that host, port and TLS in the Upstream document are right",
			}
		}
		if failure.Code != stateInvalidPassword && failure.Code != stateInvalidAuthorization {
			return nil, fromServer(doing, failure, true)
		}
		refused.State = failure.Code
	}
	return nil, refused
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

// Verify signs in once as v's user, on a connection of its own, and once more at each further place. See AlsoAt for what
// is made of different answers.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	verdict, err := u.verify(ctx, v)
	if verdict == upstream.Unknown {
		return verdict, err
	}
	return u.verifyElsewhere(ctx, v, verdict)
}

// verify asks the server itself.
func (u *Upstream) verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	const doing = "signing in"
	user := v.ExposeText(FieldUsername)
	if user == "" || !v.Has(FieldPassword) {
		return upstream.Unknown, &Error{Doing: doing, Detail: "a credential needs the fields username and password"}
	}
	conn, err := u.signIn(ctx, v)
	if err != nil {
		failure, answered := errors.AsType[*pgconn.PgError](err)
		if !answered {
			detail, cause := describe(err)
			return upstream.Unknown, &Error{Doing: doing, Detail: detail, Cause: cause}
		}
		if refusesCredential(failure) {
			return upstream.Refused, nil
		}
		return upstream.Unknown, &Error{Doing: doing, Detail: failure.Message, State: failure.Code}
	}
	defer hangUp(conn)
	result := conn.ExecParams(ctx, "SELECT session_user::text, current_user::text", nil, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) != 1 {
		return upstream.Unknown, &Error{Doing: doing, Detail: "the server took the credential but answers no query"}
	}
	session, current := string(result.Rows[0][0]), string(result.Rows[0][1])
	if session != user {
		return upstream.Unknown, &Error{Doing: doing, Detail: fmt.Sprintf("the session is user %q, not %q: a pooler or a user map stands between", session, user)}
	}
	if u.Mode == Alternate && u.manages(user) && current != u.Owner {
		return upstream.Unknown, &Error{
			Doing: doing, Detail: fmt.Sprintf("the server took the credential, but the session does not become %q", u.Owner),
			Next: fmt.Sprintf("ALTER ROLE %s SET role TO %s", quoteName(user), quoteName(u.Owner)),
		}
	}
	return upstream.Accepted, nil
}
