// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"testing"

	"custody.dev/custody/internal/transport"
)

// A server that offers no STARTTLS says so by leaving it out: the library's error for it has no type.
func TestServerWithoutStartTLSIsNamed(t *testing.T) {
	for offer, without := range map[string]bool{"250 SIZE": true, "250 STARTTLS": false} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, "220 mail.example.org ESMTP\r\n")
			_, _ = conn.Read(make([]byte, 512)) // EHLO
			_, _ = fmt.Fprint(conn, "250-mail.example.org\r\n"+offer+"\r\n")
			_, _ = conn.Read(make([]byte, 512)) // STARTTLS, or nothing more
			_, _ = fmt.Fprint(conn, "454 TLS not available\r\n")
			_ = conn.Close()
		}()
		u := &Upstream{Config: Config{Submission: Submission{Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port}}, tls: &tls.Config{MinVersion: tls.VersionTLS12}}
		if _, err := u.connect(t.Context()); errors.Is(err, transport.ErrNoTLS) != without {
			t.Errorf("%s: got %v", offer, err)
		}
	}
}
