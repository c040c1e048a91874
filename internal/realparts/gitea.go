// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
)

const giteaAdmin = "custody-test-root"

// GiteaOptions of a throw-away server. The zero value is a plain one.
type GiteaOptions struct {
	// Settings for app.ini, by "section.KEY".
	Settings map[string]string
}

// GiteaServer is a throw-away Gitea on loopback with a database of one file. Its methods are not for concurrent use.
type GiteaServer struct {
	Host string
	Port int
	// URL is its address, https.
	URL string
	// CACertificate is PEM.
	CACertificate string
	// Client trusts it.
	Client *http.Client
	// Admin is a site administrator's credential: fields username and password.
	Admin secret.Value

	served
	program string
	options GiteaOptions
}

// Gitea starts a server that ends with the test, built from tools/gitea.
func Gitea(t testing.TB, options GiteaOptions) *GiteaServer {
	t.Helper()
	server, err := StartGitea(t.Context(), shortDir(t, "custody-gitea-"), options)
	return untilEnd(t, "gitea", server, err)
}

// StartGitea makes a server in dir, which must be empty, and starts it; the program is built from tools/gitea where that
// has not been done yet, which takes minutes. git must be installed. The caller stops it; should the calling process die
// first, the server is told to end.
func StartGitea(ctx context.Context, dir string, options GiteaOptions) (*GiteaServer, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, errors.New("starting gitea: it needs git: install the package git")
	}
	program, err := Build(ctx, "gitea")
	if err != nil {
		return nil, err
	}
	s := &GiteaServer{Host: loopback, served: served{dir: dir}, program: program, options: options}
	if s.CACertificate, err = issueLoopback(dir); err != nil {
		return nil, err
	}
	if s.Client, err = transport.Client(s.CACertificate); err != nil {
		return nil, err
	}
	err = onFreePort(ctx, &s.Port, func(ctx context.Context) error {
		s.URL = "https://" + loopback + ":" + strconv.Itoa(s.Port)
		if err := s.configure(); err != nil {
			return err
		}
		return s.Start(ctx)
	})
	if err != nil {
		return nil, err
	}
	if err := s.addAdmin(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *GiteaServer) file() string { return filepath.Join(s.dir, "app.ini") }

// configure writes app.ini.
func (s *GiteaServer) configure() error {
	key, err := randomText()
	if err != nil {
		return err
	}
	settings := map[string]map[string]string{
		// Whoever runs the tests runs the server, root in a container among them.
		"":                    {"I_AM_BEING_UNSAFE_RUNNING_AS_ROOT": "true", "WORK_PATH": s.dir},
		"server":              {"HTTP_ADDR": loopback, "HTTP_PORT": strconv.Itoa(s.Port), "ROOT_URL": s.URL + "/", "STATIC_ROOT_PATH": filepath.Dir(s.program), "DISABLE_SSH": "true", "OFFLINE_MODE": "true", "LFS_START_SERVER": "false", "PROTOCOL": "https", "CERT_FILE": filepath.Join(s.dir, "cert.pem"), "KEY_FILE": filepath.Join(s.dir, "key.pem")},
		"database":            {"DB_TYPE": "sqlite3", "PATH": filepath.Join(s.dir, "gitea.db")},
		"repository":          {"ROOT": filepath.Join(s.dir, "repositories")},
		"security":            {"INSTALL_LOCK": "true", "PASSWORD_HASH_ALGO": "pbkdf2_v1", "SECRET_KEY": key},
		"log":                 {"MODE": "console", "LEVEL": "info"},
		"cron":                {"ENABLED": "false"},
		"cron.update_checker": {"ENABLED": "false"},
		"actions":             {"ENABLED": "false"},
	}
	for name, value := range s.options.Settings {
		section, setting, _ := strings.Cut(name, ".")
		if settings[section] == nil {
			settings[section] = map[string]string{}
		}
		settings[section][setting] = value
	}
	var b strings.Builder
	write := func(section string) {
		for name, value := range settings[section] {
			fmt.Fprintf(&b, "%s = %s\n", name, value)
		}
	}
	write("")
	for section := range settings {
		if section != "" {
			fmt.Fprintf(&b, "[%s]\n", section)
			write(section)
		}
	}
	if err := os.WriteFile(s.file(), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing app.ini: %w", err)
	}
	return nil
}

// command is the program with its folders; nothing of the caller's configuration reaches it or git.
func (s *GiteaServer) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.program, append([]string{"--config", s.file()}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "GITEA_WORK_DIR=" + s.dir, "GIT_CONFIG_NOSYSTEM=1", "USER=" + os.Getenv("USER")}
	return cmd
}

// AddUser makes a user with a password of its own and returns its credential: fields username and password.
func (s *GiteaServer) AddUser(ctx context.Context, name string) (secret.Value, error) {
	password, err := randomText()
	if err != nil {
		return secret.Value{}, err
	}
	body, err := json.Marshal(map[string]any{"username": name, "email": name + "@example.org", "password": password, "must_change_password": false})
	if err != nil {
		return secret.Value{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/api/v1/admin/users", bytes.NewReader(body))
	if err != nil {
		return secret.Value{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(s.Admin.ExposeText("username"), s.Admin.ExposeText("password"))
	response, err := s.Client.Do(request)
	if err != nil {
		return secret.Value{}, fmt.Errorf("making a user: %w", err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return secret.Value{}, fmt.Errorf("making a user: the server answers %s", response.Status)
	}
	return secret.Text(map[string]string{"username": name, "password": password})
}

// addAdmin makes the site administrator, past the interface, which nobody may use yet.
func (s *GiteaServer) addAdmin(ctx context.Context) error {
	password, err := randomText()
	if err != nil {
		return err
	}
	out, err := s.command(ctx, "admin", "user", "create", "--admin", "--username", giteaAdmin, "--password", password,
		"--email", giteaAdmin+"@example.org", "--must-change-password=false").CombinedOutput()
	if err != nil {
		return fmt.Errorf("making the administrator: %w: %s", err, strings.ReplaceAll(string(out), password, secret.Redacted))
	}
	s.Admin, err = secret.Text(map[string]string{"username": giteaAdmin, "password": password})
	return err
}

// Start starts a stopped server on the same port and data, and returns when it answers.
func (s *GiteaServer) Start(ctx context.Context) error {
	return s.run(ctx, s.command(context.Background(), "web"), syscall.SIGTERM, s.ready)
}

// ready asks the server for its health.
func (s *GiteaServer) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/healthz", nil)
	if err != nil {
		return err
	}
	response, err := s.Client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is %s", response.Status)
	}
	return nil
}

// Stop ends the server and returns when it is gone. Stopping a stopped server does nothing.
func (s *GiteaServer) Stop() error { return s.running.end(syscall.SIGTERM) }
