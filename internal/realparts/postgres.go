// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	portAttempts = 5
	loopback     = "127.0.0.1"

	superuser = "custody_test_root"
	// signedOnly asks everybody for a SCRAM password, on every way in.
	signedOnly = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n"
)

// ErrNoPostgres: no PostgreSQL server is installed here.
var ErrNoPostgres = errors.New("no PostgreSQL server found in PATH or /usr/lib/postgresql: install the package postgresql")

// PostgresOptions of a throw-away cluster. The zero value is a plain server that asks everybody for a SCRAM password.
type PostgresOptions struct {
	// Settings for postgresql.conf, by name.
	Settings map[string]string
	// Files are made in the server's folder before it starts; a setting may name one by {dir}/NAME.
	Files map[string]string
	// HBA replaces pg_hba.conf; the default asks for scram-sha-256 on every way in.
	HBA string
	// Bin is the folder of initdb and postgres. Default: that of the newest installed.
	Bin string
}

// Server is a throw-away PostgreSQL cluster on loopback. Its methods are not for concurrent use.
type Server struct {
	Host string
	Port int
	// SocketDir is the folder of the Unix socket.
	SocketDir string
	// Admin is the superuser's credential: fields username and password.
	Admin secret.Value

	dir     string
	bin     string
	as      *syscall.Credential
	options PostgresOptions
	running *foreground
}

// Postgres starts a cluster that ends with the test. Without a PostgreSQL server installed, the test fails.
func Postgres(t testing.TB, options PostgresOptions) *Server {
	t.Helper()
	// Not t.TempDir: the server may run as another user, who must be able to reach the folder, and socket paths are short.
	server, err := StartPostgres(t.Context(), shortDir(t, "custody-pg-"), options)
	return untilEnd(t, "the cluster", server, err)
}

// StartPostgres makes a cluster in dir, which must be empty, and starts it. The server runs as the calling user, or as
// postgres when that is root; dir is then given to postgres, who must be able to reach it. The caller stops the server;
// should the calling process die first, the server is told to quit.
func StartPostgres(ctx context.Context, dir string, options PostgresOptions) (*Server, error) {
	bin, err := findPostgres(options.Bin)
	if err != nil {
		return nil, err
	}
	s := &Server{Host: loopback, SocketDir: dir, dir: dir, bin: bin, options: options}
	if s.as, err = servant("postgres", dir, "postgresql"); err != nil {
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

// findPostgres returns the folder of the newest server.
func findPostgres(bin string) (string, error) {
	var candidates []string
	if bin != "" {
		candidates = []string{bin}
	} else {
		if path, err := exec.LookPath("initdb"); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				candidates = append(candidates, filepath.Dir(path))
			}
		}
		installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
		if err != nil {
			return "", fmt.Errorf("looking for PostgreSQL: %w", err)
		}
		slices.SortFunc(installed, func(a, b string) int { return major(b) - major(a) })
		candidates = append(candidates, installed...)
	}
	for _, dir := range candidates {
		if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", ErrNoPostgres
}

func major(bin string) int {
	number, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	if err != nil {
		return 0
	}
	return number
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// initialise makes the data folder: by initdb the first time in this process, then as a copy of what that made.
func (s *Server) initialise(ctx context.Context) error {
	if err := writeAllAs(s.as, s.dir, s.options.Files); err != nil {
		return err
	}
	made, fresh, err := clusters.of(s.bin, func() (cluster, error) { return s.initdb(ctx) })
	if err == nil && !fresh {
		err = made.write(s.as, s.data())
	}
	if err != nil {
		return err
	}
	s.Admin = made.admin
	return s.write(filepath.Join(s.data(), "pg_hba.conf"), cmp.Or(s.options.HBA, signedOnly))
}

// initdb makes the data folder and its superuser.
func (s *Server) initdb(ctx context.Context) (cluster, error) {
	password, err := randomText()
	if err != nil {
		return cluster{}, err
	}
	admin, err := secret.Text(map[string]string{"username": superuser, "password": password})
	if err != nil {
		return cluster{}, err
	}
	file := filepath.Join(s.dir, "pw")
	if err := s.write(file, password+"\n"); err != nil {
		return cluster{}, err
	}
	defer func() { _ = os.Remove(file) }() // the folder goes with the cluster
	ctx, cancel := context.WithTimeout(ctx, hangLimit)
	defer cancel()
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"),
		"--pgdata", s.data(), "--username", superuser, "--pwfile", file, "--auth", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C", "--wal-segsize", "1", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.Env = s.dir, environment()
	if err := runAs(s.as, initdb, syscall.SIGQUIT); err != nil { // which makes PostgreSQL stop at once, its children too
		return cluster{}, err
	}
	return remember(s.data(), admin)
}

// write makes a file that the server's user owns.
func (s *Server) write(path, text string) error { return writeAs(s.as, path, text) }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// environment leaves out PG* variables, which would change what initdb and postgres do.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PG") })
}

var errExited = errors.New("the server exited while starting")

// Start starts a stopped server on the same port and data, and returns when it takes sign-ins.
func (s *Server) Start(ctx context.Context) error {
	if s.running.alive() {
		return nil
	}
	settings := map[string]string{
		"listen_addresses": loopback, "port": strconv.Itoa(s.Port), "unix_socket_directories": s.dir,
		"password_encryption": "scram-sha-256", "fsync": "off", "logging_collector": "off", "log_line_prefix": "%m [%p] ",
	}
	for name, value := range s.options.Settings {
		settings[name] = strings.ReplaceAll(value, "{dir}", s.dir)
	}
	args := []string{"-D", s.data()}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	cmd.Dir, cmd.Env = s.dir, environment()
	var err error
	if s.running, err = startForeground(cmd, s.logFile(), syscall.SIGQUIT); err != nil {
		return err
	}
	return s.running.await(ctx, s.Log, func(ctx context.Context) error {
		conn, err := s.Connect(ctx, s.Admin, "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// Connect signs in over TCP with a credential of fields username and password.
func (s *Server) Connect(ctx context.Context, as secret.Value, database string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(fmt.Sprintf(
		"host=%s port=%d sslmode=disable user=unset dbname=unset password=unset target_session_attrs=any", s.Host, s.Port))
	if err != nil {
		return nil, errors.New("preparing a connection failed: unset the PG* environment variables")
	}
	config.User, config.Password, config.Database = as.ExposeText("username"), as.ExposeText("password"), database
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return conn, nil
}

// Exec runs statements as the superuser, in the database postgres, and returns the first column of the last result.
func (s *Server) Exec(ctx context.Context, sql string) ([]string, error) {
	conn, err := s.Connect(ctx, s.Admin, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("executing: %w", err)
	}
	var column []string
	if len(results) > 0 {
		for _, row := range results[len(results)-1].Rows {
			column = append(column, string(row[0]))
		}
	}
	return column, nil
}

// Stop ends the server, its sessions too, and returns when it is gone. Stopping a stopped server does nothing.
func (s *Server) Stop() error { return s.running.end(syscall.SIGINT) }

// Kill ends the server as a crash does (PostgreSQL's immediate shutdown): nothing is flushed, the next start recovers.
func (s *Server) Kill() error { return s.running.end(syscall.SIGQUIT) }

// Restart stops and starts the server.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start(ctx)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// Log returns what the server has logged in its life.
func (s *Server) Log() string { return readLog(s.logFile()) }
