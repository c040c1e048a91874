// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/go-sql-driver/mysql"
)

// Product of the server. They store passwords, roles and attributes differently.
type Product string

const (
	// MariaDB is 10.4.3 or later.
	MariaDB Product = "mariadb"
	// MySQL is 8.0.21 or later.
	MySQL Product = "mysql"
)

// plugins lists those that this package can make hashes for, the default first.
func (p Product) plugins() []string {
	if p == MySQL {
		return []string{pluginSHA2}
	}
	return []string{pluginNative, pluginEd25519}
}

func (p Product) check(plugin string) error {
	if p != MariaDB && p != MySQL {
		return fmt.Errorf("product %q: want mariadb or mysql", p)
	}
	if !slices.Contains(p.plugins(), plugin) {
		return fmt.Errorf("plugin %q: want %s", plugin, strings.Join(p.plugins(), " or "))
	}
	return nil
}

// TLS modes, as documents write them. There is none that encrypts without checking the server: whoever answered could ask
// for the password itself (caching_sha2_password), and the driver would tell it.
const (
	VerifyFull = "verify-full"
	VerifyCA   = "verify-ca"
	Disable    = "disable"
)

// Server says where it is and how its identity is checked.
type Server struct {
	// Host name, address, or path of the Unix socket.
	Host string
	// Port. Default 3306.
	Port    int
	Product Product
	// TLS is verify-full (default), verify-ca or disable. disable wants loopback or a socket, which needs none.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
	// MarkerTable is DATABASE.TABLE, "" for none.
	MarkerTable string
}

// way is what every connection has in common.
type way struct{ config mysql.Config }

func (s Server) socket() bool { return filepath.IsAbs(s.Host) }

