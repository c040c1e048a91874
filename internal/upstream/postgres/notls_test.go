// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"io"
	"net"
	"testing"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// A server with ssl = off answers N to the request for TLS: the driver's error for it has no type.
func TestServerWithoutTLSIsNamed(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 8)) // SSLRequest
			_, _ = conn.Write([]byte("N"))
			_ = conn.Close()
		}
	}()
	base, err := Server{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port}.connection()
	if err != nil {
		t.Fatal(err)
	}
	_, err = connect(t.Context(), base, upstreamtest.Login(t, "app", "unused"))
	if err == nil || unanswered(err).Detail != upstream.WithoutTLS {
		t.Errorf("got %v", unanswered(err))
	}
}
