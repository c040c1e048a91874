// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// checkMarkers reads the accounts' markers and returns the one that run will leave.
func (u *Upstream) checkMarkers(s *session, run authority.RunID) (login.Marker, error) {
	m, err := u.newestMarker(s)
	if err != nil || !u.marked() {
		return m, err
	}
	next, ok := m.Change(run)
	if !ok {
		return m, login.Superseded(s.doing, run, m.Run)
	}
	return next, nil
}

// Stranger reads the accounts' markers; where there is no place for them, nothing is told.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	if !u.marked() {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	made, err := u.admin(ctx, login.LookingAtMarker)
	if err != nil {
		return "", err
	}
	defer made.hangUp()
	s := &session{ctx: ctx, conn: made, doing: login.LookingAtMarker, product: u.Server.Product}
	if err := s.exec("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'"); err != nil {
		return "", err
	}
	m, err := u.newestMarker(s)
	return m.Stranger(known, login.Whole), err
}

// newestMarker reads the accounts' markers and returns the one that was written last.
func (u *Upstream) newestMarker(s *session) (login.Marker, error) {
	m := login.Claimed(u.Claim)
	if !u.marked() {
		return m, nil
	}
	rows, err := s.query(u.readMarkers())
	if err != nil {
		if failure, ok := errors.AsType[*upstream.Error](err); ok && (answerIn(err) == errNoTable || answerIn(err) == errTableDenied) {
			failure.Next = "make the marker table and grant SELECT, INSERT, UPDATE on it, as the documentation of mysql upstreams shows"
		}
		return m, err
	}
	for _, row := range rows {
		account, text := row[0], row[1]
		if text == "" {
			continue
		}
		found, own := login.ParseMarker(text)
		if !own {
			return m, foreign(s.doing, account, "not Custody's", u.clearMarker(account))
		}
		if found.Claim != u.Claim {
			return m, foreign(s.doing, account, "the claim of "+found.Claim, u.clearMarker(account))
		}
		if found.Changes > m.Changes {
			m = found
		}
	}
	return m, nil
}

func (u *Upstream) readMarkers() string {
	var quoted []string
	for _, account := range u.accounts() {
		quoted = append(quoted, quoteText(account))
	}
	list := strings.Join(quoted, ", ")
	if u.Server.MarkerTable != "" {
		return "SELECT account, marker FROM " + u.table() + " WHERE account IN (" + list + ")"
	}
	return "SELECT CONCAT(USER, '@', HOST), COALESCE(JSON_UNQUOTE(JSON_EXTRACT(ATTRIBUTE, '$.custody')), '')" +
		" FROM INFORMATION_SCHEMA.USER_ATTRIBUTES WHERE CONCAT(USER, '@', HOST) IN (" + list + ")"
}

// writeMarkers are the statements that leave m at every account.
func (u *Upstream) writeMarkers(m login.Marker) []string {
	if !u.marked() {
		return nil
	}
	text := m.Text()
	if u.Server.MarkerTable != "" {
		var rows []string
		for _, account := range u.accounts() {
			rows = append(rows, "("+quoteText(account)+", "+quoteText(text)+")")
		}
		return []string{"INSERT INTO " + u.table() + " (account, marker) VALUES " + strings.Join(rows, ", ") +
			" ON DUPLICATE KEY UPDATE marker = VALUES(marker)"}
	}
	attribute, err := json.Marshal(map[string]string{"custody": text})
	if err != nil {
		panic("mysql: encoding strings cannot fail: " + err.Error())
	}
	var out []string
	for _, user := range u.users() {
		out = append(out, "ALTER USER IF EXISTS "+quoteAccount(user, u.Host)+" ATTRIBUTE "+quoteText(string(attribute)))
	}
	return out
}

func (u *Upstream) table() string {
	database, table, _ := strings.Cut(u.Server.MarkerTable, ".")
	return quoteName(database) + "." + quoteName(table)
}

// clearMarker is what a person does when nobody else rotates the account.
func (u *Upstream) clearMarker(account string) string {
	if u.Server.MarkerTable != "" {
		return "if nobody else rotates it: DELETE FROM " + u.table() + " WHERE account = " + quoteText(account)
	}
	return "if nobody else rotates it: ALTER USER … ATTRIBUTE '{\"custody\": null}' for " + account
}
