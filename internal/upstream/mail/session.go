// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net"
	"strconv"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream/login"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// session is one connection to a database, with one transaction. Its errors are a driver's and must not be shown.
type session interface {
	begin(ctx context.Context) error
	// run does one statement and returns its rows as text.
	run(ctx context.Context, statement string, values ...any) ([][]string, error)
	commit(ctx context.Context) error
	hangUp()
}

// connect opens one connection with one credential.
func (t *table) connect(ctx context.Context, v secret.Value) (session, error) {
	if t.Type == MySQL {
		return t.connectMySQL(ctx, v)
	}
	return t.connectPostgres(ctx, v)
}

type postgresSession struct {
	conn *pgx.Conn
	tx   pgx.Tx
}

// postgresConfig is what every connection has in common. Nothing is taken from the process's environment: the driver
// insists on parsing something, so each setting that it would look up there is given, then replaced.
func (t *table) postgresConfig() (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig("host=unset port=1 dbname=unset user=unset password=unset sslmode=disable sslcertmode=disable " +
		"target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer require_auth='' " +
		"connect_timeout=0 sslnegotiation=postgres")
	if err != nil {
		return nil, errors.New("the environment's PG* variables disturb the driver: unset them (PGSERVICE above all)")
	}
	config.Host, config.Port, config.Database = t.Host, uint16(cmp.Or(t.Port, 5432)), t.Database //nolint:gosec // a port, as was checked
	config.TLSConfig, config.Fallbacks, config.ValidateConnect = t.tls, nil, nil
	config.KerberosSpn, config.KerberosSrvName = "", ""
	config.RuntimeParams = map[string]string{"application_name": "custody", "client_encoding": "UTF8"}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return config, nil
}

func (t *table) connectPostgres(ctx context.Context, v secret.Value) (session, error) {
	config := t.postgres.Copy()
	config.User, config.Password = v.ExposeText(login.Username), v.ExposeText(login.Password)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &postgresSession{conn: conn}, nil
}

func (s *postgresSession) begin(ctx context.Context) (err error) {
	s.tx, err = s.conn.Begin(ctx)
	return err
}

func (s *postgresSession) run(ctx context.Context, statement string, values ...any) ([][]string, error) {
	found, err := s.conn.Query(ctx, statement, values...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) ([]string, error) {
		cells := make([]string, len(row.FieldDescriptions()))
		into := make([]any, len(cells))
		for i := range cells {
			into[i] = &cells[i]
		}
		return cells, row.Scan(into...)
	})
}

func (s *postgresSession) commit(ctx context.Context) error { return s.tx.Commit(ctx) }

// farewell bounds closing a connection whose server may be gone.
const farewell = time.Second

func (s *postgresSession) hangUp() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = s.conn.Close(ctx) // all that mattered has been answered
}

type mysqlSession struct {
	db   *sql.DB
	conn *sql.Conn
	tx   *sql.Tx
}

func (t *table) connectMySQL(ctx context.Context, v secret.Value) (session, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = v.ExposeText(login.Username), v.ExposeText(login.Password), t.Database
	config.Net, config.Addr = "tcp", net.JoinHostPort(t.Host, strconv.Itoa(cmp.Or(t.Port, 3306)))
	if transport.Socket(t.Host) {
		config.Net, config.Addr = "unix", t.Host
	}
	config.TLS, config.Logger = t.tls, silent{}
	config.Timeout, config.ReadTimeout, config.WriteTimeout = t.deadline, t.deadline, t.deadline
	config.InterpolateParams = false // parameters travel apart from statements
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, errors.New("the database's parameters do not fit together")
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &mysqlSession{db: db, conn: conn}, nil
}

func (s *mysqlSession) begin(ctx context.Context) (err error) {
	s.tx, err = s.conn.BeginTx(ctx, nil)
	return err
}

func (s *mysqlSession) run(ctx context.Context, statement string, values ...any) (_ [][]string, err error) {
	query := s.conn.QueryContext
	if s.tx != nil {
		query = s.tx.QueryContext
	}
	found, err := query(ctx, statement, values...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for found.Next() {
		cells := make([]string, len(columns))
		into := make([]any, len(cells))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, err
		}
		rows = append(rows, cells)
	}
	return rows, found.Err()
}

func (s *mysqlSession) commit(context.Context) error { return s.tx.Commit() }

func (s *mysqlSession) hangUp() {
	if s.tx != nil {
		_ = s.tx.Rollback() // after a commit it does nothing
	}
	_, _ = s.conn.Close(), s.db.Close()
}

// silent keeps the driver from writing to the process's own log.
type silent struct{}

// Print does nothing.
func (silent) Print(...any) {}
