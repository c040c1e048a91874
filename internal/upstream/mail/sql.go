// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Types of database.
const (
	Postgres = "postgres"
	MySQL    = "mysql"
)

// VerifyFull is the TLS mode of a database, the other being Disable.
const VerifyFull = "verify-full"

// SQL is a table with one row per login, or two where SlotColumn tells them apart.
type SQL struct {
	// Type is postgres or mysql.
	Type string
	// Host name, address, or path of the Unix socket.
	Host string
	// Port. Default 5432 or 3306.
	Port     int
	Database string
	// TLS is verify-full (default) or disable. disable wants loopback or a socket, which needs none.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
	// Admin returns the admin's credentials in order of preference: the current one, then a pending one. The next is
	// tried only when the server refuses one.
	Admin func(ctx context.Context) ([]secret.Value, error)
	// Table, with its schema where it needs one.
	Table                                                string
	UserColumn, PasswordColumn, MarkerColumn, SlotColumn string
}

// table is an SQL that was checked.
type table struct {
	SQL
	tls      *tls.Config
	postgres *pgx.ConnConfig // of Postgres, without a credential
	deadline time.Duration
	// query and write are statements; with slot they have one parameter more.
	query, write string
}

var (
	tableForm  = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)
	columnForm = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (s SQL) open(mode upstream.Capability, deadline time.Duration) (store, error) {
	t := &table{SQL: s, deadline: deadline}
	t.UserColumn, t.PasswordColumn, t.MarkerColumn = cmp.Or(s.UserColumn, "username"), cmp.Or(s.PasswordColumn, "password"), cmp.Or(s.MarkerColumn, "custody")
	switch {
	case s.Type != Postgres && s.Type != MySQL:
		return nil, fmt.Errorf("database type %q: want postgres or mysql", s.Type)
	case s.Admin == nil:
		return nil, errors.New("a table needs an admin credential")
	case s.Database == "":
		return nil, errors.New("a table needs a database")
	case !tableForm.MatchString(s.Table):
		return nil, fmt.Errorf("%q is not the name of a table", s.Table)
	case mode == upstream.Dual && s.SlotColumn == "":
		return nil, errors.New("mode dual needs a column that tells the two rows of a login apart")
	}
	columns := []string{t.UserColumn, t.PasswordColumn, t.MarkerColumn}
	if mode == upstream.Dual {
		columns = append(columns, s.SlotColumn)
	} else {
		t.SlotColumn = ""
	}
	for _, column := range columns {
		if !columnForm.MatchString(column) {
			return nil, fmt.Errorf("%q is not the name of a column", column)
		}
	}
	var err error
	if t.tls, err = s.checkTLS(); err != nil {
		return nil, err
	}
	if s.Type == Postgres {
		if t.postgres, err = t.postgresConfig(); err != nil {
			return nil, err
		}
	}
	where, after := " WHERE "+t.equals(t.UserColumn, 1), ""
	if t.SlotColumn != "" {
		where += " AND " + t.equals(t.SlotColumn, 2)
		after = " AND " + t.equals(t.SlotColumn, 4)
	}
	t.query = "SELECT coalesce(" + t.quote(t.PasswordColumn) + ", ''), coalesce(" + t.quote(t.MarkerColumn) + ", '') FROM " + t.quote(s.Table) + where
	t.write = "UPDATE " + t.quote(s.Table) + " SET " + t.quote(t.PasswordColumn) + " = " + t.parameter(1) + ", " + t.quote(t.MarkerColumn) + " = " + t.parameter(2) +
		" WHERE " + t.equals(t.UserColumn, 3) + after
	return t, nil
}

// checkTLS checks where the database is, and returns the TLS configuration, nil where there is none.
func (s SQL) checkTLS() (*tls.Config, error) {
	if err := cmp.Or(transport.Host(s.Host), transport.Port(s.Port)); err != nil {
		return nil, err
	}
	switch {
	case transport.Socket(s.Host):
		return nil, nil
	case s.TLS == Disable:
		return nil, transport.Plain(s.Host)
	case s.TLS == "" || s.TLS == VerifyFull:
		return transport.Verified(s.Host, s.CACertificate)
	}
	return nil, fmt.Errorf("TLS mode %q: want verify-full or disable", s.TLS)
}

// quote quotes a name that was checked, part by part.
func (t *table) quote(name string) string {
	mark := `"`
	if t.Type == MySQL {
		mark = "`"
	}
	return mark + strings.ReplaceAll(name, ".", mark+"."+mark) + mark
}

func (t *table) parameter(number int) string {
	if t.Type == MySQL {
		return "?"
	}
	return "$" + strconv.Itoa(number)
}

