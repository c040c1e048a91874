// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/source/place"
)

func parsed(t *testing.T, url string) place.Place {
	t.Helper()
	at, err := place.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func value(t *testing.T, field, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{field: text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// serveHTTPS serves a repository with the real git http-backend, to whoever signs in.
func (w *work) serveHTTPS(before func(http.ResponseWriter, *http.Request) bool) Repository {
	w.t.Helper()
	backend := filepath.Join(w.git("--exec-path"), "git-http-backend")
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if user, word, _ := r.BasicAuth(); user != "reader" || word != "a long word" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "who are you? "+strings.Repeat("x", 10_000), http.StatusUnauthorized)
			return
		}
		if before != nil && !before(rw, r) {
			return
		}
		(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + w.home, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + w.home, "REMOTE_USER=reader"}}).ServeHTTP(rw, r)
	}))
	w.t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return Repository{Place: parsed(w.t, server.URL+"/bare.git"), User: "reader", Password: value(w.t, PasswordField, "a long word\n"), CA: ca}
}

func TestFetchOverHTTPS(t *testing.T) {
	w := newWork(t)
	w.commit("one")
	first := w.commit("two")
	w.push()
	r := w.serveHTTPS(nil)
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	if head := fetched(t, c, r); head != first {
		t.Errorf("got %s, want %s", head, first)
	}
	second := w.commit("three")
	w.push()
	fetched(t, c, r)
	if head := fetched(t, c, r); head != second {
		t.Errorf("got %s, want %s", head, second)
	}
	if _, err := c.Follow(first, second, nil, noon); err != nil {
		t.Error(err)
	}
	wrong := r
	wrong.Password = value(t, PasswordField, "another word")
	if _, err := c.Fetch(t.Context(), wrong, "main", noon); err == nil || !strings.Contains(err.Error(), "refuses to let this host read it") || len(err.Error()) > 500 {
		t.Errorf("a wrong password: %v", err)
	}
	wrong = r
	wrong.CA = nil
	if _, err := c.Fetch(t.Context(), wrong, "main", noon); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that nobody vouches for: %v", err)
	}
	if _, err := c.Fetch(t.Context(), r, "nowhere", noon); !errors.Is(err, ErrNoBranch) {
		t.Errorf("got %v, want %v", err, ErrNoBranch)
	}
	wrong = r
	wrong.Place = parsed(t, strings.Replace(r.Name(), "bare", "none", 1))
	if _, err := c.Fetch(t.Context(), wrong, "main", noon); err == nil || !strings.Contains(err.Error(), "has no such repository") {
		t.Errorf("a repository that is not there: %v", err)
	}
	small := limits
	small.Pack = 50
	if _, err := In(filepath.Join(t.TempDir(), "clone"), small).Fetch(t.Context(), r, "main", noon); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
}

// The password goes to no other server.
func TestRedirectToAnotherServer(t *testing.T) {
	w := newWork(t)
	other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked: %v", r.URL) }))
	defer other.Close()
	r := w.serveHTTPS(func(rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, other.URL+r.URL.String(), http.StatusMovedPermanently)
		return false
	})
	if _, err := In(filepath.Join(t.TempDir(), "clone"), limits).Fetch(t.Context(), r, "main", noon); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("got %v", err)
	}
}

// A server that takes the connection and says nothing holds a fetch no longer than its context lasts.
func TestServerThatHangs(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		var held []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				for _, one := range held {
					_ = one.Close()
				}
				return
			}
			held = append(held, conn)
		}
	}()
	w := newWork(t)
	key := w.sshKey("alice", "-t", "ed25519")
	known := filepath.Join(w.home, "known_hosts")
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.read(key + ".pub")))
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{address}, public)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Repository{
		"https": {Place: parsed(t, "https://"+address+"/x.git")},
		"http":  {Place: parsed(t, "http://"+address+"/x.git")},
		"ssh":   {Place: parsed(t, "ssh://git@"+address+"/x.git"), Key: value(t, KeyField, w.read(key)), KnownHosts: known},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // long enough to connect on loopback
			defer cancel()
			if _, err := In(filepath.Join(t.TempDir(), "clone"), limits).Fetch(ctx, r, "main", noon); err == nil || ctx.Err() == nil {
				t.Errorf("got %v, before its time: %v", err, ctx.Err() == nil)
			}
		})
	}
}

// serveSSH serves repositories with the real git-upload-pack, to one key.
func (w *work) serveSSH(host ssh.Signer, client ssh.PublicKey) string {
	w.t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(client.Marshal()) {
			return nil, errors.New("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	listener, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = listener.Close() })
	session := func(asked ssh.NewChannel) {
		channel, requests, err := asked.Accept()
		if err != nil {
			return
		}
		defer func() { _ = channel.Close() }()
		for request := range requests {
			_ = request.Reply(request.Type == "exec", nil)
			if request.Type != "exec" {
				continue
			}
			var command struct{ Text string }
			if ssh.Unmarshal(request.Payload, &command) != nil {
				return
			}
			cmd := exec.Command("sh", "-c", command.Text)
			cmd.Env = append(os.Environ(), "HOME="+w.home)
			cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
			in, err := cmd.StdinPipe() // else the end of the program would wait for the client's
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(in, channel) }()
			status := struct{ Code uint32 }{}
			if cmd.Run() != nil {
				status.Code = 1
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
			return
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, channels, requests, err := ssh.NewServerConn(conn, config)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for asked := range channels {
					go session(asked)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func TestFetchOverSSH(t *testing.T) {
	w := newWork(t)
	first := w.commit("one")
	w.push()
	signer := func(name string) (ssh.Signer, string) {
		file := w.sshKey(name, "-t", "ed25519")
		made, err := ssh.ParsePrivateKey([]byte(w.read(file)))
		if err != nil {
			t.Fatal(err)
		}
		return made, w.read(file)
	}
	host, _ := signer("host")
	client, clientKey := signer("client")
	stranger, strangerKey := signer("stranger")
	address := w.serveSSH(host, client.PublicKey())
	known := func(key ssh.PublicKey, hosts ...string) string {
		name := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(name, []byte(knownhosts.Line(hosts, key)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	r := Repository{Place: parsed(t, "ssh://git@"+address+w.bare), Key: value(t, KeyField, clientKey), KnownHosts: known(host.PublicKey(), address)}
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	if head := fetched(t, c, r); head != first {
		t.Errorf("got %s, want %s", head, first)
	}
	second := w.commit("two")
	w.push()
	if head := fetched(t, c, r); head != second {
		t.Errorf("got %s, want %s", head, second)
	}
	fetched(t, c, r)
	for name, bad := range map[string]struct {
		r    Repository
		says string
	}{
		"another key of the server": {Repository{Place: r.Place, Key: r.Key, KnownHosts: known(stranger.PublicKey(), address)}, "shows another key"},
		"a server nobody knows":     {Repository{Place: r.Place, Key: r.Key, KnownHosts: known(host.PublicKey(), "elsewhere.example.org")}, "has none of " + address},
		"a key it does not know":    {Repository{Place: r.Place, Key: value(t, KeyField, strangerKey), KnownHosts: r.KnownHosts}, "unable to authenticate"},
		"no known hosts":            {Repository{Place: r.Place, Key: r.Key}, "needs a private key"},
		"no repository":             {Repository{Place: parsed(t, "ssh://git@"+address+"/no'ne.git"), Key: r.Key, KnownHosts: r.KnownHosts}, "/no'ne.git"},
	} {
		if _, err := c.Fetch(t.Context(), bad.r, "main", noon); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: got %v, want %q", name, err, bad.says)
		}
	}
}
