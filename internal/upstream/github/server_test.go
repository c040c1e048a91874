// SPDX-License-Identifier: Apache-2.0

package github_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	appID        = "4711"
	clientID     = "Iv23liCustodyTest"
	installation = 815
)

// server answers as GitHub's published description of its REST interface says: it checks the app's signature and its
// times, restricts tokens, lets them die, limits how often it is asked, and shows changes late when told to.
type server struct {
	*httptest.Server
	keys        []*rsa.PublicKey
	certificate string

	mu sync.Mutex
	// ahead is how far its clock is ahead of this machine's.
	ahead time.Duration
	// repositories and permissions of the installation.
	repositories []string
	permissions  map[string]string
	suspended    bool
	// stateless tokens are long and signed.
	stateless bool
	// strict refuses to list repositories to tokens without metadata: read. GitHub's description says that it does not.
	strict bool
	// unrevoked answers to a revocation instead of revoking.
	unrevoked http.HandlerFunc
	// lag is how long a change takes to show.
	lag    time.Duration
	tokens map[string]*grant
	// change alters an answer before it is given.
	change func(map[string]any)
	// limited answers as one of the limits: "primary", "secondary", "bare".
	limited string
	// wrongLimit requests with wrong tokens are answered, then nobody until wrongUntil.
	wrongLimit int
	wrong      int
	written    bytes.Buffer
	requests   int
}

// grant is one token.
type grant struct {
	from, to     time.Time
	repositories []string
	permissions  map[string]string
}

// newKey makes a private key and its PEM.
func newKey(t *testing.T) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return key, string(pem.EncodeToMemory(block))
}

func newServer(t *testing.T, keys ...*rsa.PublicKey) *server {
	t.Helper()
	s := &server{
		keys: keys, repositories: []string{"orders", "billing", "website"}, tokens: map[string]*grant{},
		permissions: map[string]string{"metadata": "read", "contents": "write", "issues": "read", "members": "read"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", s.issue)
	mux.HandleFunc("GET /installation/repositories", s.list)
	mux.HandleFunc("GET /rate_limit", s.limits)
	mux.HandleFunc("DELETE /installation/token", s.revoke)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests++
		fmt.Fprintf(&s.written, "%s %s\n", r.Method, r.URL.Path)
		w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
		w.Header().Set("X-GitHub-Request-Id", strconv.Itoa(s.requests))
		if r.Header.Get("User-Agent") == "" || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28" {
			s.say(w, http.StatusForbidden, "Request forbidden by administrative rules.")
			return
		}
		if s.limit(w) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell of every connection that a test breaks
	s.StartTLS()
	s.certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	t.Cleanup(s.Close)
	return s
}

// set changes the server between requests.
func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Log returns what was logged.
func (s *server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

func (s *server) now() time.Time { return time.Now().Add(s.ahead) }

func (s *server) say(w http.ResponseWriter, status int, message string) {
	s.answer(w, status, map[string]any{"message": message, "documentation_url": "https://docs.example.org/rest", "status": strconv.Itoa(status)})
}

func (s *server) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *server) limit(w http.ResponseWriter) bool {
	switch s.limited {
	case "primary":
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(s.now().Add(20*time.Minute).Unix(), 10))
		s.say(w, http.StatusForbidden, "API rate limit exceeded for installation ID 815.")
	case "secondary":
		w.Header().Set("Retry-After", "90")
		s.say(w, http.StatusTooManyRequests, "You have exceeded a secondary rate limit.")
	case "bare":
		s.say(w, http.StatusForbidden, "You have exceeded a secondary rate limit.")
	default:
		return false
	}
	return true
}

