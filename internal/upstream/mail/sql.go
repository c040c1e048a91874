// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

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
	deadline time.Duration
	// query and write are statements; with slot they have one parameter more.
	query, write string
}

var (
	tableForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)
	columnForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (s SQL) open(mode Mode, deadline time.Duration) (store, error) {
	t := &table{SQL: s, deadline: deadline}
	t.UserColumn, t.PasswordColumn, t.MarkerColumn = cmp.Or(s.UserColumn, "username"), cmp.Or(s.PasswordColumn, "password"), cmp.Or(s.MarkerColumn, "custody")
	switch {
	case s.Type != Postgres && s.Type != MySQL:
		return nil, fmt.Errorf("database type %q: want postgres or mysql", s.Type)
	case s.Admin == nil:
		return nil, errors.New("a table needs an admin credential")
	case s.Host == "" || s.Database == "":
		return nil, errors.New("a table needs a host and a database")
	case !tableForm.MatchString(s.Table):
		return nil, fmt.Errorf("%q is not the name of a table", s.Table)
	case mode == Dual && s.SlotColumn == "":
		return nil, errors.New("mode dual needs a column that tells the two rows of a login apart")
	}
	columns := []string{t.UserColumn, t.PasswordColumn, t.MarkerColumn}
	if mode == Dual {
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
	switch {
	case filepath.IsAbs(s.Host):
	case s.TLS == Disable && !local(s.Host):
		return nil, fmt.Errorf("TLS cannot be disabled to %q, which is neither loopback nor a socket", s.Host)
	case s.TLS == Disable:
	case s.TLS == "" || s.TLS == VerifyFull:
		if t.tls, err = verified(s.Host, s.CACertificate); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("TLS mode %q: want verify-full or disable", s.TLS)
	}
	where, after := " WHERE "+t.quote(t.UserColumn)+" = "+t.parameter(1), ""
	if t.SlotColumn != "" {
		where += " AND " + t.quote(t.SlotColumn) + " = " + t.parameter(2)
		after = " AND " + t.quote(t.SlotColumn) + " = " + t.parameter(4)
	}
	t.query = "SELECT coalesce(" + t.quote(t.PasswordColumn) + ", ''), coalesce(" + t.quote(t.MarkerColumn) + ", '') FROM " + t.quote(s.Table) + where
	t.write = "UPDATE " + t.quote(s.Table) + " SET " + t.quote(t.PasswordColumn) + " = " + t.parameter(1) + ", " + t.quote(t.MarkerColumn) + " = " + t.parameter(2) +
		" WHERE " + t.quote(t.UserColumn) + " = " + t.parameter(3) + after
	return t, nil
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

// admin connects with the first admin credential that the database does not refuse.
func (t *table) admin(ctx context.Context, doing string) (session, error) {
	candidates, err := t.Admin(ctx)
	if err != nil {
		return nil, &Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "reading the admin credential", Cause: err}
	}
	refusal := notApplied(doing, "the database refuses every admin credential", "set the admin's password by hand and hand it in, as the secret that adminRef names: `custody supply SECRET`")
	for _, candidate := range candidates {
		s, err := t.connect(ctx, candidate)
		if err == nil {
			return s, nil
		}
		said, refused := code(err)
		if !refused {
			e := notApplied(doing, "the database is unreachable", "see that it runs, and that host, port and TLS in the Upstream document are right")
			if e.Code = said; said == "" {
				e.Detail, e.Cause = describe(ctx, err)
			}
			return nil, e
		}
		refusal.Code = said
	}
	return nil, refusal
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
		detail, cause := describe(ctx, err)
		return &Error{Doing: doing, Detail: "no answer to COMMIT, which may have taken effect: " + detail, Cause: cause}
	}
	return nil
}

func failing(ctx context.Context, doing string) func(error) error {
	return func(err error) error {
		e := notApplied(doing, "", "the admin needs SELECT and UPDATE on the table")
		if e.Code, _ = code(err); e.Code == "" {
			e.Detail, e.Cause = describe(ctx, err)
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
	return fmt.Sprintf("SELECT set_config('lock_timeout', '%d', false), set_config('statement_timeout', '%d', false), "+
		"set_config('idle_in_transaction_session_timeout', '%d', false)", max(1, milliseconds/2), milliseconds, milliseconds)
}