func (s Server) local() bool {
	if s.socket() || strings.EqualFold(s.Host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(s.Host)
	return err == nil && address.Unmap().IsLoopback()
}

var tableForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}\.[A-Za-z0-9_]{1,64}$`)

func (s Server) way() (*way, error) {
	if s.Host == "" || strings.ContainsAny(s.Host, "\x00") {
		return nil, errors.New("a host is needed")
	}
	if s.Port < 0 || s.Port > 65535 {
		return nil, fmt.Errorf("port %d is out of range", s.Port)
	}
	if s.Port == 0 {
		s.Port = 3306
	}
	if s.MarkerTable != "" && !tableForm.MatchString(s.MarkerTable) {
		return nil, fmt.Errorf("marker table %q: want DATABASE.TABLE in letters, digits and underscores", s.MarkerTable)
	}
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	if s.socket() {
		config.Net, config.Addr = "unix", s.Host
	}
	config.Logger = &mysql.NopLogger{}
	config.ConnectionAttributes = "program_name:" + program
	config.MultiStatements = true
	config.AllowNativePasswords = true // a challenge: the server is not told the password
	var dialer net.Dialer
	config.DialFunc = dialer.DialContext
	secured, err := s.tls()
	if err != nil {
		return nil, err
	}
	config.TLS = secured
	return &way{*config}, nil
}

// program is how Custody's own sessions name themselves.
const program = "custody"

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
	case Disable:
		if !s.local() {
			return nil, fmt.Errorf("TLS cannot be disabled to %q, which is neither loopback nor a socket", s.Host)
		}
		return nil, nil
	default:
		return nil, fmt.Errorf("TLS mode %q: want verify-full, verify-ca or disable", s.TLS)
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

// conn is one connection. Statements are given in full: nothing is prepared on the way.
type conn struct{ driver.Conn }

// handshakes bounds how often one sign-in begins anew when the driver misreads the server's challenge: it drops a last
// byte that is zero, which one in 256 of those of ed25519 is, and gives up before it has answered.
const handshakes = 3

// signIn opens one connection as v's user, with one attempt. The error is the driver's and must not be shown.
func (u *Upstream) signIn(ctx context.Context, v secret.Value) (*conn, error) {
	config := u.way.config.Clone()
	config.User, config.Passwd = v.ExposeText(FieldUsername), v.ExposeText(FieldPassword)
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	var made driver.Conn
	for range handshakes {
		if made, err = connector.Connect(ctx); !errors.Is(err, mysql.ErrMalformPkt) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return &conn{made}, nil
}

func (c *conn) hangUp() { _ = c.Close() } // all that mattered has been answered

// exec runs statements that return nothing; it stops at the first that fails.
func (c *conn) exec(ctx context.Context, sql string) error {
	_, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, sql, nil) //nolint:forcetypeassert // the driver's own connection
	return err
}

// query runs one statement and returns its rows; NULL is "".
func (c *conn) query(ctx context.Context, sql string) ([][]string, error) {
	rows, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, sql, nil) //nolint:forcetypeassert // as above
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out [][]string
	cells := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(cells); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		}
		row := make([]string, len(cells))
		for i, cell := range cells {
			switch value := cell.(type) {
			case nil:
			case []byte:
				row[i] = string(value)
			default:
				row[i] = fmt.Sprint(value)
			}
		}
		out = append(out, row)
	}
}

// admin signs in with the first admin credential that the server does not refuse. Nothing has been changed when it fails.
func (u *Upstream) admin(ctx context.Context, doing string) (*conn, error) {
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
		made, err := u.signIn(ctx, candidate)
		if err == nil {
			return made, nil
		}
		failure, answered := errors.AsType[*mysql.MySQLError](err)
		if !answered {
			detail, cause := describe(err)
			return nil, &Error{
				Doing: doing, Class: upstream.ErrNotApplied, Detail: join("the server is unreachable", detail), Cause: cause,
				Next: "see that the server runs, and that host, port and TLS in the Upstream document are right",
			}
		}
		if !refusesCredential(failure.Number) && !lockedAccount(failure.Number) {
			return nil, fromServer(doing, failure)
		}
		refused.Number = failure.Number
	}
	return nil, refused
}

// Verify signs in once as v's user, on a connection of its own.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	verdict, err := u.try(ctx, v)
	if verdict == upstream.Refused && u.Mode == Dual && u.Server.Product == MariaDB {
		if err := u.tellsRefusal(ctx); err != nil {
			return upstream.Unknown, err
		}
	}
	return verdict, err
}

// try is Verify without the doubt about lock-outs.
func (u *Upstream) try(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	role, verdict, err := u.enter(ctx, v)
	if user := v.ExposeText(FieldUsername); verdict == upstream.Accepted && u.Mode == Alternate && u.manages(user) && u.Role != "" && !u.hasRole(role) {
		return upstream.Unknown, &Error{
			Doing: signingIn, Detail: fmt.Sprintf("the server took the credential, but the session does not have the role %q", u.Role),
			Next: u.defaultRole(user),
		}
	}
	return verdict, err
}

const signingIn = "signing in"

// enter signs in once with v, and says what role the session has then.
func (u *Upstream) enter(ctx context.Context, v secret.Value) (role string, _ upstream.Verdict, _ error) {
	user := v.ExposeText(FieldUsername)
	if user == "" || !v.Has(FieldPassword) {
		return "", upstream.Unknown, &Error{Doing: signingIn, Detail: "a credential needs the fields username and password"}
	}
	if err := ctx.Err(); err != nil {
		return "", upstream.Unknown, &Error{Doing: signingIn, Cause: err}
	}
	made, err := u.signIn(ctx, v)
	if err != nil {
		failure, answered := errors.AsType[*mysql.MySQLError](err)
		switch {
		case !answered:
			detail, cause := describe(err)
			return "", upstream.Unknown, &Error{Doing: signingIn, Detail: detail, Cause: cause}
		case refusesCredential(failure.Number):
			return "", upstream.Refused, nil
		case lockedAccount(failure.Number) && (u.Mode == Alternate || !u.manages(user)): // which is how one is revoked
			return "", upstream.Refused, nil
		}
		return "", upstream.Unknown, u.undecided(failure)
	}
	defer made.hangUp()
	rows, err := made.query(ctx, "SELECT CURRENT_USER(), COALESCE(CURRENT_ROLE(), ''), "+ownMark("CONNECTION_ID()", "GET_LOCK", ", 0"))
	if err != nil || len(rows) != 1 {
		e := &Error{Doing: signingIn, Detail: "the server took the credential but answers no query"}
		if failure, answered := errors.AsType[*mysql.MySQLError](err); answered {
			e.Number = failure.Number
			if failure.Number == errMustChange {
				e.Next = "the password has expired: let the server's passwords live longer (default_password_lifetime) than the rotation's period; the next run sets a new one"
			}
		}
		return "", upstream.Unknown, e
	}
	if want := user + "@" + u.Host; u.manages(user) && rows[0][0] != want {
		return "", upstream.Unknown, &Error{
			Doing: signingIn, Detail: fmt.Sprintf("the server took the credential for account %q, not %q", rows[0][0], want),
			Next: "another account matches better from here: DROP USER it, or name its host part in the document",
		}
	}
	return rows[0][1], upstream.Accepted, nil
}

// hasRole reports whether CURRENT_ROLE() names the role: MariaDB says its name, MySQL a list of quoted names with hosts.
func (u *Upstream) hasRole(current string) bool {
	if u.Server.Product == MariaDB {
		return current == u.Role
	}
	for one := range strings.SplitSeq(current, ",") {
		if one == "`"+strings.ReplaceAll(u.Role, "`", "``")+"`@`%`" {
			return true
		}
	}
	return false
}
