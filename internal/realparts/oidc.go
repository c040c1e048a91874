// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoNode: Node.js or npm is not installed here.
var ErrNoNode = errors.New("no Node.js with npm found in PATH: install Node.js 20 or later (Debian's packages nodejs and npm)")

// ErrNoOIDCPackages: npm could not put the provider's packages in place.
var ErrNoOIDCPackages = errors.New("running npm ci")

// OIDCOptions of a throw-away OpenID provider. The zero value speaks plain HTTP on loopback and wants an initial access
// token for registration.
type OIDCOptions struct {
	// TLS serves HTTPS, by a certificate of the provider's own.
	TLS bool
	// Open lets anybody register clients.
	Open bool
	// Source is the folder with the server's script. Default: tools/oidc-provider, above the working folder.
	Source string
}

// OIDCProvider is a throw-away OpenID provider (oidc-provider, certified, of npm) with dynamic client registration.
// Its methods are not for concurrent use.
type OIDCProvider struct {
	// Issuer is where it is reached: through Proxy.
	Issuer string
	// Proxy stands before it.
	Proxy *Proxy
	// CACertificate is PEM; "" without TLS.
	CACertificate string
	// InitialAccessToken is wanted by the registration endpoint; "" where it is open. AdminToken is wanted by Clients.
	InitialAccessToken, AdminToken string
	// Clients is the address of the provider's own list of clients, which no standard knows.
	ClientsURL string

	dir, program, node string
	port, controlPort  int
	privateKey         string
	running            *foreground
}

// OIDCClient is a registered client.
type OIDCClient struct {
	ID              string   `json:"client_id"`
	Name            string   `json:"client_name"`
	SoftwareVersion string   `json:"software_version"`
	GrantTypes      []string `json:"grant_types"`
	RedirectURIs    []string `json:"redirect_uris"`
	Scope           string   `json:"scope"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	// SecretSHA256 is the digest of its secret in hexadecimal.
	SecretSHA256 string `json:"secret_sha256"`
}

// OIDCFault is an answer that the provider gives instead of its own.
type OIDCFault struct {
	// Path is how the request's path begins, Method its method; "" means any.
	Path    string            `json:"path"`
	Method  string            `json:"method,omitempty"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	// Left is how often; 0 means until ClearFaults.
	Left int `json:"left"`
	// After: the request has its effect first.
	After bool `json:"after,omitempty"`
}

// OIDC starts a provider that ends with the test. Without Node.js and npm, the test fails.
func OIDC(t testing.TB, options OIDCOptions) *OIDCProvider {
	t.Helper()
	dir, err := os.MkdirTemp("", "custody-oidc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing the provider's folder: %v", err)
		}
	})
	provider, err := StartOIDC(t.Context(), dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Stop(); err != nil {
			t.Errorf("stopping the provider: %v", err)
		}
		provider.Proxy.Stop()
	})
	return provider
}

// StartOIDC makes a provider with its state in dir, which must be empty, and starts it. The caller stops it and its
// Proxy; should the calling process die first, the provider is killed. The first call on a machine has npm install the
// pinned packages into the user's cache folder.
func StartOIDC(ctx context.Context, dir string, options OIDCOptions) (*OIDCProvider, error) {
	p := &OIDCProvider{dir: dir}
	if err := p.install(ctx, options.Source); err != nil {
		return nil, fmt.Errorf("installing the OpenID provider: %w", err)
	}
	var err error
	if p.AdminToken, err = token(); err != nil {
		return nil, err
	}
	if !options.Open {
		if p.InitialAccessToken, err = token(); err != nil {
			return nil, err
		}
	}
	if options.TLS {
		if p.CACertificate, p.privateKey, err = selfSigned(); err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
	}
	for range portAttempts { // another process may take a port between the choice and the start
		if p.port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if p.controlPort, err = freePort(ctx); err != nil {
			return nil, err
		}
		if p.Proxy, err = StartProxy(ctx, net.JoinHostPort(loopback, strconv.Itoa(p.port))); err != nil {
			return nil, err
		}
		scheme := "http"
		if options.TLS {
			scheme = "https"
		}
		p.Issuer = scheme + "://" + p.Proxy.Address()
		p.ClientsURL = p.Issuer + "/admin/clients"
		if err = p.Start(ctx); err == nil {
			return p, nil
		}
		p.Proxy.Stop()
		if !errors.Is(err, errExited) {
			return nil, err
		}
	}
	return nil, err
}

