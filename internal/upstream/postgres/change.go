// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// session is one open transaction. Its errors say that nothing was applied: COMMIT has not been sent while it is used.
type session struct {
	ctx   context.Context
	conn  *pgconn.PgConn
	doing string
	// began is when the call did, by Custody's clock, of which only differences are used: it may be off.
	began time.Time
	// until is the call's deadline on the server's clock, in microseconds since 1970.
	until int64
	// unmarked: this account's marker cannot be written; see the package's comment.
	unmarked bool
	// claimed: the user of a pair carries this account's claim, which it got together with a password of Custody's.
	claimed bool
}

// errNothing ends a call that has nothing to change: what it began is rolled back, and it succeeds.
var errNothing = errors.New("nothing is to be changed")

// change runs body in one transaction that commits before the call's deadline or not at all, and only if run is not
// superseded. user is the role that is changed.
func (u *Upstream) change(ctx context.Context, doing string, run authority.RunID, user string, body func(*session) error) error {
	began := u.Clock()
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	if run == "" {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: "a run id is needed"}
	}
	conn, err := u.admin(ctx, doing)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	s := &session{ctx: ctx, conn: conn, doing: doing, began: began}
	if err := u.begin(s); err != nil {
		return err
	}
	if err := u.lock(s, user); err != nil {
		return err
	}
	m, err := u.checkMarkers(s, run, user)
	if err != nil {
		return err
	}
	switch err := body(s); {
	case errors.Is(err, errNothing):
		return nil
	case err != nil:
		return err
	}
	if err := u.writeMarkers(s, m, user); err != nil {
		return err
	}
	return s.commit()
}

// begin opens the transaction and brings the deadline onto the server's clock.
func (u *Upstream) begin(s *session) error {
	if err := s.exec("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"); err != nil {
		return err
	}
	rows, err := s.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text")
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return s.refuse("the server does not tell its time", "")
	}
	server, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		return s.refuse("the server does not tell its time", "")
	}
	// The server read its clock before now, so this errs on the side of too early.
	left := u.CallDeadline - max(0, u.Clock().Sub(s.began))
	if left < 2*time.Millisecond {
		return s.refuse("the deadline has passed", "")
	}
	s.until = server + left.Microseconds()
	milliseconds := strconv.FormatInt(left.Milliseconds(), 10)
	// Waiting for a lock ends early enough to say so.
	lock := strconv.FormatInt(max(1, left.Milliseconds()*4/5), 10)
	_, err = s.query(`SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),
		set_config('idle_in_transaction_session_timeout', $2, true),
		set_config('synchronous_commit', CASE current_setting('synchronous_commit')
			WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)`, lock, milliseconds)
	return err
}

// lock waits for whoever changes the same roles. Keys are taken in order, so that two of them cannot wait for each other.
func (u *Upstream) lock(s *session, user string) error {
	var keys []int64
	for _, role := range u.marked(user) {
		sum := sha256.Sum256([]byte("custody.dev/postgres/role\x00" + role))
		keys = append(keys, int64(binary.BigEndian.Uint64(sum[:8]))) //nolint:gosec // any 64 bits make a key
	}
	slices.Sort(keys)
	for _, key := range keys {
		if _, err := s.query("SELECT pg_advisory_xact_lock($1::bigint)", strconv.FormatInt(key, 10)); err != nil {
			return err
		}
	}
	return nil
}

// marked lists the roles that carry a comment when user is changed: first the one with the run's marker.
func (u *Upstream) marked(user string) []string {
	if u.Mode == upstream.Alternate {
		return []string{u.Owner, user}
	}
	return []string{user}
}

// commit sends a check of the deadline and COMMIT in one message: late, both arrive late, and the check fails.
func (s *session) commit() error {
	if err := s.ctx.Err(); err != nil {
		return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "COMMIT was not sent", Cause: err}
	}
	results, err := s.conn.Exec(s.ctx, fmt.Sprintf(`DO $custody$ BEGIN
		IF extract(epoch FROM clock_timestamp()) * 1000000 > %d THEN
			RAISE EXCEPTION USING ERRCODE = '%s', MESSAGE = 'the deadline has passed';
		END IF; END $custody$; COMMIT`, s.until, stateCanceled)).ReadAll()
	if err == nil {
		if len(results) == 2 && results[1].CommandTag.String() == "COMMIT" {
			return nil
		}
		return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: "the server rolled the transaction back"}
	}
	failure, answered := errors.AsType[*pgconn.PgError](err)
	if answered && failure.SeverityUnlocalized == "ERROR" && failure.Code != stateCompletionUnknown {
		return fromServer(s.doing, failure, true)
	}
	// The driver's word that trying again is safe is not taken: it gives it for connections that broke after sending, too.
	if answered {
		return &upstream.Error{Doing: s.doing, Detail: "the server ended the session during COMMIT, which may have taken effect", Said: said(failure)}
	}
	detail, cause := upstream.Told(err, broken)
	return &upstream.Error{Doing: s.doing, Detail: upstream.Join("no answer to COMMIT, which may have taken effect", detail), Cause: cause}
}

// query runs one statement with text parameters and returns its rows; NULL is "".
func (s *session) query(sql string, args ...string) ([][]string, error) {
	rows, failure, err := s.try(sql, args...)
	if failure != nil {
		return nil, fromServer(s.doing, failure, true)
	}
	return rows, err
}

// exec runs one statement that returns nothing.
func (s *session) exec(sql string, args ...string) error {
	_, err := s.query(sql, args...)
	return err
}

// try is query with the server's error as it came, for those who decide by it.
func (s *session) try(sql string, args ...string) ([][]string, *pgconn.PgError, error) {
	params := make([][]byte, len(args))
	for i, arg := range args {
		params[i] = []byte(arg)
	}
	result := s.conn.ExecParams(s.ctx, sql, params, nil, nil, nil).Read()
	if result.Err != nil {
		if failure, answered := errors.AsType[*pgconn.PgError](result.Err); answered {
			return nil, failure, nil
		}
		detail, cause := upstream.Told(result.Err, broken)
		return nil, nil, &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Cause: cause}
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = make([]string, len(row))
		for j, cell := range row {
			rows[i][j] = string(cell)
		}
	}
	return rows, nil, nil
}

// attempt runs one statement of which the server may refuse to do; what it did is then undone, the transaction goes on.
func (s *session) attempt(sql string) (*pgconn.PgError, error) {
	if err := s.exec("SAVEPOINT attempt"); err != nil {
		return nil, err
	}
	_, failure, err := s.try(sql)
	if err != nil || failure == nil {
		return nil, err
	}
	return failure, s.exec("ROLLBACK TO SAVEPOINT attempt")
}

// refuse ends the call with nothing changed.
func (s *session) refuse(detail, next string) error {
	return &upstream.Error{Doing: s.doing, Class: upstream.ErrNotApplied, Detail: detail, Next: next}
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteText(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }
