// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// gateway passes requests on to the server as they came, and holds those that change something until it is told.
type gateway struct {
	r       *rig
	arrived chan struct{} // one for each request held
	release chan struct{}
	answers chan answer
}

// ServeHTTP passes a request on even when whoever sent it has gone.
func (g *gateway) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	changes := request.Method != http.MethodGet
	if changes {
		g.arrived <- struct{}{}
		<-g.release
	}
	on, err := http.NewRequest(request.Method, g.r.server.URL()+request.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return
	}
	on.Header, on.Host = request.Header.Clone(), request.Host
	client, err := transport.Client(g.r.server.CACertificate)
	if err != nil {
		return
	}
	response, err := client.Do(on)
	if err != nil {
		return
	}
	defer response.Body.Close()
	back, _ := io.ReadAll(response.Body) // what is cut short shows as another answer
	if changes {
		g.answers <- answer{transport.Answer{Status: response.StatusCode}, errorCode(back)}
	}
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(back)
}

func testLate(r *rig) {
	// A request is good for as long as its call's deadline, in whole seconds, and the server is asked within it once more.
	upstreamtest.Deadlines(r.T, 3*time.Second, func(deadline time.Duration) bool { return late(r, deadline) })
}

// late says whether requests were made within the deadline.
func late(r *rig, deadline time.Duration) (inTime bool) {
	r.Helper()
	g := &gateway{r: r, arrived: make(chan struct{}, 1), release: make(chan struct{}), answers: make(chan answer, 1)}
	server := httptest.NewServer(g)
	r.Cleanup(server.Close)
	config := r.config()
	direct := r.open(config)
	first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})
	config.Server.Endpoint, config.CallDeadline = server.URL, deadline
	slow := r.open(config)
	candidate, err := slow.Propose(r.Context(), first)
	if err != nil {
		r.Fatal(err)
	}
	for _, late := range []struct {
		name string
		call func() error
	}{
		{"Apply", func() error { _, err := slow.Apply(r.Context(), "run-2", first, candidate); return err }},
		{"Revoke", func() error { return slow.Revoke(r.Context(), "run-2", first, candidate) }},
	} {
		err := late.call()
		if len(g.arrived) == 0 {
			close(g.release) // should it come yet
			return false
		}
		if err == nil || errors.Is(err, upstream.ErrNotApplied) {
			r.Fatalf("%s without an answer: got %v, want an ambiguous error", late.name, err)
		}
		<-g.arrived
		g.release <- struct{}{} // the deadline has passed; now the request goes on its way
		if a := <-g.answers; a.code != codeSkewed {
			r.Errorf("%s that arrived late: got %d %s, want %s", late.name, a.Status, a.code, codeSkewed)
		}
		upstreamtest.Is(r, direct, upstream.Accepted, first, late.name+": the current key")
		upstreamtest.Is(r, direct, upstream.Refused, candidate, late.name+": the late candidate")
	}
	go func() { g.release <- struct{}{} }()
	if _, err := slow.Apply(r.Context(), "run-2", first, candidate); err != nil {
		r.Logf("Apply in time, the same way: %v", err)
		return false
	}
	upstreamtest.Is(r, direct, upstream.Accepted, candidate, "the candidate that came in time")
	return true
}

// newAuthority is a certificate that vouches for another server.
func newAuthority(t *testing.T) string {
	t.Helper()
	other := httptest.NewTLSServer(nil)
	t.Cleanup(other.Close)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}))
}
