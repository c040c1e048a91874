// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/agent/identity"
)

// Identity is what an agent shows: its certificate and key, and the certificate authority that the server's is of.
type Identity struct {
	Chain [][]byte // DER, the certificate authority's last
	Key   *ecdsa.PrivateKey
}

// Machine is the name that the certificate is for.
func (i Identity) Machine() (string, error) {
	leaf, _, err := i.parse()
	if err != nil {
		return "", err
	}
	return leaf.Subject.CommonName, nil
}

func (i Identity) parse() (leaf, root *x509.Certificate, err error) {
	if len(i.Chain) != 2 || i.Key == nil {
		return nil, nil, errors.New("the agent's certificate is not whole")
	}
	if leaf, err = x509.ParseCertificate(i.Chain[0]); err == nil {
		root, err = x509.ParseCertificate(i.Chain[1])
	}
	if err != nil {
		return nil, nil, errors.New("the agent's certificate is damaged")
	}
	if !i.Key.PublicKey.Equal(leaf.PublicKey) {
		return nil, nil, errors.New("the agent's certificate is of another key")
	}
	return leaf, root, nil
}

// Enroll gets a certificate for key from the server at an address, by a token. The server is believed if the certificate authority
// behind it is the one that the token names. Repeated with the same key it gives the same right.
func Enroll(ctx context.Context, server, token string, key *ecdsa.PrivateKey, random io.Reader) (Identity, error) {
	_, fingerprint, _, err := identity.Parse(token)
	if err != nil {
		return Identity{}, err
	}
	request, err := x509.CreateCertificateRequest(random, &x509.CertificateRequest{}, key)
	if err != nil {
		return Identity{}, err
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: identity.ServerName,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, against what the token names
		VerifyConnection:   func(state tls.ConnectionState) error { return verify(state, fingerprint) },
	}
	client := dial(config, Patience{})
	defer client.CloseIdleConnections()
	body, err := json.Marshal(enrolling{token, request})
	if err != nil {
		return Identity{}, err
	}
	chain, err := post(ctx, client, server, pathEnroll, body)
	made := Identity{chain, key}
	if err == nil {
		_, _, err = made.parse()
	}
	return made, err
}

// verify wants the certificate authority with a fingerprint behind the server's certificate. The time is left out: see Session.
func verify(state tls.ConnectionState, fingerprint string) error {
	given := state.PeerCertificates
	if len(given) != 2 || identity.Fingerprint(given[1]) != fingerprint {
		return errors.New("the server is of another platform than the token")
	}
	pool := x509.NewCertPool()
	pool.AddCert(given[1])
	_, err := given[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: identity.ServerName, CurrentTime: given[1].NotBefore})
	return err
}

// Client talks to the server as an agent.
type Client struct {
	http   *http.Client
	server string
}

// Dial makes the client of an agent; it connects when it is used. The server's certificate is taken whatever the agent's clock says:
// it ends with the certificate authority that the agent was enrolled with, so a wrong clock would cut an agent off and protect nothing.
func Dial(server string, as Identity, patience Patience) (*Client, error) {
	leaf, root, err := as.parse()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return &Client{dial(&tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: identity.ServerName, RootCAs: pool, Time: func() time.Time { return root.NotBefore },
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: as.Key, Leaf: leaf}},
	}, patience), server}, nil
}

func dial(config *tls.Config, patience Patience) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, Protocols: protocols, TLSHandshakeTimeout: answering,
			HTTP2: patience.config(),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close lets connections go that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Renew gets a new certificate for the same key.
func (c *Client) Renew(ctx context.Context, as Identity) (Identity, error) {
	chain, err := post(ctx, c.http, c.server, pathRenew, nil)
	made := Identity{chain, as.Key}
	if err == nil {
		_, _, err = made.parse()
	}
	return made, err
}

// Session is an open session.
type Session struct {
	// Renew: the certificate is to be renewed now.
	Renew bool

	body io.ReadCloser
	to   *io.PipeWriter
	mu   sync.Mutex
}

// Session begins a session; it lasts until ctx ends, Close, or the connection breaks. now is the agent's clock.
func (c *Client) Session(ctx context.Context, version string, now time.Time) (*Session, error) {
	out, to := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+c.server+pathSession, out)
	if err != nil {
		return nil, err
	}
	request.Header.Set(headerVersion, version)
	request.Header.Set(headerClock, now.UTC().Format(time.RFC3339Nano))
	response, err := c.http.Do(request) //nolint:bodyclose // the session keeps it open, and Close closes it
	if err != nil {
		_ = to.Close()
		return nil, unquoted(err)
	}
	if response.StatusCode != http.StatusOK {
		_ = to.Close()
		return nil, refusedBy(response)
	}
	return &Session{Renew: response.Header.Get(headerRenew) != "", body: response.Body, to: to}, nil
}

// Orders gives each order that comes to take, until none comes any more; its error says why. What cannot be read is left out, since
// another order may be: the server hears nothing of it, and asks again.
func (s *Session) Orders(take func(agent.Order)) error {
	lines := newLines(s.body)
	for lines.Scan() {
		if order, err := agent.ReadOrder(lines.Bytes()); err == nil {
			take(order)
		}
	}
	if err := lines.Err(); err != nil {
		return unquoted(err)
	}
	return io.EOF
}

// Answer sends an answer. It may be called from several goroutines.
func (s *Session) Answer(a agent.Answer) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.to.Write(append(line, '\n'))
	return err
}

// Close ends the session.
func (s *Session) Close() {
	_ = s.to.Close()
	_ = s.body.Close()
}

func post(ctx context.Context, client *http.Client, server, path string, body []byte) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answering)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, unquoted(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, refusedBy(response)
	}
	defer func() { _ = response.Body.Close() }()
	var made issued
	if err := json.NewDecoder(io.LimitReader(response.Body, shortRequest)).Decode(&made); err != nil {
		return nil, errors.New("the server's answer is not a certificate")
	}
	return made.Chain, nil
}

// refusedBy is what a server said that refused; its body is closed.
func refusedBy(response *http.Response) error {
	defer func() { _ = response.Body.Close() }()
	var why refusal
	if err := json.NewDecoder(io.LimitReader(response.Body, shortRequest)).Decode(&why); err != nil || why.Error == "" {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	if response.StatusCode >= http.StatusInternalServerError {
		return errors.New(why.Error)
	}
	return &identity.Refused{Why: why.Error, Next: why.Next}
}

// unquoted is a transport's error without the address, which whoever reports it names.
func unquoted(err error) error {
	if outer, is := errors.AsType[*url.Error](err); is {
		return outer.Err
	}
	return err
}
