// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrNoPgBouncer: no PgBouncer is installed here.
var ErrNoPgBouncer = errors.New("no pgbouncer found in PATH or /usr/sbin: install the package pgbouncer")

// PgBouncerOptions of a throw-away pooler. The server's superuser is its administrator.
type PgBouncerOptions struct {
	// Server is what it stands before.
	Server *Server
	// Users are the lines of its auth_file besides the superuser's: "user" "password or verifier".
	Users string
	// AuthUser, who is in Users, runs AuthQuery for users who are not. Both or neither.
	AuthUser, AuthQuery string
	// Settings of its section [pgbouncer], by name.
	Settings map[string]string
	// Bin is the program. Default: found.
	Bin string
}

// Pooler is a throw-away PgBouncer on loopback. Its methods are not for concurrent use.
type Pooler struct {
	Host string
	Port int

	dir     string
	bin     string
	options PgBouncerOptions

	running *foreground
}

// PgBouncer starts a pooler that ends with the test. Without PgBouncer installed, the test fails.
func PgBouncer(t testing.TB, options PgBouncerOptions) *Pooler {
	t.Helper()
	dir, err := os.MkdirTemp("", "custody-pb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the pooler's folder: %v", err)
		}
	})
	pooler, err := StartPgBouncer(t.Context(), dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pooler.Stop(); err != nil {
			t.Errorf("stopping the pooler: %v", err)
		}
	})
	return pooler
}

// StartPgBouncer starts a pooler with its files in dir, as the user of the server that it stands before. The caller stops
// it; should the calling process die first, it is killed.
func StartPgBouncer(ctx context.Context, dir string, options PgBouncerOptions) (*Pooler, error) {
	p := &Pooler{Host: loopback, dir: dir, bin: options.Bin, options: options}
	if p.bin == "" {
		p.bin = "/usr/sbin/pgbouncer"
		if path, err := exec.LookPath("pgbouncer"); err == nil {
			p.bin = path
		}
	}
	if !executable(p.bin) {
		return nil, ErrNoPgBouncer
	}
	if as := options.Server.as; as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, fmt.Errorf("giving the folder to the pooler's user: %w", err)
		}
	}
	var err error
	for range portAttempts { // another process may take the port between the choice and the start
		if p.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if err = p.Start(ctx); err == nil || !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// SetUsers replaces the lines of the auth_file, which the pooler reads at its next start or RELOAD.
func (p *Pooler) SetUsers(lines string) error {
	admin := p.options.Server.Admin
	text := fmt.Sprintf("%q %q\n", admin.ExposeText("username"), admin.ExposeText("password")) + lines
	return p.options.Server.write(filepath.Join(p.dir, "users"), text)
}

// Start starts a stopped pooler on the same port, and returns when it takes sign-ins.
func (p *Pooler) Start(ctx context.Context) error {
	if p.running.alive() {
		return nil
	}
	server := p.options.Server
	var config strings.Builder
	fmt.Fprintf(&config, "[databases]\n* = host=%s port=%d", server.Host, server.Port)
	if p.options.AuthUser != "" {
		fmt.Fprintf(&config, " auth_user=%s", p.options.AuthUser)
	}
	settings := map[string]string{
		"listen_addr": loopback, "listen_port": fmt.Sprint(p.Port), "unix_socket_dir": p.dir, "auth_type": "scram-sha-256",
		"auth_file": filepath.Join(p.dir, "users"), "admin_users": server.Admin.ExposeText("username"), "log_connections": "1",
	}
	if p.options.AuthQuery != "" {
		settings["auth_query"] = p.options.AuthQuery
	}
	for name, value := range p.options.Settings {
		settings[name] = value
	}
	config.WriteString("\n[pgbouncer]\n")
	for name, value := range settings {
		fmt.Fprintf(&config, "%s = %s\n", name, value)
	}
	if err := server.write(filepath.Join(p.dir, "ini"), config.String()); err != nil {
		return err
	}
	if err := p.SetUsers(p.options.Users); err != nil {
		return err
	}
	cmd := exec.Command(p.bin, filepath.Join(p.dir, "ini"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: server.as}
	cmd.Dir, cmd.Env = p.dir, environment()
	var err error
	if p.running, err = startForeground(cmd, filepath.Join(p.dir, "log"), syscall.SIGKILL); err != nil {
		return err
	}
	if err := p.running.await(ctx, p.Log, func(ctx context.Context) error { return p.Command(ctx, "SHOW VERSION") }); err != nil {
		return errors.Join(err, p.Stop())
	}
	return nil
}

// Connect signs in through the pooler with a credential of fields username and password.
func (p *Pooler) Connect(ctx context.Context, as secret.Value, database string) (*pgconn.PgConn, error) {
	through := Server{Host: p.Host, Port: p.Port}
	return through.Connect(ctx, as, database)
}

// Command gives the pooler a command at its console: RELOAD, RECONNECT, PAUSE, SHOW VERSION.
func (p *Pooler) Command(ctx context.Context, command string) error {
	conn, err := p.Connect(ctx, p.options.Server.Admin, "pgbouncer")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, command).ReadAll(); err != nil {
		return fmt.Errorf("commanding pgbouncer: %w", err)
	}
	return nil
}

// Stop ends the pooler and returns when it is gone. Stopping a stopped one does nothing.
func (p *Pooler) Stop() error { return p.running.end(syscall.SIGTERM) }

// Log returns what the pooler has logged in its life.
func (p *Pooler) Log() string { return readLog(filepath.Join(p.dir, "log")) }
