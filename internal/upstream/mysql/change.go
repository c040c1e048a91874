// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"

	"github.com/go-sql-driver/mysql"
)

// session is the admin's connection within one change. The marker, if any, is written by the first guarded message.
type session struct {
	ctx     context.Context
	conn    *conn
	doing   string
	product Product
	// self is the account that the server knows the admin by, as CURRENT_USER() says it.
	self string
	// began is when the call did, by Custody's clock, of which only differences are used: it may be off.
	began time.Time
	// until is the call's deadline on the server's clock, in seconds since 1970.
	until float64
	// locks are held by this connection.
	locks []string
	// marking writes the marker; empty where there is no place for one.
	marking []string
	// wrongLimit is MariaDB's max_password_errors.
	wrongLimit string
}

// change runs body under the account's lock, and only if run is not superseded.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID, body func(*session) error) error {
	began := u.Clock()
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if run == "" {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	made, err := u.admin(ctx, doing)
	if err != nil {
		return err
	}
	defer made.hangUp() // which releases the locks
	s := &session{ctx: ctx, conn: made, doing: doing, product: u.Server.Product, began: began}
	if err := u.begin(s); err != nil {
		return err
	}
	if err := u.lock(s); err != nil {
		return err
	}
	m, err := u.checkMarkers(s, run)
	if err != nil {
		return err
	}
	s.marking = u.writeMarkers(m)
	return body(s)
}

// begin brings the deadline onto the server's clock, and lets the server end what waits or is left idle for longer.
func (u *Upstream) begin(s *session) error {
	mode := "NO_BACKSLASH_ESCAPES"
	if s.product == MariaDB {
		mode += ",NO_AUTO_CREATE_USER"
	}
	if err := s.exec("SET SESSION time_zone = '+00:00', sql_mode = '" + mode + "'"); err != nil {
		return err
	}
	columns := ""
	if s.product == MariaDB {
		columns = ", @@GLOBAL.max_password_errors"
	}
	rows, err := s.query("SELECT VERSION(), CURRENT_USER(), UNIX_TIMESTAMP(SYSDATE(6))" + columns)
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return s.refuse("the server does not tell its time", "")
	}
	if is := strings.Contains(rows[0][0], "MariaDB"); is != (s.product == MariaDB) {
		return s.refuse(fmt.Sprintf("the server says version %q, the document says product %s", rows[0][0], s.product), "correct the product in the Upstream document")
	}
	server, err := strconv.ParseFloat(rows[0][2], 64)
	if err != nil {
		return s.refuse("the server does not tell its time", "")
	}
	// The server read its clock before now, so this errs on the side of too early.
	left := u.left(s)
	if left < 2*time.Millisecond {
		return s.refuse("the deadline has passed", "")
	}
	s.self, s.until = rows[0][1], server+left.Seconds()
	seconds := max(1, int(left.Seconds()))
	settings := fmt.Sprintf("SET SESSION wait_timeout = %d, lock_wait_timeout = %d, innodb_lock_wait_timeout = %d", seconds+1, seconds, seconds)
	if s.product == MariaDB {
		s.wrongLimit = rows[0][3]
		settings += fmt.Sprintf(", max_statement_time = %.3f", left.Seconds())
	}
	if err := s.exec(settings); err != nil {
		return err
	}
	if u.SendPassword { // where the admin may, the general log is kept from it
		err := s.conn.exec(s.ctx, "SET SESSION sql_log_off = 1")
		if _, answered := errors.AsType[*mysql.MySQLError](err); err != nil && !answered {
			return s.failed(err)
		}
	}
	return nil
}

// left is how much of the call's time is left.
func (u *Upstream) left(s *session) time.Duration {
	return u.CallDeadline - max(0, u.Clock().Sub(s.began))
}

// lock waits for whoever changes the same accounts. Locks are taken in order, so that two cannot wait for each other.
func (u *Upstream) lock(s *session) error {
	for _, account := range u.accounts() {
		sum := sha256.Sum256([]byte("custody.dev/mysql/account\x00" + account))
		s.locks = append(s.locks, "custody."+hex.EncodeToString(sum[:20]))
	}
	slices.Sort(s.locks)
	for _, name := range s.locks {
		wait := max(1, int(u.left(s).Seconds()*4/5)) // which ends early enough to say so
		rows, err := s.query(fmt.Sprintf("SELECT COALESCE(GET_LOCK('%s', %d), 0)", name, wait))
		if err != nil {
			return err
		}
		if len(rows) != 1 || rows[0][0] != "1" {
			return s.refuse("another session holds the lock on the account", nextBusy)
		}
	}
	return nil
}

