// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"custody.dev/custody/internal/transport"
)

// ErrNoNode: Node.js or npm is not installed here.
var ErrNoNode = errors.New("no Node.js with npm found in PATH: install Node.js 20 or later (Debian's packages nodejs and npm)")

// OIDCOptions of a throw-away OpenID provider. The zero value speaks plain HTTP on loopback and wants an initial access
// token for registration.
type OIDCOptions struct {
	// TLS serves HTTPS, by a certificate of the provider's own.
	TLS bool
	// Open lets anybody register clients.
	Open bool
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

	served
	program, node     string
	port, controlPort int
	client            *http.Client
	tls               issued
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
	provider, err := StartOIDC(t.Context(), shortDir(t, "custody-oidc-"), options)
	if err == nil {
		t.Cleanup(provider.Proxy.Stop)
	}
	return untilEnd(t, "the provider", provider, err)
}

// StartOIDC makes a provider with its state in dir, which must be empty, and starts it. The caller stops it and its
// Proxy; should the calling process die first, the provider is killed. The first call on a machine has npm install the
// pinned packages into the user's cache folder.
func StartOIDC(ctx context.Context, dir string, options OIDCOptions) (*OIDCProvider, error) {
	p := &OIDCProvider{served: served{dir: dir}}
	var err error
	if p.node, err = exec.LookPath("node"); err != nil {
		return nil, fmt.Errorf("starting the OpenID provider: %w", ErrNoNode)
	}
	if p.program, err = Build(ctx, "oidc-provider"); err != nil {
		return nil, err
	}
	if p.AdminToken, err = randomText(); err != nil {
		return nil, err
	}
	if !options.Open {
		if p.InitialAccessToken, err = randomText(); err != nil {
			return nil, err
		}
	}
	scheme := "http"
	if options.TLS {
		scheme = "https"
		if p.tls, err = issue("localhost", loopback); err != nil {
			return nil, err
		}
		p.CACertificate = p.tls.authority
	}
	if p.client, err = transport.Client(""); err != nil {
		return nil, err
	}
	err = onFreePort(ctx, &p.port, func(ctx context.Context) (err error) {
		if p.controlPort, err = freePort(ctx); err != nil {
			return err
		}
		if p.Proxy, err = StartProxy(ctx, net.JoinHostPort(loopback, strconv.Itoa(p.port))); err != nil {
			return err
		}
		p.Issuer = scheme + "://" + p.Proxy.Address()
		p.ClientsURL = p.Issuer + "/admin/clients"
		if err = p.Start(ctx); err != nil {
			p.Proxy.Stop()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Start starts a stopped provider on the same ports and state, and returns when it answers.
func (p *OIDCProvider) Start(ctx context.Context) error {
	settings, err := json.Marshal(map[string]any{
		"issuer": p.Issuer, "port": p.port, "controlPort": p.controlPort, "state": filepath.Join(p.dir, "state.json"),
		"initialAccessToken": p.InitialAccessToken, "adminToken": p.AdminToken,
		"certificate": p.tls.certificate, "privateKey": p.tls.key,
	})
	if err != nil {
		return err
	}
	cmd := exec.Command(p.node, p.program)
	cmd.Stdin = bytes.NewReader(settings)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir}
	return p.run(ctx, cmd, syscall.SIGKILL, func(ctx context.Context) error {
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
	answer, err := transport.Exchange(p.client, request, maxControl)
	switch {
	case err != nil:
		return err
	case answer.Status != http.StatusOK:
		return fmt.Errorf("asking the provider's control port: %s", answer)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer.Body, out)
}

const maxControl = 8 << 20

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
