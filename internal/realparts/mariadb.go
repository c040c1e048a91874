// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"

	"github.com/go-sql-driver/mysql"
)

// ErrNoMariaDB: no MariaDB server is installed here.
var ErrNoMariaDB = errors.New("no mariadbd and mariadb-install-db found in PATH or /usr/sbin: install the package mariadb-server")

// MariaDBOptions of a throw-away server. The zero value is a plain server.
type MariaDBOptions struct {
	// Settings by name, as of the command line: "max-password-errors". A value "" gives the bare option.
	Settings map[string]string
	// Files are made in the server's folder before it starts; a setting may name one by {dir}/NAME.
	Files map[string]string
	// Bin is the folder of mariadbd and mariadb-install-db. Default: found.
	Bin string
}

// MariaDBServer is a throw-away MariaDB server on loopback. Its methods are not for concurrent use.
type MariaDBServer struct {
	Host string
	Port int
	// Socket is the path of the Unix socket.
	Socket string
	// Admin may do everything, from everywhere: fields username and password.
	Admin secret.Value

	dir     string
	daemon  string
	install string
	as      *syscall.Credential
	options MariaDBOptions
	running *foreground
}

// MariaDB starts a server that ends with the test. Without MariaDB installed, the test fails.
func MariaDB(t testing.TB, options MariaDBOptions) *MariaDBServer {
	t.Helper()
	// Not t.TempDir: the server may run as another user, who must be able to reach the folder, and socket paths are short.
	server, err := StartMariaDB(t.Context(), shortDir(t, "custody-my-"), options)
	return untilEnd(t, "the server", server, err)
}

// StartMariaDB makes a server in dir, which must be empty, and starts it. It runs as the calling user, or as mysql when
// that is root; dir is then given to mysql, who must be able to reach it. The caller stops the server; should the calling
// process die first, the server is killed.
func StartMariaDB(ctx context.Context, dir string, options MariaDBOptions) (*MariaDBServer, error) {
	s := &MariaDBServer{Host: loopback, Socket: filepath.Join(dir, "s"), dir: dir, options: options}
	var err error
	if s.daemon, err = mariadbProgram(options.Bin, "mariadbd"); err != nil {
		return nil, err
	}
	if s.install, err = mariadbProgram(options.Bin, "mariadb-install-db"); err != nil {
		return nil, err
	}
	if s.as, err = servant("mysql", dir, "mariadb-server"); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx); err != nil {
		return nil, err
	}
	if err := onFreePort(ctx, &s.Port, s.Start); err != nil {
		return nil, err
	}
	return s, nil
}

// mariadbProgram looks in one folder, or in PATH and where Debian puts servers.
func mariadbProgram(bin, name string) (string, error) {
	if bin != "" {
		bin = filepath.Join(bin, name)
	}
	return findProgram(bin, name, ErrNoMariaDB, filepath.Join("/usr/sbin", name))
}

