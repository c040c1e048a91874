// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
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
	"time"

	"custody.dev/custody/internal/secret"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// ErrNoMinIO: no MinIO server is at hand.
var ErrNoMinIO = errors.New("no MinIO server found: Debian has no package of it; build it with 'go build github.com/minio/minio' in tools/minio")

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

	dir     string
	options MinIOOptions
	client  *http.Client

	running *foreground
}

// MinIO starts a server that ends with the test, built from tools/minio.
func MinIO(t testing.TB, options MinIOOptions) *MinIOServer {
	t.Helper()
	if options.Program == "" {
		program, err := MinIOProgram().Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		options.Program = program
	}
	dir, err := os.MkdirTemp("", "custody-minio-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the server's folder: %v", err)
		}
	})
	server, err := StartMinIO(t.Context(), dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	return server
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
	s := &MinIOServer{Host: loopback, dir: dir, options: options}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	var err error
	for range portAttempts { // another process may take the port between the choice and the start
		if s.Port, err = freePort(ctx); err != nil {
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

// prepare draws the root credential and makes folders and certificates.
func (s *MinIOServer) prepare() error {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return fmt.Errorf("drawing the root credential: %w", err)
	}
	root, err := secret.Text(map[string]string{"accessKeyId": superuser, "secretAccessKey": hex.EncodeToString(raw)})
	if err != nil {
		return err
	}
	s.Root = root
	for _, folder := range []string{"data", "certs/CAs"} {
		if err := os.MkdirAll(filepath.Join(s.dir, folder), 0o700); err != nil {
			return fmt.Errorf("preparing minio: %w", err)
		}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if !s.options.Plain {
		roots, err := s.certify()
		if err != nil {
			return fmt.Errorf("preparing minio: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	s.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return nil
}

// certify makes an authority and a certificate for loopback, whose keys live no longer than the server.
func (s *MinIOServer) certify() (*x509.CertPool, error) {
	authority, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Custody test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, issuer, issuer, authority.Public(), authority)
	if err != nil {
		return nil, err
	}
	s.CACertificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "minio"}, NotBefore: issuer.NotBefore, NotAfter: issuer.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.ParseIP(loopback)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if raw, err = x509.CreateCertificate(rand.Reader, leaf, issuer, key.Public(), authority); err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	for name, block := range map[string]*pem.Block{
		"public.crt": {Type: "CERTIFICATE", Bytes: raw}, "private.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(s.dir, "certs", name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CACertificate))
	return roots, nil
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
	if s.running.alive() {
		return nil
	}
	args := []string{"server", "--address", s.Address()}
	if s.options.Plain { // an empty folder, so that none of the user's is taken
		args = append(args, "--certs-dir", filepath.Join(s.dir, "certs", "CAs"))
	} else {
		args = append(args, "--certs-dir", filepath.Join(s.dir, "certs"))
	}
	cmd := exec.Command(s.options.Program, append(args, filepath.Join(s.dir, "data"))...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "MINIO_") }),
		"HOME="+s.dir, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
		"MINIO_ROOT_USER="+s.Root.ExposeText("accessKeyId"), "MINIO_ROOT_PASSWORD="+s.Root.ExposeText("secretAccessKey"))
	cmd.Env = append(cmd.Env, s.options.Environment...)
	var err error
	if s.running, err = startForeground(cmd, filepath.Join(s.dir, "log"), syscall.SIGKILL); err != nil {
		return err
	}
	if err := s.running.await(ctx, s.Log, s.ready); err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

// ready reports whether the root credential is taken and may administer: accounts are loaded some time after the port
// is open.
func (s *MinIOServer) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/minio/admin/v3/list-service-accounts", nil)
	if err != nil {
		return err
	}
	sum := hex.EncodeToString(sha256.New().Sum(nil)) // of no body
	request.Header.Set("X-Amz-Content-Sha256", sum)
	root := aws.Credentials{AccessKeyID: s.Root.ExposeText("accessKeyId"), SecretAccessKey: s.Root.ExposeText("secretAccessKey")}
	if err := v4.NewSigner().SignHTTP(ctx, root, request, sum, "s3", "us-east-1", time.Now()); err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

// Stop ends the server and returns when it is gone. Stopping a stopped server does nothing.
func (s *MinIOServer) Stop() error { return s.running.end(syscall.SIGTERM) }

// Log returns what the server has logged in its life.
func (s *MinIOServer) Log() string { return readLog(filepath.Join(s.dir, "log")) }
