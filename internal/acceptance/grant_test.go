// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// listener counts who connects, and hangs up.
func listener(t *testing.T) (port int, connected *atomic.Int64) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	connected = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connected.Add(1)
			_ = c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, connected
}

// TestNoPacketLeavesUnlessGranted: whoever writes to the estate pointed an upstream at a listener of theirs, and was sent the
// admin credential; and had an upstream opened with another team's secret.
func TestNoPacketLeavesUnlessGranted(t *testing.T) {
	t.Parallel()
	r := newRig(t, "50ms", alone, func(s *setup) { s.sparing = true })
	port, connected := listener(t)
	other, diverted := listener(t)
	documents := func(port int) {
		r.write("estate/cache.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Upstream
metadata: {name: cache}
spec:
  adminRef: mail-password
  redis: {host: 127.0.0.1, port: %d, tls: disable}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: cache-user}
spec:
  purpose: Lets another team use a cache
  owner: {team: others, contact: others@example.org}
  class: runtime
  path: cache/user
  origin: {generated: {type: password}}
  rotation: {policyRef: monthly, upstreamRef: cache, redis: {mode: dual, user: app}}
`, port))
	}
	documents(port)
	r.grants(grant.Grant{Kind: grant.Recipient, Of: grant.Root, To: r.rootKey.Public()},
		grant.Grant{Kind: grant.Recipient, Of: "production", To: r.bootstrapKey.Public()})
	r.serve()
	waits := func(what string) {
		t.Helper()
		eventually(t, "cache-user to wait for a grant of "+what, func() bool {
			waiting := r.row("cache-user").Waiting
			return waiting.Is(reason.GrantMissing) && strings.Contains(waiting.Args["what"], what)
		})
	}
	// The others go on: only what asks is held.
	waits("127.0.0.1:")
	eventually(t, "the other secrets to be delivered", func() bool {
		return r.row("mail-password").State == "steady" && r.row("session-token").State == "steady"
	})
	address := fmt.Sprintf("127.0.0.1:%d without TLS", port)
	if got := r.run("rotate", "cache-user", "--reason", "now"); got.code != server.Exit(&server.Problem{Class: server.Refused}) || !strings.Contains(got.err, "nobody has granted that") {
		t.Errorf("rotating it: exit code %d\n%s", got.code, got.err)
	}
	if diagnosis, err := r.client.Doctor(context.Background()); err != nil || len(diagnosis.Violations) > 0 {
		t.Errorf("doctor: %v, %v", diagnosis.Violations, err)
	}

	// One end alone is not enough.
	endpoint := grant.Grant{Kind: grant.Endpoint, Of: "cache", To: address}
	reader := grant.Grant{Kind: grant.Reader, Of: "mail-password", To: "upstream/cache"}
	r.allow(endpoint)
	waits("the value of mail-password is read by upstream/cache")
	if n := connected.Load(); n > 0 {
		t.Fatalf("%d connections before both ends were granted", n)
	}
	r.allow(reader)
	eventually(t, "the granted server to be asked", func() bool { return connected.Load() > 0 })
	record := r.ok("audit", "log", "--secret", "mail-password")
	if !strings.Contains(record, "reader of mail-password: upstream/cache") || !strings.Contains(record, "acceptance test") {
		t.Errorf("the grant is not on record:\n%s", record)
	}

	// Another address is another endpoint.
	documents(other)
	waits(fmt.Sprintf("127.0.0.1:%d", other))
	if n := diverted.Load(); n > 0 {
		t.Errorf("%d connections to an address that nobody granted", n)
	}

	// What is taken back holds again.
	documents(port)
	eventually(t, "the granted server to be asked again", func() bool { return !r.row("cache-user").Waiting.Is(reason.GrantMissing, reason.UpstreamNotGranted) })
	if _, err := r.client.Revoke(context.Background(), "no more", []grant.Grant{reader}); err != nil {
		t.Fatal(err)
	}
	waits("the value of mail-password is read by upstream/cache")
}

func (r *rig) allow(grants ...grant.Grant) {
	r.t.Helper()
	if _, err := r.client.Grant(context.Background(), "acceptance test", grants); err != nil {
		r.t.Fatal(err)
	}
}