// accounts are those that carry the marker: the user, or both of the pair.
func (u *Upstream) accounts() []string {
	var accounts []string
	for _, user := range u.users() {
		accounts = append(accounts, user+"@"+u.Host)
	}
	return accounts
}

// guarded sends statements in one message: the server runs each only while the lock is this session's and the deadline
// has not passed, and stops at the first that fails. The marker goes first, once.
func (s *session) guarded(statements ...string) error {
	statements = append(s.marking, statements...)
	if len(statements) == 0 {
		return nil
	}
	if s.product == MySQL { // there the account that carries the marker may have to be made first
		slices.SortStableFunc(statements, func(a, b string) int { return creates(b) - creates(a) })
	}
	err := s.conn.exec(s.ctx, s.guard(statements))
	if err == nil {
		s.marking = nil
		return nil
	}
	return s.failed(err)
}

func creates(statement string) int {
	if strings.HasPrefix(statement, "CREATE USER") {
		return 1
	}
	return 0
}

func (s *session) guard(statements []string) string {
	left := fmt.Sprintf("(%.6f - UNIX_TIMESTAMP(SYSDATE(6)))", s.until)
	condition := left + " > 0"
	for _, name := range s.locks {
		condition += " AND IS_USED_LOCK('" + name + "') <=> CONNECTION_ID()"
	}
	timeout := "SET SESSION lock_wait_timeout = GREATEST(1, FLOOR" + left + "); "
	if s.product == MariaDB {
		timeout = "SET SESSION max_statement_time = GREATEST(0.001, " + left + "); "
	}
	var out strings.Builder
	for _, statement := range statements {
		out.WriteString(timeout)
		out.WriteString("SET @custody = IF(" + condition + ", " + quoteText(statement) + ", NULL); PREPARE custody FROM @custody; EXECUTE custody; ")
	}
	return out.String() + "SET @custody = NULL"
}

// failed describes an error of a guarded message, or of one that changes nothing.
func (s *session) failed(err error) error {
	failure, answered := errors.AsType[*mysql.MySQLError](err)
	switch {
	case answered && failure.Number == errSyntax:
		return s.refuse("the deadline has passed, or the lock was lost", nextBusy)
	case answered && failure.Number == errCannotUser:
		return s.cannot(failure)
	case answered:
		e := fromServer(s.doing, failure)
		if mayHaveActed(failure.Number) {
			e.Class = nil
		}
		return e
	case unsent(err):
		return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "the connection broke before anything was sent"}
	}
	detail, cause := told(err)
	return &upstream.Error{Doing: s.doing, Detail: upstream.Join("no answer to the change, which may have taken effect", detail), Cause: cause}
}

// cannot asks for the reasons behind "the account could not be changed".
func (s *session) cannot(failure *mysql.MySQLError) error {
	e := fromServer(s.doing, failure)
	e.Next = "see that the account exists with this host part, and that the admin may change it"
	rows, err := s.conn.query(s.ctx, "SHOW WARNINGS")
	if err != nil {
		return e
	}
	for _, row := range rows {
		if len(row) < 2 {
			continue
		}
		switch row[1] {
		case strconv.Itoa(errPasswordRule):
			return &upstream.Error{
				Doing: s.doing, Class: upstream.ErrRefusedCandidate, Detail: "the new password violates the server's password rule", Cause: answer(errPasswordRule),
				Next: "make the secret's generate rule at least as strict as the server's",
			}
		case strconv.Itoa(errReadOnly):
			return fromServer(s.doing, &mysql.MySQLError{Number: errReadOnly})
		}
	}
	return e
}

// query runs one statement that changes nothing.
func (s *session) query(sql string) ([][]string, error) {
	rows, err := s.conn.query(s.ctx, sql)
	if err != nil {
		return nil, s.harmless(err)
	}
	return rows, nil
}

// exec runs statements that change nothing beyond this session.
func (s *session) exec(sql string) error {
	if err := s.conn.exec(s.ctx, sql); err != nil {
		return s.harmless(err)
	}
	return nil
}

func (s *session) harmless(err error) error {
	if failure, answered := errors.AsType[*mysql.MySQLError](err); answered {
		return fromServer(s.doing, failure)
	}
	detail, cause := told(err)
	return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Cause: cause}
}

// refuse ends the call with nothing changed.
func (s *session) refuse(detail, next string) error {
	return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

// quoteText is for sql_mode NO_BACKSLASH_ESCAPES.
func quoteText(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quoteAccount(user, host string) string { return quoteText(user) + "@" + quoteText(host) }
