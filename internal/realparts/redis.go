// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"

	"github.com/redis/go-redis/v9"
)

const redisRoot = "custody_test_root"

// ErrNoRedis: no Redis server is installed here.
var ErrNoRedis = errors.New("no redis-server found in PATH: install the package redis-server")

// RedisOptions of a throw-away server. The zero value keeps its users in an ACL file and lets nobody in but Root.
type RedisOptions struct {
	// TLS: the port takes TLS and nothing else.
	TLS bool
	// NoACLFile keeps users in the configuration file.
	NoACLFile bool
	// NoConfigFile gives the server its settings as arguments, so that it can persist no user at all. It has no ACL file.
	NoConfigFile bool
	// Settings for the configuration file, by name.
	Settings map[string]string
	// Bin is the program. Default: redis-server in PATH.
	Bin string
}

// RedisServer is a throw-away Redis server on loopback. Its methods are not for concurrent use.
type RedisServer struct {
	Host string
	Port int
	// Socket is the path of the Unix socket.
	Socket string
	// CA is the certificate of the authority that signed the server's, as PEM; with TLS only.
	CA string
	// Root may do everything: fields username and password.
	Root secret.Value

	dir, bin string
	options  RedisOptions
	running  *foreground
}

// Redis starts a server that ends with the test. Without Redis installed, the test fails.
func Redis(t testing.TB, options RedisOptions) *RedisServer {
	t.Helper()
	server, err := StartRedis(t.Context(), shortDir(t, "custody-rd-"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stopping redis: %v", err)
		}
	})
	return server
}

// StartRedis makes a server in dir, which must be empty, and starts it. The caller stops it; should the calling process
// die first, the server dies with it.
func StartRedis(ctx context.Context, dir string, options RedisOptions) (*RedisServer, error) {
	bin, err := findProgram(options.Bin, "redis-server", ErrNoRedis, "/usr/bin/redis-server")
	if err != nil {
		return nil, err
	}
	password, err := randomText()
	if err != nil {
		return nil, err
	}
	s := &RedisServer{Host: loopback, Socket: filepath.Join(dir, "s"), dir: dir, bin: bin, options: options}
	if s.Root, err = secret.Text(map[string]string{"username": redisRoot, "password": password}); err != nil {
		return nil, err
	}
	if options.TLS {
		if s.CA, err = issueLoopback(dir); err != nil {
			return nil, err
		}
	}
	for range portAttempts { // another process may take the port between the choice and the start
		if s.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if err = s.configure(password); err != nil {
			return nil, err
		}
		if err = s.Start(ctx); err == nil || !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *RedisServer) settings() map[string]string {
	settings := map[string]string{
		"bind": loopback, "port": strconv.Itoa(s.Port), "unixsocket": s.Socket, "dir": s.dir, "save": `""`,
		"daemonize": "no", "loglevel": "debug",
	}
	if s.options.TLS {
		settings["port"], settings["tls-port"], settings["tls-auth-clients"] = "0", strconv.Itoa(s.Port), "no"
		settings["tls-cert-file"] = filepath.Join(s.dir, "cert.pem")
		settings["tls-key-file"] = filepath.Join(s.dir, "key.pem")
		settings["tls-ca-cert-file"] = filepath.Join(s.dir, "ca.pem")
	}
	for name, value := range s.options.Settings {
		settings[name] = value
	}
	return settings
}

func (s *RedisServer) configure(password string) error {
	users := fmt.Sprintf("user default off\nuser %s on >%s ~* &* +@all\n", redisRoot, password)
	if s.options.NoConfigFile {
		return nil // Start makes the users
	}
	text := ""
	for name, value := range s.settings() {
		text += name + " " + value + "\n"
	}
	if s.options.NoACLFile {
		text += users
	} else {
		text += "aclfile " + filepath.Join(s.dir, "users.acl") + "\n"
		if err := os.WriteFile(filepath.Join(s.dir, "users.acl"), []byte(users), 0o600); err != nil {
			return fmt.Errorf("writing the users: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "redis.conf"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing redis.conf: %w", err)
	}
	return nil
}

// Start starts a stopped server on the same port and users, and returns when it takes sign-ins.
func (s *RedisServer) Start(ctx context.Context) error {
	if s.running.alive() {
		return nil
	}
	args := []string{filepath.Join(s.dir, "redis.conf")}
	if s.options.NoConfigFile {
		args = nil
		for name, value := range s.settings() {
			if value == `""` {
				value = ""
			}
			args = append(args, "--"+name, value)
		}
		args = append(args, "--user", "default", "off", "--user", redisRoot, "on", ">"+s.Root.ExposeText("password"), "~*", "&*", "+@all")
	}
	cmd := exec.Command(s.bin, args...)
	cmd.Dir = s.dir
	running, err := startForeground(cmd, s.logFile(), syscall.SIGKILL)
	if err != nil {
		return err
	}
	s.running = running
	return running.await(ctx, s.Log, func(ctx context.Context) error {
		_, err := s.Do(ctx, "PING")
		return err
	})
}

// Client is a client of the vendor's library, signed in as v. The caller closes it.
func (s *RedisServer) Client(v secret.Value, name string) *redis.Client {
	options := &redis.Options{
		Addr: fmt.Sprintf("%s:%d", s.Host, s.Port), Username: v.ExposeText("username"), Password: v.ExposeText("password"),
		ClientName: name, MaxRetries: -1, PoolSize: 1,
	}
	if s.options.TLS {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(s.CA))
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	return redis.NewClient(options)
}

// Do runs one command as Root.
func (s *RedisServer) Do(ctx context.Context, command ...string) (any, error) {
	client := s.Client(s.Root, "")
	defer func() { _ = client.Close() }() // all that mattered has been answered
	args := make([]any, len(command))
	for i, word := range command {
		args[i] = word
	}
	reply, err := client.Do(ctx, args...).Result()
	if err != nil {
		return nil, fmt.Errorf("asking redis: %w", err)
	}
	return reply, nil
}

// Stop ends the server and returns when it is gone. Stopping a stopped server does nothing.
func (s *RedisServer) Stop() error { return s.running.end(syscall.SIGTERM) }

func (s *RedisServer) logFile() string { return filepath.Join(s.dir, "log") }

// Log returns what the server has logged in its life.
func (s *RedisServer) Log() string { return readLog(s.logFile()) }