func token() (string, error) {
	raw := make([]byte, 24)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("drawing a token: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

// selfSigned makes a certificate of loopback that is its own authority.
func selfSigned() (certificate, privateKey string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "custody test provider"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(loopback)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), nil
}

// oidcFiles are what an installation is made from.
var oidcFiles = []string{"package.json", "package-lock.json", "server.mjs"}

// install copies the script into the user's cache folder and has npm put the pinned packages beside it, once.
func (p *OIDCProvider) install(ctx context.Context, source string) error {
	node, err := exec.LookPath("node")
	if err != nil {
		return ErrNoNode
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return ErrNoNode
	}
	if source == "" {
		if source, err = toolFolder("oidc-provider"); err != nil {
			return err
		}
	}
	version, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return fmt.Errorf("asking node for its version: %w", err)
	}
	hash := sha256.New()
	hash.Write(version)
	contents := map[string][]byte{}
	for _, name := range oidcFiles {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return fmt.Errorf("the tree is incomplete (restore tools/ from Git): %w", err)
		}
		contents[name] = data
		fmt.Fprintf(hash, "%s %d\n", name, len(data))
		hash.Write(data)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("no cache folder (set HOME or XDG_CACHE_HOME): %w", err)
	}
	parts := filepath.Join(cache, "custody-realparts")
	if err := os.MkdirAll(parts, 0o700); err != nil {
		return err
	}
	folder := filepath.Join(parts, "oidc-"+hex.EncodeToString(hash.Sum(nil)[:12]))
	p.node, p.program = node, filepath.Join(folder, "server.mjs")
	lock, err := os.OpenFile(folder+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which releases it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	// Made beside and renamed, so that an installation that was cut off is never taken for a whole one.
	part := folder + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return err
	}
	for name, data := range contents {
		if err := os.WriteFile(filepath.Join(part, name), data, 0o600); err != nil {
			return err
		}
	}
	command := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
	command.Dir = part
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %w\n%s\nhint: run it in tools/oidc-provider; it needs the packages that package-lock.json names, from a registry or npm's cache", ErrNoOIDCPackages, err, out)
	}
	return os.Rename(part, folder)
}

// toolFolder finds a folder of tools/ above the working folder.
func toolFolder(name string) (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		tool := filepath.Join(folder, "tools", name)
		if info, err := os.Stat(tool); err == nil && info.IsDir() {
			return tool, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", fmt.Errorf("tools/%s was not found above the working folder: run this in the source tree", name)
		}
		folder = parent
	}
}

// Start starts a stopped provider on the same ports and state, and returns when it answers.
func (p *OIDCProvider) Start(ctx context.Context) error {
	if p.running.alive() {
		return nil
	}
	settings, err := json.Marshal(map[string]any{
		"issuer": p.Issuer, "port": p.port, "controlPort": p.controlPort, "state": filepath.Join(p.dir, "state.json"),
		"initialAccessToken": p.InitialAccessToken, "adminToken": p.AdminToken,
		"certificate": p.CACertificate, "privateKey": p.privateKey,
	})
	if err != nil {
		return err
	}
	cmd := exec.Command(p.node, p.program)
	cmd.Dir, cmd.Stdin = p.dir, bytes.NewReader(settings)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}
	if p.running, err = startForeground(cmd, p.logFile(), syscall.SIGKILL); err != nil {
		return err
	}
	return p.running.await(ctx, p.Log, func(ctx context.Context) error {
		return p.control(ctx, http.MethodGet, "/counts", nil, nil)
	})
}

// Stop ends the provider as a crash does, and returns when it is gone. Its state stays.
func (p *OIDCProvider) Stop() error { return p.running.end(syscall.SIGKILL) }

// control speaks to the port that is for tests alone.
func (p *OIDCProvider) control(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	address := "http://" + net.JoinHostPort(loopback, strconv.Itoa(p.controlPort)) + path
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the provider's control port: %s", response.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(out)
}

// Clients lists every client that is registered now.
func (p *OIDCProvider) Clients(ctx context.Context) (clients []OIDCClient, err error) {
	return clients, p.control(ctx, http.MethodGet, "/clients", nil, &clients)
}

// Counts says how often each method and path was asked for since the start ("POST /reg").
func (p *OIDCProvider) Counts(ctx context.Context) (counts map[string]int, err error) {
	return counts, p.control(ctx, http.MethodGet, "/counts", nil, &counts)
}

// Fault makes the provider answer f where it fits, until it was given as often as it says.
func (p *OIDCProvider) Fault(ctx context.Context, f OIDCFault) error {
	if f.Left == 0 {
		f.Left = -1
	}
	return p.control(ctx, http.MethodPost, "/fault", f, nil)
}

// ClearFaults ends every fault.
func (p *OIDCProvider) ClearFaults(ctx context.Context) error {
	return p.control(ctx, http.MethodDelete, "/fault", nil, nil)
}

func (p *OIDCProvider) logFile() string { return filepath.Join(p.dir, "log") }

// Log returns what the provider has logged in its life.
func (p *OIDCProvider) Log() string { return strings.TrimSpace(readLog(p.logFile())) }
