// SPDX-License-Identifier: Apache-2.0

// Package postgrestest tests the type of upstream postgres with the whole product, on PostgreSQL and PgBouncer. It sets
// up what people set up by hand, as the page says, and has clients that sign in with code of their own. It uses no code
// of the adapter.
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// Kinds share one server, whose admins have the page's rights and no more.
func Kinds() []acceptance.Kind {
	alternate := func(name string) string {
		return fmt.Sprintf("postgres: {mode: alternate, owner: %[1]s, users: [%[1]s_a, %[1]s_b]}", name)
	}
	owners := func(s *acceptance.Stage, p *realparts.Server, accounts []string) {
		for _, name := range accounts {
			s.Must(p.Exec(s.T().Context(), fmt.Sprintf("CREATE ROLE %[1]s; GRANT SELECT ON orders TO %[1]s; GRANT pg_monitor TO %[1]s", name)))
		}
	}
	return []acceptance.Kind{
		{
			Name: "postgres-alternate", Capability: upstream.Alternate, Crowd: 4, Model: true, SignIn: postgresSignIn,
			Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
				p := Start(s)
				owners(s, p, accounts)
				return postgresPart(p, alternate)
			},
		},
		{
			Name: "postgres-pooled", Capability: upstream.Alternate, Abreast: 2, SignIn: postgresSignIn,
			Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
				p := Start(s)
				owners(s, p, accounts)
				pooler := startPooler(s, p)
				made := postgresPart(p, alternate)
				made.At, made.Upstream = postgresAt(pooler.Host, pooler.Port), "postgres-pooled"
				made.Log = func() string { return p.Log() + pooler.Log() }
				return made
			},
		},
		{
			Name: "postgres-overwrite", Capability: upstream.Overwrite, Crowd: 8, Model: true, SignIn: postgresSignIn,
			Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
				p := Start(s)
				for _, name := range accounts {
					s.Must(p.Exec(s.T().Context(), fmt.Sprintf("CREATE ROLE %[1]s LOGIN; GRANT SELECT ON orders TO %[1]s; GRANT %[1]s TO custody_admin WITH ADMIN OPTION", name)))
				}
				return postgresPart(p, func(name string) string { return "postgres: {mode: overwrite, user: " + name + "}" })
			},
		},
	}
}

// Start starts the server, whose admin rotates itself, once for the stage.
func Start(s *acceptance.Stage) *realparts.Server {
	return acceptance.Once(s, "postgres", func() *realparts.Server {
		p := realparts.Postgres(s.T(), realparts.PostgresOptions{Settings: map[string]string{"max_connections": "300"}})
		password := rand.Text()
		s.Must(p.Exec(s.T().Context(), "CREATE TABLE orders (id int); CREATE ROLE custody_admin LOGIN CREATEROLE PASSWORD '"+password+"'"))
		host, port := s.Via(p.Host, p.Port)
		s.Upstream("postgres", fmt.Sprintf("postgres: {host: %s, port: %d, tls: disable}", host, port),
			map[string]string{"username": "custody_admin", "password": password}, "postgres: {mode: overwrite, user: custody_admin}")
		return p
	})
}

// poolerLookup is the page's: who signs in is found by a function that only the pooler's own user may call.
const poolerLookup = `
CREATE SCHEMA pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
CREATE FUNCTION pgbouncer.lookup(name text) RETURNS TABLE (usename name, passwd text)
	LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
	AS 'SELECT usename, passwd FROM pg_shadow WHERE usename = name AND NOT usesuper';
REVOKE ALL ON FUNCTION pgbouncer.lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO pgbouncer`

// startPooler stands a PgBouncer before the server, which asks it for each password and, with its settings left alone,
// pools sessions. Clients sign in there; Custody asks at both, and who still uses the old user.
func startPooler(s *acceptance.Stage, p *realparts.Server) *realparts.Pooler {
	return acceptance.Once(s, "postgres-pooled", func() *realparts.Pooler {
		own, password := rand.Text(), rand.Text()
		s.Must(p.Exec(s.T().Context(), "CREATE ROLE pgbouncer LOGIN PASSWORD '"+own+"';"+poolerLookup))
		s.Must(p.Exec(s.T().Context(), "CREATE ROLE custody_pooled LOGIN CREATEROLE PASSWORD '"+password+"'; GRANT pg_read_all_stats TO custody_pooled"))
		pooler := realparts.PgBouncer(s.T(), realparts.PgBouncerOptions{
			Server: p, Users: fmt.Sprintf("%q %q\n", "pgbouncer", own),
			AuthUser: "pgbouncer", AuthQuery: "SELECT usename, passwd FROM pgbouncer.lookup($1)",
		})
		host, port := s.Via(p.Host, p.Port)
		poolHost, poolPort := s.Via(pooler.Host, pooler.Port)
		s.Upstream("postgres-pooled", fmt.Sprintf(`postgres:
  host: %s
  port: %d
  tls: disable
  usage: true
  alsoAt: [{host: %s, port: %d, tls: disable}]`, host, port, poolHost, poolPort),
			map[string]string{"username": "custody_pooled", "password": password}, "postgres: {mode: overwrite, user: custody_pooled}")
		return pooler
	})
}

func postgresAt(host string, port int) string {
	return fmt.Sprintf("host=%s port=%d dbname=postgres sslmode=disable", host, port)
}

func postgresPart(p *realparts.Server, account func(string) string) acceptance.Part {
	return acceptance.Part{
		At: postgresAt(p.Host, p.Port), Upstream: "postgres",
		Account: account, Log: p.Log,
		Held: func(ctx context.Context, name string) ([]string, error) {
			return p.Exec(ctx, "SELECT rolname FROM pg_authid WHERE rolname IN ('"+name+"', '"+name+"_a', '"+name+"_b') AND rolcanlogin AND rolpassword IS NOT NULL")
		},
		Rights: func(ctx context.Context, name string, fields map[string]string) (string, error) {
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
	if errors.As(err, &said) && (said.Code == "28P01" || said.Code == "28000" || poolerRefuses(said)) {
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

// poolerRefuses tells PgBouncer's refusals from its faults by their words: both have one state.
func poolerRefuses(said *pgconn.PgError) bool {
	return said.Code == "08P01" && (strings.Contains(said.Message, "authentication failed") || strings.Contains(said.Message, "no such user"))
}
