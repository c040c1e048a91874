// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream/accesskey"
)

// ErrNoMinIO: no MinIO server is at hand.
var ErrNoMinIO = errors.New("no MinIO server found: Debian has no package of it; 'tools/install-parts minio' builds it")

// MinIOOptions of a throw-away server. The zero value speaks TLS by a certificate of its own authority.
type MinIOOptions struct {
	// Program is the server. Tests build it; StartMinIO takes minio from PATH when it is empty.
	Program string
	// Plain serves HTTP without TLS.
	Plain bool
	// Environment adds to the server's variables (NAME=value).
	Environment []string
}

// MinIOServer is a throw-away MinIO server of one drive on loopback. Its methods are not for concurrent use.
type MinIOServer struct {
	Host string
	Port int
	// CACertificate is PEM, "" when Plain.
	CACertificate string
	// Root is the server's own administrator: fields accessKeyId and secretAccessKey.
	Root secret.Value

	served
	options MinIOOptions
	client  *http.Client
}

// MinIO starts a server that ends with the test, built from tools/minio.
func MinIO(t testing.TB, options MinIOOptions) *MinIOServer {
	t.Helper()
	if options.Program == "" {
		options.Program = built(t, "minio")
	}
	server, err := StartMinIO(t.Context(), shortDir(t, "custody-minio-"), options)
	return untilEnd(t, "minio", server, err)
}

// StartMinIO makes a server in dir, which must be empty, and starts it. The caller stops it; should the calling process
// die first, the server is killed.
func StartMinIO(ctx context.Context, dir string, options MinIOOptions) (*MinIOServer, error) {
	if options.Program == "" {
		found, err := exec.LookPath("minio")
		if err != nil {
			return nil, ErrNoMinIO
		}
		options.Program = found
	}
	if !executable(options.Program) {
		return nil, ErrNoMinIO
	}
	s := &MinIOServer{Host: loopback, served: served{dir: dir}, options: options}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("preparing minio: %w", err)
	}
	if err := onFreePort(ctx, &s.Port, s.Start); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare draws the root credential and makes folders and certificates, whose keys live no longer than the server.
func (s *MinIOServer) prepare() error {
	password, err := randomText()
	if err != nil {
		return err
	}
	if s.Root, err = secret.Text(map[string]string{accesskey.ID: superuser, accesskey.Secret: password}); err != nil {
		return err
	}
	for _, folder := range []string{"data", "certs/CAs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, folder), 0o700); err != nil {
			return err
		}
	}
	if !s.options.Plain {
		made, err := issue("localhost", loopback)
		if err != nil {
			return err
		}
		s.CACertificate = made.authority
		if err := writeAllAs(nil, filepath.Join(s.dir, "certs"), map[string]string{"public.crt": made.certificate, "private.key": made.key}); err != nil {
			return err
		}
	}
	if s.client, err = transport.Client(s.CACertificate); err != nil {
		return err
	}
	s.client.Timeout = probeLimit // a derived key is part of each answer
	return nil
}

// Address is the server's host and port.
func (s *MinIOServer) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// URL is where the server answers.
func (s *MinIOServer) URL() string {
	if s.options.Plain {
		return "http://" + s.Address()
	}
	return "https://" + s.Address()
}

// Start starts a stopped server on the same port and data, and returns when its root can administer it.
func (s *MinIOServer) Start(ctx context.Context) error {
	args := []string{"server", "--address", s.Address()}
	if s.options.Plain { // an empty folder, so that none of the user's is taken
		args = append(args, "--certs-dir", filepath.Join(s.dir, "certs", "CAs"))
	} else {
		args = append(args, "--certs-dir", filepath.Join(s.dir, "certs"))
	}
	cmd := exec.Command(s.options.Program, append(args, filepath.Join(s.dir, "data"))...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "MINIO_") }),
		"HOME="+s.dir, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"MINIO_ROOT_USER="+s.Root.ExposeText(accesskey.ID), "MINIO_ROOT_PASSWORD="+s.Root.ExposeText(accesskey.Secret))
	cmd.Env = append(cmd.Env, s.options.Environment...)
	return s.run(ctx, cmd, syscall.SIGKILL, func(ctx context.Context) error {
		// Accounts are loaded some time after the port is open.
		_, err := s.Ask(ctx, http.MethodGet, "list-service-accounts", nil, nil, false)
		return err
	})
}

// Stop ends the server and returns when it is gone. Stopping a stopped server does nothing.
func (s *MinIOServer) Stop() error { return s.running.end(syscall.SIGTERM) }