// signed checks what an app signs, as GitHub does: who, by which key, not from the future, ten minutes at most.
func (s *server) signed(w http.ResponseWriter, r *http.Request) bool {
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, key := range s.keys {
		claims := &jwt.RegisteredClaims{}
		_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation()).
			ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key, nil })
		if err != nil {
			continue
		}
		now := s.now()
		switch {
		case claims.Issuer != appID && claims.Issuer != clientID:
			s.say(w, http.StatusNotFound, "Integration not found")
		case claims.IssuedAt == nil || claims.IssuedAt.After(now):
			s.say(w, http.StatusUnauthorized, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
		case claims.ExpiresAt == nil || !claims.ExpiresAt.After(now):
			s.say(w, http.StatusUnauthorized, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
		case claims.ExpiresAt.After(now.Add(10 * time.Minute)):
			s.say(w, http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
		default:
			return true
		}
		return false
	}
	s.say(w, http.StatusUnauthorized, "A JSON web token could not be decoded")
	return false
}

func (s *server) issue(w http.ResponseWriter, r *http.Request) {
	if !s.signed(w, r) {
		return
	}
	if r.PathValue("id") != strconv.Itoa(installation) {
		s.say(w, http.StatusNotFound, "Not Found")
		return
	}
	if s.suspended {
		s.say(w, http.StatusForbidden, "This installation has been suspended")
		return
	}
	var asked struct {
		Repositories []string          `json:"repositories"`
		Permissions  map[string]string `json:"permissions"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		s.say(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	for _, name := range asked.Repositories {
		if !slices.Contains(s.repositories, name) {
			s.say(w, http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
			return
		}
	}
	levels := []string{"", "read", "write", "admin"}
	given := map[string]string{}
	for name, level := range asked.Permissions {
		if name != "members" { // every permission of a repository brings that with it
			given["metadata"] = "read"
		}
		if slices.Index(levels, level) > slices.Index(levels, s.permissions[name]) {
			s.say(w, http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			return
		}
		given[name] = level
	}
	now := s.now()
	made := &grant{from: now.Add(s.lag), to: now.Add(time.Hour), repositories: asked.Repositories, permissions: given}
	if len(asked.Repositories) == 0 {
		made.repositories = s.repositories
	}
	token := s.token()
	s.tokens[token] = made
	body := map[string]any{
		"token": token, "expires_at": made.to.UTC().Format(time.RFC3339), "permissions": given, "repository_selection": "all",
	}
	if len(asked.Repositories) > 0 {
		body["repository_selection"], body["repositories"] = "selected", named(asked.Repositories)
	}
	if s.change != nil {
		s.change(body)
	}
	s.answer(w, http.StatusCreated, body)
}

func named(names []string) (list []map[string]any) {
	for i, name := range names {
		list = append(list, map[string]any{"id": i + 1, "name": name, "full_name": "example/" + name})
	}
	return list
}

// token makes one in the old or the new form.
func (s *server) token() string {
	part := func(n int) string {
		raw := make([]byte, n)
		_, _ = rand.Read(raw)
		return hex.EncodeToString(raw)
	}
	if s.stateless {
		return "ghs_" + appID + "_" + part(18) + "." + part(120) + "." + part(64) + "_" + part(32)
	}
	return "ghs_" + part(18)
}

// bearer finds the token of a request, or answers 401.
func (s *server) bearer(w http.ResponseWriter, r *http.Request) (*grant, bool) {
	if s.wrongLimit > 0 && s.wrong >= s.wrongLimit {
		s.say(w, http.StatusForbidden, "Maximum number of login attempts exceeded. Please try again later.")
		return nil, false
	}
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	now := s.now()
	if found := s.tokens[text]; found != nil && !now.Before(found.from) && now.Before(found.to) {
		return found, true
	}
	s.wrong++
	s.say(w, http.StatusUnauthorized, "Bad credentials")
	return nil, false
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	found, ok := s.bearer(w, r)
	if !ok {
		return
	}
	if s.suspended {
		s.say(w, http.StatusForbidden, "This installation has been suspended")
		return
	}
	if s.strict && found.permissions["metadata"] == "" {
		w.Header().Set("X-Accepted-GitHub-Permissions", "metadata=read")
		s.say(w, http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	per, err := strconv.Atoi(r.URL.Query().Get("per_page"))
	if err != nil {
		per = 30
	}
	page := found.repositories[:min(per, len(found.repositories))]
	if len(page) < len(found.repositories) {
		w.Header().Set("Link", fmt.Sprintf(`<%s/installation/repositories?per_page=%d&page=2>; rel="next"`, s.URL, per))
	}
	s.answer(w, http.StatusOK, map[string]any{"total_count": len(found.repositories), "repositories": named(page)})
}

func (s *server) limits(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.bearer(w, r); ok {
		s.answer(w, http.StatusOK, map[string]any{"resources": map[string]any{"core": map[string]int{"limit": 5000, "remaining": 4999}}})
	}
}

func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	if s.unrevoked != nil {
		s.unrevoked(w, r)
		return
	}
	found, ok := s.bearer(w, r)
	if !ok {
		return
	}
	found.to = s.now().Add(s.lag)
	w.WriteHeader(http.StatusNoContent)
}

// held names the tokens that are honoured now, by their digests.
func (s *server) held() (held []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, found := range s.tokens {
		if now := s.now(); !now.Before(found.from) && now.Before(found.to) {
			sum := sha256.Sum256([]byte(token))
			held = append(held, hex.EncodeToString(sum[:6]))
		}
	}
	return held
}
