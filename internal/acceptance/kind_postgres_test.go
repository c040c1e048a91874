// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// postgresKinds share one server, whose admin has CREATEROLE and no more.
func postgresKinds() []kind {
	return []kind{
		{
			name: "postgres-alternate", capability: upstream.Alternate, crowd: 4, model: true, signIn: postgresSignIn,
			start: func(s *stage, accounts []string) part {
				p := startPostgres(s)
				for _, name := range accounts {
					s.must(p.Exec(s.t.Context(), fmt.Sprintf("CREATE ROLE %[1]s; GRANT SELECT ON orders TO %[1]s; GRANT pg_monitor TO %[1]s", name)))
				}
				return postgresPart(p, func(name string) string {
					return fmt.Sprintf("postgres: {mode: alternate, owner: %[1]s, users: [%[1]s_a, %[1]s_b]}", name)
				})
			},
		},
		{
			name: "postgres-overwrite", capability: upstream.Overwrite, crowd: 8, model: true, signIn: postgresSignIn,
			start: func(s *stage, accounts []string) part {
				p := startPostgres(s)
				for _, name := range accounts {
					s.must(p.Exec(s.t.Context(), fmt.Sprintf("CREATE ROLE %[1]s LOGIN; GRANT SELECT ON orders TO %[1]s; GRANT %[1]s TO custody_admin WITH ADMIN OPTION", name)))
				}
				return postgresPart(p, func(name string) string { return "postgres: {mode: overwrite, user: " + name + "}" })
			},
		},
	}
}

func startPostgres(s *stage) *realparts.Server {
	return once(s, "postgres", func() *realparts.Server {
		p := realparts.Postgres(s.t, realparts.PostgresOptions{Settings: map[string]string{"max_connections": "300"}})
		password := rand.Text()
		s.must(p.Exec(s.t.Context(), "CREATE TABLE orders (id int); CREATE ROLE custody_admin LOGIN CREATEROLE PASSWORD '"+password+"'"))
		host, port := s.via(p.Host, p.Port)
		s.upstream("postgres", fmt.Sprintf("postgres: {host: %s, port: %d, tls: disable}", host, port),
			map[string]string{"username": "custody_admin", "password": password}, "postgres: {mode: overwrite, user: custody_admin}")
		return p
	})
}

func postgresPart(p *realparts.Server, account func(string) string) part {
	return part{
		at: fmt.Sprintf("host=%s port=%d dbname=postgres sslmode=disable", p.Host, p.Port), upstream: "postgres",
		account: account, log: p.Log,
		held: func(ctx context.Context, name string) ([]string, error) {
			return p.Exec(ctx, "SELECT rolname FROM pg_authid WHERE rolname IN ('"+name+"', '"+name+"_a', '"+name+"_b') AND rolcanlogin AND rolpassword IS NOT NULL")
		},
		rights: func(ctx context.Context, name string, fields map[string]string) (string, error) {
			user := fields["username"]
			rows, err := p.Exec(ctx, `SELECT concat_ws(' ', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
				rolconnlimit, rolconfig, ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = r.oid ORDER BY 1),
				has_table_privilege(oid, 'orders', 'SELECT'), has_table_privilege(oid, 'orders', 'INSERT'))
				FROM pg_roles r WHERE rolname IN ('`+name+"', '"+user+"') ORDER BY rolname")
			return strings.ReplaceAll(strings.Join(rows, "\n"), user, "USER"), err
		},
	}
}

func postgresSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	config, err := pgconn.ParseConfig(at)
	if err != nil {
		return upstream.Unknown, err
	}
	config.User, config.Password = fields["username"], fields["password"]
	conn, err := pgconn.ConnectConfig(ctx, config)
	var said *pgconn.PgError
	if errors.As(err, &said) && (said.Code == "28P01" || said.Code == "28000") {
		return upstream.Refused, nil
	}
	if err != nil {
		return upstream.Unknown, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "SELECT id FROM orders").ReadAll(); err != nil {
		return upstream.Unknown, err
	}
	return upstream.Accepted, nil
}
