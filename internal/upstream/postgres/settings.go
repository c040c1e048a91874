// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/jackc/pgx/v5/pgconn"
)

// takeSettings gives user what the server keeps for the owner: its settings (ALTER ROLE … SET), for all databases and for
// single ones, and its limit of connections. They hold for sessions that sign in as the role that has them, so the owner's
// would reach nobody. What the user alone has stays. made: this call made the user.
func (u *Upstream) takeSettings(s *session, user string, made bool) error {
	limits, err := s.query(`SELECT o.rolconnlimit::text FROM pg_roles o, pg_roles m
		WHERE o.rolname = $1 AND m.rolname = $2 AND o.rolconnlimit >= 0 AND o.rolconnlimit <> m.rolconnlimit`, u.Owner, user)
	if err != nil {
		return err
	}
	for _, row := range limits {
		if err := s.exec("ALTER ROLE " + quoteName(user) + " CONNECTION LIMIT " + row[0]); err != nil {
			return err
		}
	}
	missing, err := s.query(`SELECT coalesce(d.datname, ''), c.setting
		FROM pg_roles o JOIN pg_db_role_setting g ON g.setrole = o.oid LEFT JOIN pg_database d ON d.oid = g.setdatabase,
			unnest(g.setconfig) AS c(setting)
		WHERE o.rolname = $1 AND c.setting NOT LIKE 'role=%' AND NOT EXISTS (
			SELECT FROM pg_db_role_setting h JOIN pg_roles m ON m.oid = h.setrole
			WHERE m.rolname = $2 AND h.setdatabase = g.setdatabase AND c.setting = ANY (h.setconfig))
		ORDER BY 1, 2`, u.Owner, user)
	if err != nil {
		return err
	}
	for _, row := range missing {
		if err := u.takeSetting(s, user, row[0], row[1], made); err != nil {
			return err
		}
	}
	return nil
}

// takeSetting gives user one setting, written NAME=VALUE, within a database, or in all where that is "".
func (u *Upstream) takeSetting(s *session, user, database, setting string, made bool) error {
	name, value, _ := strings.Cut(setting, "=")
	statement := "ALTER ROLE " + quoteName(user)
	if database != "" {
		statement += " IN DATABASE " + quoteName(database)
	}
	statement += " SET " + quoteSetting(name) + " TO " + quoteValue(name, value)
	failure, err := s.attempt(statement)
	switch {
	case err != nil || failure == nil:
		return err
	case failure.Code != statePrivilege:
		return fromServer(s.doing, failure, true)
	}
	if made { // which is taken back with the rest
		admin, err := s.query("SELECT quote_ident(current_user)")
		if err != nil {
			return err
		}
		statement = fmt.Sprintf("CREATE ROLE %[1]s; GRANT %[1]s TO %[2]s WITH ADMIN OPTION; %[3]s", quoteName(user), admin[0][0], statement)
	}
	return s.refuse(fmt.Sprintf("the owner %q has the setting %s, which the user %q lacks and the admin may not give it", u.Owner, name, user),
		"as somebody who may: "+statement)
}

// quoteSetting quotes a setting's name, which may have a prefix before a dot.
func quoteSetting(name string) string {
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = quoteName(part)
	}
	return strings.Join(parts, ".")
}

// listed are the settings that the server keeps as a list of quoted names: a list in one pair of quotes would be one name.
var listed = []string{
	"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
}

func quoteValue(name, value string) string {
	if !slices.Contains(listed, name) {
		return quoteText(value)
	}
	items := splitNames(value)
	for i, item := range items {
		items[i] = quoteText(item)
	}
	return strings.Join(items, ", ")
}

// splitNames reads a list of names, with or without double quotes, as the server keeps it. The empty list is one empty name.
func splitNames(list string) []string {
	var names []string
	for rest := list; ; {
		rest = strings.TrimLeft(rest, " ,")
		if rest == "" {
			break
		}
		name := ""
		if rest[0] == '"' {
			name, rest = quotedName(rest[1:])
		} else {
			end := strings.IndexAny(rest+",", " ,")
			name, rest = rest[:end], rest[end:]
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

// quotedName reads a name up to its closing double quote; two of them stand for one.
func quotedName(text string) (name, rest string) {
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			name += text[i : i+1]
			continue
		}
		if i+1 == len(text) || text[i+1] != '"' {
			return name, text[i+1:]
		}
		name += `"`
		i++
	}
	return name, ""
}

// full reports whether the server turned a session away because its role has as many as it may. It counts them once it has
// taken the credential; the routine that raised the error tells.
func full(failure *pgconn.PgError) bool {
	return failure.Code == stateTooMany && failure.Routine == "InitializeSessionUserId"
}

// whileFull is the verdict on a credential that the server took from a role that is full: accepted where consumers hold the
// sessions, unknown where none is allowed.
func (u *Upstream) whileFull(ctx context.Context, v secret.Value, failure *pgconn.PgError) (upstream.Verdict, error) {
	conn, err := u.admin(ctx, login.SigningIn)
	if err != nil {
		return upstream.Unknown, undecided(failure) // the admin may be that role itself
	}
	defer hangUp(conn)
	user := v.ExposeText(login.Username)
	s := &session{ctx: ctx, conn: conn, doing: login.SigningIn}
	rows, err := s.query("SELECT rolconnlimit::text, coalesce('role=' || $2 = ANY (rolconfig), false)::text FROM pg_roles WHERE rolname = $1", user, u.Owner)
	if err != nil || len(rows) != 1 {
		return upstream.Unknown, undecided(failure)
	}
	limit, err := strconv.Atoi(rows[0][0])
	becomes := u.Mode != upstream.Alternate || !u.account.Manages(user) || rows[0][1] == "true"
	if err != nil || limit < 1 || !becomes {
		return upstream.Unknown, undecided(failure)
	}
	return upstream.Accepted, nil
}
