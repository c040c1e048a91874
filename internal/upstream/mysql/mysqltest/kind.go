// SPDX-License-Identifier: Apache-2.0

// Package mysqltest tests the type of upstream mysql with the whole product, on MariaDB. It sets up what people set up
// by hand, as the page says, and has clients that sign in with code of their own. It uses no code of the adapter.
package mysqltest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/go-sql-driver/mysql"
)

// Kinds share one MariaDB server, whose admin has the rights of the page, a marker table and usage evidence.
func Kinds() []acceptance.Kind {
	made := func(name string) string {
		return "CREATE USER " + name + "@'%' IDENTIFIED VIA mysql_native_password USING 'invalid'"
	}
	plain := func(name string) string { return made(name) + "; GRANT SELECT ON shop.orders TO " + name + "@'%'" }
	paired := func(name string) string { // the last part is a person's: MariaDB lets the admin set no default role
		text := fmt.Sprintf("CREATE ROLE %[1]s; GRANT SELECT ON shop.orders TO %[1]s; GRANT %[1]s TO custody_admin@'%%' WITH ADMIN OPTION", name)
		for _, user := range []string{name + "_a", name + "_b"} {
			text += fmt.Sprintf("; %s; GRANT %s TO %[3]s@'%%'; SET DEFAULT ROLE %[2]s FOR %[3]s@'%%'", made(user), name, user)
		}
		return text
	}
	return []acceptance.Kind{
		mysqlKind("dual", upstream.Dual, plain, "mysql: {mode: dual, user: %s}"),
		mysqlKind("alternate", upstream.Alternate, paired, "mysql: {mode: alternate, role: %s}"),
		mysqlKind("overwrite", upstream.Overwrite, plain, "mysql: {mode: overwrite, user: %s}"),
	}
}

func mysqlKind(mode string, capability upstream.Capability, prepare func(string) string, parameters string) acceptance.Kind {
	return acceptance.Kind{
		Name: "mysql-" + mode, Capability: capability, SignIn: mysqlSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			m := startMySQL(s)
			for _, name := range accounts {
				s.Must(m.Exec(s.T().Context(), prepare(name)))
			}
			return acceptance.Part{
				At: fmt.Sprintf("%s:%d", m.Host, m.Port), Upstream: "mysql", Log: m.Log,
				Account: func(name string) string { return fmt.Sprintf(parameters, name) },
				Held:    func(ctx context.Context, name string) ([]string, error) { return mysqlHeld(ctx, m, name) },
				Rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
					rows, err := m.Exec(ctx, "SHOW GRANTS FOR '"+fields["username"]+"'@'%'")
					for i := range rows { // the grant of USAGE quotes the password's hash
						rows[i], _, _ = strings.Cut(rows[i], " IDENTIFIED ")
					}
					return strings.ReplaceAll(strings.Join(rows, "\n"), fields["username"], "USER"), err
				},
			}
		},
	}
}

func startMySQL(s *acceptance.Stage) *realparts.MariaDBServer {
	return acceptance.Once(s, "mysql", func() *realparts.MariaDBServer {
		m := realparts.MariaDB(s.T(), realparts.MariaDBOptions{Settings: map[string]string{"max-connections": "300"}})
		password := rand.Text()
		s.Must(m.Exec(s.T().Context(), `CREATE DATABASE shop; CREATE TABLE shop.orders (id INT);
			CREATE USER custody_admin@'%' IDENTIFIED BY '`+password+`';
			CREATE DATABASE custody;
			CREATE TABLE custody.accounts (account VARCHAR(340) COLLATE utf8mb4_bin PRIMARY KEY, marker TEXT NOT NULL);
			GRANT CREATE USER, PROCESS ON *.* TO custody_admin@'%';
			GRANT SELECT ON mysql.global_priv TO custody_admin@'%';
			GRANT SELECT, INSERT, UPDATE ON custody.accounts TO custody_admin@'%'`))
		host, port := s.Via(m.Host, m.Port)
		s.Upstream("mysql", fmt.Sprintf("mysql: {host: %s, port: %d, tls: disable, markerTable: custody.accounts, usage: true}", host, port),
			map[string]string{"username": "custody_admin", "password": password}, "mysql: {mode: overwrite, user: custody_admin}")
		return m
	})
}

// mysqlHeld lists every password of the accounts that are not locked. Alternatives of an account are in auth_or, where
// an empty object stands for the account's own.
func mysqlHeld(ctx context.Context, m *realparts.MariaDBServer, name string) (held []string, err error) {
	rows, err := m.Exec(ctx, "SELECT CONCAT(User, ' ', JSON_VALUE(Priv, '$.authentication_string'), ' ', COALESCE(JSON_EXTRACT(Priv, '$.auth_or[*].authentication_string'), ''))"+
		" FROM mysql.global_priv WHERE User IN ('"+name+"', '"+name+"_a', '"+name+"_b') AND JSON_EXISTS(Priv, '$.authentication_string')"+
		" AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = 0")
	for _, row := range rows {
		user, hashes, _ := strings.Cut(row, " ")
		var distinct []string
		for _, hash := range strings.FieldsFunc(hashes, func(r rune) bool { return strings.ContainsRune(` ",[]`, r) }) {
			if hash != "invalid" && !slices.Contains(distinct, hash) {
				distinct = append(distinct, hash)
				held = append(held, user+" "+hash[:min(6, len(hash))])
			}
		}
	}
	return held, err
}

// mysqlDenied is the server's answer to a wrong password, mysqlLocked that to an account which is switched off.
const mysqlDenied, mysqlLocked = 1045, 4151

func mysqlSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	config := mysql.NewConfig()
	config.Net, config.Addr, config.User, config.Passwd = "tcp", at, fields["username"], fields["password"]
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return upstream.Unknown, err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, "SELECT id FROM shop.orders")
	var said *mysql.MySQLError
	switch {
	case err == nil:
		return upstream.Accepted, nil
	case errors.As(err, &said) && (said.Number == mysqlDenied || said.Number == mysqlLocked):
		return upstream.Refused, nil
	}
	return upstream.Unknown, err
}