// equals compares a column with a parameter. Of PostgreSQL the operator is named in full: by a bare = the server may find
// one that somebody else made in a schema of the search path, and run it with the admin's rights. The path itself stays,
// since the table may be found by it.
func (t *table) equals(column string, number int) string {
	operator := " OPERATOR(pg_catalog.=) "
	if t.Type == MySQL {
		operator = " = "
	}
	return t.quote(column) + operator + t.parameter(number)
}

// code is the database's own, "" when err is not its answer; refused says that it refuses the credential.
func code(err error) (code string, refused bool) {
	if failure, ok := errors.AsType[*pgconn.PgError](err); ok {
		return "SQLSTATE " + failure.Code, failure.Code == "28P01" || failure.Code == "28000"
	}
	if failure, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return "MySQL error " + strconv.Itoa(int(failure.Number)), failure.Number == 1045
	}
	return "", false
}

// admin connects as the admin. Nothing has been changed when it fails.
func (t *table) admin(ctx context.Context, doing string) (session, error) {
	return login.Admin(ctx, doing, login.At(t.Host, t.Port), t.Admin, func(ctx context.Context, v secret.Value) (session, string, error) {
		s, err := t.connect(ctx, v)
		said, refused := code(err)
		switch {
		case err == nil || refused:
			return s, said, nil
		case said == "":
			return nil, "", login.Unreachable(doing, errors.Join(ctx.Err(), err), broke)
		}
		return nil, "", &upstream.Error{
			Doing: doing, Class: upstream.ErrNotApplied, Detail: "signing in as the admin", Said: said,
			Next: "check that the database runs, and that the Upstream document describes it correctly",
		}
	})
}

func (t *table) change(ctx context.Context, doing string, places []row, body func([]*row) error) error {
	s, err := t.admin(ctx, doing)
	if err != nil {
		return err
	}
	defer s.hangUp() // what was not committed is rolled back
	fail := failing(ctx, doing)
	if _, err := s.run(ctx, t.settings()); err != nil {
		return fail(err)
	}
	if err := s.begin(ctx); err != nil {
		return fail(err)
	}
	rows, err := t.rows(ctx, s, doing, places, " FOR UPDATE", fail)
	if err != nil {
		return err
	}
	if err := body(rows); err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := s.run(ctx, t.write, append([]any{r.password, r.marker}, t.where(*r)...)...); err != nil {
			return fail(err)
		}
	}
	if ctx.Err() != nil {
		return fail(ctx.Err())
	}
	if err := s.commit(ctx); err != nil {
		if failure, answered := errors.AsType[*pgconn.PgError](err); answered && failure.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback) {
			return fail(err)
		}
		detail, cause := explain(ctx, err)
		return &upstream.Error{Doing: doing, Detail: upstream.Join("no answer to COMMIT, which may have taken effect", detail), Cause: cause}
	}
	return nil
}

func failing(ctx context.Context, doing string) func(error) error {
	return func(err error) error {
		e := notApplied(doing, "", "the admin needs SELECT and UPDATE on the table")
		if e.Said, _ = code(err); e.Said == "" {
			e.Detail, e.Cause = explain(ctx, err)
			e.Next = ""
		}
		return e
	}
}

func (t *table) read(ctx context.Context, doing string, places []row) ([]*row, error) {
	s, err := t.admin(ctx, doing)
	if err != nil {
		return nil, err
	}
	defer s.hangUp()
	return t.rows(ctx, s, doing, places, "", failing(ctx, doing))
}

// rows reads one row for each place. how ends each statement.
func (t *table) rows(ctx context.Context, s session, doing string, places []row, how string, fail func(error) error) ([]*row, error) {
	rows := make([]*row, len(places))
	for i, place := range places {
		found, err := s.run(ctx, t.query+how, t.where(place)...)
		if err != nil {
			return nil, fail(err)
		}
		if len(found) != 1 {
			return nil, notApplied(doing, fmt.Sprintf("the table has %d rows for %q, want one", len(found), place.login), "make one for each login, and in mode dual for each slot")
		}
		place.password, place.marker = found[0][0], found[0][1]
		rows[i] = &place
	}
	return rows, nil
}

// where are the parameters that name a row.
func (t *table) where(r row) []any {
	if t.SlotColumn == "" {
		return []any{r.login}
	}
	return []any{r.login, r.slot}
}

// settings bound what the database does for this call, by its own clock.
func (t *table) settings() string {
	milliseconds, seconds := t.deadline.Milliseconds(), int64(t.deadline.Seconds())
	if t.Type == MySQL {
		return fmt.Sprintf("SET SESSION innodb_lock_wait_timeout = %d, SESSION wait_timeout = %d", max(1, seconds/2), max(1, seconds))
	}
	return fmt.Sprintf("SELECT pg_catalog.set_config('lock_timeout', '%d', false), pg_catalog.set_config('statement_timeout', '%d', false), "+
		"pg_catalog.set_config('idle_in_transaction_session_timeout', '%d', false)", max(1, milliseconds/2), milliseconds, milliseconds)
}
