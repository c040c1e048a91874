// SPDX-License-Identifier: Apache-2.0

// Package link carries orders and answers between the server and an agent: HTTP over mutual TLS 1.3. A session is one request whose two
// bodies stay open: orders come as lines of JSON in one, answers go in the other (HTTP/2). Enrolling and renewing are short requests.
//
// Guaranteed: a session belongs to the machine of the certificate that was shown and admitted, and each line is of that machine. A peer
// that answers no ping for half a minute is gone. Nothing of a line is in an error.
//
// Not guaranteed: that a line which was sent arrives.
//
// Cost: a line for each order and each answer; a ping every ten seconds.
package link

import (
	"bufio"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/agent/hub"
	"custody.dev/custody/internal/agent/identity"
)

const (
	pathEnroll  = "/v1/agent/enroll"
	pathRenew   = "/v1/agent/renew"
	pathSession = "/v1/agent/session"

	headerVersion = "Custody-Version"
	headerClock   = "Custody-Clock"
	// headerRenew tells an agent that its certificate is to be renewed: its own clock may be wrong.
	headerRenew = "Custody-Renew"

	// quiet is how long nothing may be heard before a ping is sent, and answering how long its answer may take.
	quiet     = 10 * time.Second
	answering = 20 * time.Second
	// shortRequest bounds what a request to enroll may say.
	shortRequest = 64 << 10
)

// enrolling asks for a certificate.
type enrolling struct {
	Token   string `json:"token"`
	Request []byte `json:"request"` // PKCS #10
}

// issued answers it.
type issued struct {
	Chain [][]byte `json:"chain"` // DER, the certificate authority's last
}

// refusal says why not.
type refusal struct {
	Error string `json:"error"`
	Next  string `json:"next,omitempty"`
}

// Server is the server's side.
type Server struct {
	Hub  *hub.Hub
	Book *identity.Book
	Log  *slog.Logger
	// Patience bounds how soon a peer that is gone is noticed; zero is the usual.
	Patience Patience
}

// Patience is how long nothing may be heard before a ping is sent, and how long its answer may take.
type Patience struct{ Quiet, Answering time.Duration }

func (p Patience) config() *http.HTTP2Config {
	return &http.HTTP2Config{
		SendPingTimeout: cmp.Or(p.Quiet, quiet), PingTimeout: cmp.Or(p.Answering, answering), WriteByteTimeout: cmp.Or(p.Answering, answering),
		MaxConcurrentStreams: 8,
	}
}

// HTTP makes the server that agents connect to. Its caller listens with Book.ServerTLS, and ends the sessions (hub.Hub.Close) before it
// shuts it down.
func (s *Server) HTTP() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathEnroll, s.enroll)
	mux.HandleFunc("POST "+pathRenew, s.renew)
	mux.HandleFunc("POST "+pathSession, s.session)
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: answering, Protocols: protocols, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		HTTP2: s.Patience.config(),
	}
}

func (s *Server) enroll(w http.ResponseWriter, r *http.Request) {
	var ask enrolling
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, shortRequest)).Decode(&ask); err != nil {
		refuse(w, http.StatusBadRequest, &identity.Refused{Why: "the request is not one to enroll"})
		return
	}
	chain, err := s.Book.Enroll(r.Context(), ask.Token, ask.Request)
	if err != nil {
		s.failed(w, r, "enrolling", err)
		return
	}
	s.Log.Info("an agent was enrolled", "from", r.RemoteAddr)
	respond(w, http.StatusOK, issued{chain})
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) {
	certificate := shown(r)
	if certificate == nil {
		refuse(w, http.StatusUnauthorized, errNoCertificate)
		return
	}
	chain, err := s.Book.Renew(r.Context(), certificate)
	if err != nil {
		s.failed(w, r, "renewing", err)
		return
	}
	respond(w, http.StatusOK, issued{chain})
}

var errNoCertificate = &identity.Refused{Why: "no certificate was shown", Next: "enroll first: custody agent enroll"}

// session serves one agent until its connection ends or it may not be served any more.
func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	certificate := shown(r)
	if certificate == nil {
		refuse(w, http.StatusUnauthorized, errNoCertificate)
		return
	}
	machine, err := s.Book.Admit(r.Context(), certificate)
	if err != nil {
		s.failed(w, r, "connecting", err)
		return
	}
	clock, _ := time.Parse(time.RFC3339Nano, r.Header.Get(headerClock))
	open, err := s.Hub.Attach(machine, r.Header.Get(headerVersion), clock)
	if err != nil {
		s.failed(w, r, "connecting", err)
		return
	}
	defer open.End()
	log := s.Log.With("machine", machine)
	log.Info("agent connected", "from", r.RemoteAddr, "version", open.Version)
	defer func() { log.Info("agent gone") }()
	if s.Book.Due(certificate) {
		w.Header().Set(headerRenew, "yes")
	}
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	go s.answers(r.Body, open)
	for {
		select {
		case <-r.Context().Done():
			return
		case <-open.Done():
			return
		case order := <-open.Orders():
			line, err := order.ExposeLine()
			if err == nil {
				_, err = w.Write(line)
			}
			if err == nil {
				err = flush.Flush()
			}
			if err != nil {
				return
			}
		}
	}
}

// answers takes what the agent says until it says no more, which ends the session.
func (s *Server) answers(from io.Reader, open *hub.Session) {
	defer open.End()
	lines := newLines(from)
	for lines.Scan() {
		var answer agent.Answer
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			s.Log.Warn("an agent's answer cannot be read; its session is ended", "machine", open.Machine)
			return
		}
		open.Answer(answer)
	}
}

// failed answers what went wrong: why somebody is refused, and of what broke here no more than that.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, doing string, err error) {
	if refused, is := errors.AsType[*identity.Refused](err); is {
		s.Log.Warn("an agent was refused", "doing", doing, "from", r.RemoteAddr, "why", refused.Why)
		refuse(w, http.StatusForbidden, refused)
		return
	}
	s.Log.Error("serving an agent", "doing", doing, "from", r.RemoteAddr, "error", err)
	refuse(w, http.StatusServiceUnavailable, &identity.Refused{Why: "the server cannot answer now", Next: "look at its log"})
}

func refuse(w http.ResponseWriter, status int, why *identity.Refused) {
	respond(w, status, refusal{why.Why, why.Next})
}

func respond(w http.ResponseWriter, status int, with any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(with) // whoever is gone asks again
}

// shown is the certificate of the peer, whose chain was verified; nil for none.
func shown(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// newLines reads lines of a message's size at most.
func newLines(from io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), agent.MaxMessage)
	return lines
}
