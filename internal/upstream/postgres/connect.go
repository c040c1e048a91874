// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

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

// connection builds what every connection has in common; the credential is added by field, so that no connection string
// ever holds it. Nothing is taken from the process's environment or the user's files.
func (s Server) connection() (*pgconn.Config, error) {
	if err := cmp.Or(transport.Host(s.Host), transport.Port(s.Port)); err != nil {
		return nil, err
	}
	// The driver insists on parsing something; each setting it would look up elsewhere is given, then replaced.
	config, err := pgconn.ParseConfig("host=localhost port=1 user=unset password=unset dbname=unset sslmode=disable " +
		"sslcertmode=disable target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 " +
		"channel_binding=prefer require_auth='' connect_timeout=0 sslnegotiation=postgres")
	if err != nil {
		return nil, errors.New("the environment's PG* variables disturb the driver: unset them (PGSERVICE above all)")
	}
	config.Host, config.Port, config.Database = s.Host, uint16(cmp.Or(s.Port, 5432)), cmp.Or(s.Database, "postgres")
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
	if transport.Socket(s.Host) {
		return nil, nil
	}
	config, err := transport.Verified(s.Host, s.CACertificate)
	if err != nil {
		return nil, err
	}
	switch s.TLS {
	case "", VerifyFull:
		return config, nil
	case VerifyCA:
		return transport.ChainOnly(s.Host, s.CACertificate)
	case Require:
		config.InsecureSkipVerify = true // what the mode means: encrypted, to whomever
		return config, nil
	case Disable:
		return nil, transport.Plain(s.Host)
	}
	return nil, fmt.Errorf("TLS mode %q: want verify-full, verify-ca, require or disable", s.TLS)
}

// signIn opens one connection as v's user, with one attempt. The error is the driver's and must not be shown.
func (u *Upstream) signIn(ctx context.Context, v secret.Value) (*pgconn.PgConn, error) {
	return connect(ctx, u.base, v)
}

func connect(ctx context.Context, base *pgconn.Config, v secret.Value) (*pgconn.PgConn, error) {
	config := base.Copy()
	config.User, config.Password = v.ExposeText(login.Username), v.ExposeText(login.Password)
	// The driver prepares passwords by newer rules than the server's, which differ beyond ASCII. Prepared here by the
	// server's, the password fits SCRAM and nothing else.
	if prepared := prepare(config.Password); prepared != config.Password {
		config.Password, config.RequireAuth = prepared, "scram-sha-256"
	}
	if config.TLSConfig == nil {
		return pgconn.ConnectConfig(ctx, config)
	}
	var heard *transport.Heard
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := base.DialFunc(ctx, network, address)
		if err != nil {
			return nil, err
		}
		heard = &transport.Heard{Conn: raw}
		return heard, nil
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil && heard != nil && bytes.Equal(heard.First(), []byte("N")) { // the answer to SSLRequest
		err = transport.ErrNoTLS
	}
	return conn, err
}

// closing bounds the farewell to a server that may be gone.
const closing = 250 * time.Millisecond

func hangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	_ = conn.Close(ctx) // all that mattered has been answered
}

// admin signs in as the admin. Nothing has been changed when it fails.
func (u *Upstream) admin(ctx context.Context, doing string) (*pgconn.PgConn, error) {
	return login.Admin(ctx, doing, login.At(u.Server.Host, u.Server.Port), u.Admin, func(ctx context.Context, v secret.Value) (*pgconn.PgConn, string, error) {
		conn, err := u.signIn(ctx, v)
		if err == nil {
			return conn, "", nil
		}
		failure, answered := errors.AsType[*pgconn.PgError](err)
		switch {
		case !answered:
			return nil, "", login.Unreachable(doing, err, broken)
		case refusesCredential(failure):
			return nil, said(failure), nil
		}
		return nil, "", fromServer(doing, failure, true)
	})
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
	user := v.ExposeText(login.Username)
	if user == "" || !v.Has(login.Password) {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: login.Lacking}
	}
	conn, err := u.signIn(ctx, v)
	if err != nil {
		failure, answered := errors.AsType[*pgconn.PgError](err)
		switch {
		case !answered:
			return upstream.Unknown, unanswered(err)
		case refusesCredential(failure):
			return upstream.Refused, nil
		case full(failure):
			return u.whileFull(ctx, v, failure)
		}
		return upstream.Unknown, undecided(failure)
	}
	defer hangUp(conn)
	result := conn.ExecParams(ctx, "SELECT session_user::text, current_user::text", nil, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) != 1 {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: "the server accepted the credential but answers no query"}
	}
	session, current := string(result.Rows[0][0]), string(result.Rows[0][1])
	if session != user {
		return upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: fmt.Sprintf("the session is user %q, not %q: there is a pooler or a user map in between", session, user)}
	}
	if u.Mode == upstream.Alternate && u.account.Manages(user) && current != u.Owner {
		return upstream.Unknown, &upstream.Error{
			Doing: login.SigningIn, Detail: fmt.Sprintf("the server accepted the credential, but the session does not become %q", u.Owner),
			Next: fmt.Sprintf("ALTER ROLE %s SET role TO %s", quoteName(user), quoteName(u.Owner)),
		}
	}
	return upstream.Accepted, nil
}
