// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

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

var tableForm = lazyregexp.New(`^[A-Za-z0-9_]{1,64}\.[A-Za-z0-9_]{1,64}$`)

func (s Server) way() (*way, error) {
	if err := cmp.Or(transport.Host(s.Host), transport.Port(s.Port)); err != nil {
		return nil, err
	}
	if s.MarkerTable != "" && !tableForm.MatchString(s.MarkerTable) {
		return nil, fmt.Errorf("marker table %q: want DATABASE.TABLE in letters, digits and underscores", s.MarkerTable)
	}
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", net.JoinHostPort(s.Host, strconv.Itoa(cmp.Or(s.Port, 3306)))
	if transport.Socket(s.Host) {
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
	case Disable:
		return nil, transport.Plain(s.Host)
	}
	return nil, fmt.Errorf("TLS mode %q: want verify-full, verify-ca or disable", s.TLS)
}

// conn is one connection. Statements are given in full: nothing is prepared on the way.
type conn struct{ driver.Conn }

// handshakes bounds how often one sign-in begins anew when the driver misreads the server's challenge: it drops a last
// byte that is zero, which one in 256 of those of ed25519 is, and gives up before it has answered.
const handshakes = 3

// signIn opens one connection as v's user, with one attempt. The error is the driver's and must not be shown.
func (u *Upstream) signIn(ctx context.Context, v secret.Value) (*conn, error) {
	config := u.way.config.Clone()
	config.User, config.Passwd = v.ExposeText(login.Username), v.ExposeText(login.Password)
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

// admin signs in as the admin. Nothing has been changed when it fails.
func (u *Upstream) admin(ctx context.Context, doing string) (*conn, error) {
	return login.Admin(ctx, doing, login.At(u.Server.Host, u.Server.Port), u.Admin, func(ctx context.Context, v secret.Value) (*conn, string, error) {
		made, err := u.signIn(ctx, v)
		if err == nil {
			return made, "", nil
		}
		failure, answered := errors.AsType[*mysql.MySQLError](err)
		switch {
		case !answered:
			return nil, "", login.Unreachable(doing, err, otherwise(err))
		case refusesCredential(failure.Number), lockedAccount(failure.Number):
			return nil, answer(failure.Number).Error(), nil
		}
		return nil, "", fromServer(doing, failure)
	})
}

// Verify signs in once as v's user, on a connection of its own.
func (u *Upstream) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	verdict, err := u.try(ctx, v)
	if verdict == upstream.Refused && u.Mode == upstream.Dual && u.Server.Product == MariaDB {
		if err := u.tellsRefusal(ctx); err != nil {
			return upstream.Unknown, err
		}
	}
	return verdict, err
}

// try is Verify without the doubt about lock-outs.
func (u *Upstream) try(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	role, verdict, err := u.enter(ctx, v)
	if user := v.ExposeText(login.Username); verdict == upstream.Accepted && u.Mode == upstream.Alternate && u.account.Manages(user) && u.Role != "" && !u.hasRole(role) {
		return upstream.Unknown, &upstream.Error{
			Doing: login.SigningIn, Detail: fmt.Sprintf("the server accepted the credential, but the session does not have the role %q", u.Role),
			Next: u.defaultRole(user),
		}
	}
	return verdict, err
}

// enter signs in once with v, and says what role the session has then.
func (u *Upstream) enter(ctx context.Context, v secret.Value) (role string, _ upstream.Verdict, _ error) {
	user := v.ExposeText(login.Username)
	if user == "" || !v.Has(login.Password) {
		return "", upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: login.Lacking}
	}
	if err := ctx.Err(); err != nil {
		return "", upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Cause: err}
	}
	made, err := u.signIn(ctx, v)
	if err != nil {
		failure, answered := errors.AsType[*mysql.MySQLError](err)
		switch {
		case !answered:
			detail, cause := told(err)
			return "", upstream.Unknown, &upstream.Error{Doing: login.SigningIn, Detail: detail, Cause: cause}
		case refusesCredential(failure.Number):
			return "", upstream.Refused, nil
		case lockedAccount(failure.Number) && (u.Mode == upstream.Alternate || !u.account.Manages(user)): // which is how one is revoked
			return "", upstream.Refused, nil
		}
		return "", upstream.Unknown, u.undecided(failure)
	}
	defer made.hangUp()
	rows, err := made.query(ctx, "SELECT CURRENT_USER(), COALESCE(CURRENT_ROLE(), ''), "+ownMark("CONNECTION_ID()", "GET_LOCK", ", 0"))
	if err != nil || len(rows) != 1 {
		e := &upstream.Error{Doing: login.SigningIn, Detail: "the server accepted the credential but answers no query"}
		if failure, answered := errors.AsType[*mysql.MySQLError](err); answered {
			e.Cause = answer(failure.Number)
			if failure.Number == errMustChange {
				e.Next = "the password has expired: let the server's passwords live longer (default_password_lifetime) than the rotation's period; the next run sets a new one"
			}
		}
		return "", upstream.Unknown, e
	}
	if want := user + "@" + u.Host; u.account.Manages(user) && rows[0][0] != want {
		return "", upstream.Unknown, &upstream.Error{
			Doing: login.SigningIn, Detail: fmt.Sprintf("the server accepted the credential for account %q, not %q", rows[0][0], want),
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
