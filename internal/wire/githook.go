// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/source/git"
)

const (
	// hookPath is where webhooks come to, on the address of health and metrics.
	hookPath = "POST /hooks/git"
	// hooksEach bounds how many webhooks are read within hooksIn: each may have a body of 25 MiB.
	hooksEach = 30
	hooksIn   = time.Minute
	// hookLimit bounds the time in which the body of one is sent.
	hookLimit = 30 * time.Second
)

// hooks takes webhooks, which only have the branch fetched.
type hooks struct {
	estate *gitEstate
	now    func() time.Time

	mu    sync.Mutex
	since time.Time
	count int
}

// hookHandler is nil where none is taken.
func (g *gitEstate) hookHandler() http.Handler {
	if g == nil || g.spec.Webhook == nil {
		return nil
	}
	return &hooks{estate: g, now: Now}
}

// loopback is what is served on the address of health and metrics.
func (p *parts) loopback() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", server.Health(p.platform, metrics(p.platform, p.steps, p.hooks)))
	if handler := p.estates.git.hookHandler(); handler != nil {
		mux.Handle(hookPath, handler)
	}
	for _, hook := range p.hooks {
		mux.Handle("POST /hooks/"+hook.spec.Name, hook)
	}
	return mux
}

// room reports whether another one may be read now.
func (h *hooks) room() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); now.Sub(h.since) >= hooksIn || now.Before(h.since) {
		h.since, h.count = now, 0
	}
	h.count++
	return h.count <= hooksEach
}

// ServeHTTP implements http.Handler.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(status int, text string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text+"\n")
	}
	if !h.room() {
		w.Header().Set("Retry-After", "60")
		say(http.StatusTooManyRequests, "too many; the branch is fetched every so often anyway")
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(h.now().Add(hookLimit)) // a recorder of tests has none
	shared, err := h.estate.hookSecret()
	if err != nil {
		h.estate.parts.log.Error("reading the secret of the webhook", "error", err)
		say(http.StatusInternalServerError, "the secret cannot be read")
		return
	}
	switch err := git.Hooked(r.Header, r.Body, shared); {
	case err == nil:
		wake(h.estate.woken)
		say(http.StatusAccepted, "the branch is fetched")
	case errors.Is(err, git.ErrHookTooLarge):
		say(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, git.ErrHookUnsigned):
		say(http.StatusUnauthorized, err.Error())
	default:
		say(http.StatusBadRequest, "the request was not sent whole")
	}
}