func (s *MariaDBServer) initialise(ctx context.Context) error {
	password, err := randomText()
	if err != nil {
		return err
	}
	admin, err := secret.Text(map[string]string{"username": superuser, "password": "Root-9-" + password})
	if err != nil {
		return err
	}
	s.Admin = admin
	if err := writeAllAs(s.as, s.dir, s.options.Files); err != nil {
		return err
	}
	if err := writeAs(s.as, filepath.Join(s.dir, "init.sql"), fmt.Sprintf("CREATE OR REPLACE USER '%s'@'%%' IDENTIFIED BY '%s';\n"+
		"GRANT ALL PRIVILEGES ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;\n"+
		"DELETE FROM mysql.global_priv WHERE User IN ('root', '');\nFLUSH PRIVILEGES;\n",
		superuser, admin.ExposeText("password"))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	install := exec.CommandContext(ctx, s.install, "--no-defaults", "--datadir="+s.data(),
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	install.Dir, install.Env = s.dir, append(os.Environ(), "TMPDIR="+s.dir) // two that ran at once removed each other's tables
	return runAs(s.as, install, syscall.SIGKILL)
}

func (s *MariaDBServer) data() string { return filepath.Join(s.dir, "data") }

// Start starts a stopped server on the same port and data, and returns when it takes sign-ins.
func (s *MariaDBServer) Start(ctx context.Context) error {
	if s.running.alive() {
		return nil
	}
	settings := map[string]string{
		"bind-address": loopback, "port": strconv.Itoa(s.Port), "socket": s.Socket, "skip-name-resolve": "",
		"innodb-buffer-pool-size": "16M", "innodb-log-file-size": "8M", "innodb-flush-log-at-trx-commit": "2",
		"pid-file": filepath.Join(s.dir, "pid"), "init-file": filepath.Join(s.dir, "init.sql"),
		"general-log-file": filepath.Join(s.dir, "general"), "tmpdir": s.dir,
	}
	for name, value := range s.options.Settings {
		settings[name] = strings.ReplaceAll(value, "{dir}", s.dir)
	}
	args := []string{"--no-defaults", "--datadir=" + s.data()}
	for name, value := range settings {
		if value != "" {
			name += "=" + value
		}
		args = append(args, "--"+name)
	}
	cmd := exec.Command(s.daemon, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	cmd.Dir = s.dir
	var err error
	if s.running, err = startForeground(cmd, filepath.Join(s.dir, "log"), syscall.SIGKILL); err != nil {
		return err
	}
	return s.running.await(ctx, s.Log, func(ctx context.Context) error {
		_, err := s.Exec(ctx, "SELECT 1")
		return err
	})
}

// Connect signs in over TCP, without TLS, with a credential of fields username and password. The caller closes both.
func (s *MariaDBServer) Connect(ctx context.Context, as secret.Value, program string) (*sql.Conn, func(), error) {
	config := mysql.NewConfig()
	config.User, config.Passwd = as.ExposeText("username"), as.ExposeText("password")
	config.Net, config.Addr = "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	config.Logger, config.MultiStatements = &mysql.NopLogger{}, true // how long it may take is for ctx to say
	config.ConnectionAttributes = "program_name:" + program
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting: %w", err)
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(ctx)
	if err != nil {
		_ = pool.Close()
		return nil, nil, fmt.Errorf("connecting: %w", err)
	}
	return conn, func() { _ = conn.Close(); _ = pool.Close() }, nil
}

// Exec runs statements as the superuser and returns the first column of the last result.
func (s *MariaDBServer) Exec(ctx context.Context, statements string) ([]string, error) {
	conn, done, err := s.Connect(ctx, s.Admin, "realparts")
	if err != nil {
		return nil, err
	}
	defer done()
	rows, err := conn.QueryContext(ctx, statements)
	if err != nil {
		return nil, fmt.Errorf("executing: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var column []string
	for {
		column = nil
		columns, err := rows.Columns()
		if err != nil {
			return nil, fmt.Errorf("executing: %w", err)
		}
		for rows.Next() {
			cells := make([]any, len(columns))
			var first sql.NullString
			for i := range cells {
				cells[i] = new(sql.RawBytes)
			}
			cells[0] = &first
			if err := rows.Scan(cells...); err != nil {
				return nil, fmt.Errorf("executing: %w", err)
			}
			column = append(column, first.String)
		}
		if !rows.NextResultSet() {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("executing: %w", err)
	}
	return column, nil
}

// Stop ends the server, its sessions too, and returns when it is gone. Stopping a stopped server does nothing.
func (s *MariaDBServer) Stop() error { return s.running.end(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (s *MariaDBServer) Kill() error { return s.running.end(syscall.SIGKILL) }

// Log returns what the server has logged in its life: errors and, where general-log is set, every statement.
func (s *MariaDBServer) Log() string {
	var out strings.Builder
	for _, name := range []string{"log", "general"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "reading the log: " + err.Error()
		}
		out.Write(data)
	}
	return out.String()
}
