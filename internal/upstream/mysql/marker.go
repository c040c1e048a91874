// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
)

// maxPast bounds how many superseded runs a marker remembers.
const maxPast = 16

// marker says who may change an account, and which run did last. It holds no secret. Both accounts of a pair carry it.
type marker struct {
	Custody int    `json:"custody"` // schema of this text
	Claim   string `json:"claim"`
	// Run is the current run; Past are those it superseded, oldest first.
	Run  authority.RunID   `json:"run,omitempty"`
	Past []authority.RunID `json:"past,omitempty"`
	// Sequence counts the runs.
	Sequence uint64 `json:"sequence,omitempty"`
}

const markerSchema = 1

// parseMarker reads a text. Any other form is somebody else's.
func parseMarker(text string) (m marker, own bool) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil || m.Custody != markerSchema || decoder.More() {
		return marker{}, false
	}
	return m, true
}

func (m marker) encode() string {
	encoded, err := json.Marshal(m)
	if err != nil {
		panic("mysql: encoding strings cannot fail: " + err.Error())
	}
	return string(encoded)
}

// supersede returns the marker once run has begun. ok is false when a later run has.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	if m.Run == run {
		return m, true
	}
	if slices.Contains(m.Past, run) {
		return m, false
	}
	next = m
	if m.Run != "" {
		next.Past = append(slices.Clone(m.Past), m.Run)
		next.Past = next.Past[max(0, len(next.Past)-maxPast):]
	}
	next.Run = run
	next.Sequence++
	return next, true
}

// checkMarkers reads the accounts' markers and returns the one that run will leave.
func (u *Upstream) checkMarkers(s *session, run authority.RunID) (marker, error) {
	m := marker{Custody: markerSchema, Claim: u.Claim}
	if !u.marked() {
		return m, nil
	}
	rows, err := s.query(u.readMarkers())
	if err != nil {
		if failure, ok := errors.AsType[*Error](err); ok && (failure.Number == errNoTable || failure.Number == errTableDenied) {
			failure.Next = "make the marker table and grant SELECT, INSERT, UPDATE on it, as the documentation of mysql upstreams shows"
		}
		return m, err
	}
	for _, row := range rows {
		account, text := row[0], row[1]
		if text == "" {
			continue
		}
		found, own := parseMarker(text)
		if !own {
			return m, foreign(s.doing, account, "not Custody's", u.clearMarker(account))
		}
		if found.Claim != u.Claim {
			return m, foreign(s.doing, account, "the claim of "+found.Claim, u.clearMarker(account))
		}
		if found.Sequence > m.Sequence {
			m = found
		}
	}
	next, ok := m.supersede(run)
	if !ok {
		return m, &Error{
			Doing: s.doing, Class: upstream.ErrSuperseded, Detail: "run " + string(m.Run) + " came after run " + string(run),
			Next: "nothing: the later run goes on",
		}
	}
	return next, nil
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
func (u *Upstream) writeMarkers(m marker) []string {
	if !u.marked() {
		return nil
	}
	text := m.encode()
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

func (u *Upstream) users() []string {
	if u.Mode == Alternate {
		return u.Users[:]
	}
	return []string{u.User}
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
