// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"

	"github.com/google/go-cmp/cmp"
)

// heard is a server that answers each line, and remembers them.
type heard struct {
	mu    sync.Mutex
	lines []string
	// slow is how long each line takes to be heard.
	slow time.Duration
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.lines...)
}

func (h *heard) serve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					time.Sleep(h.slow)
					h.mu.Lock()
					h.lines = append(h.lines, lines.Text())
					h.mu.Unlock()
					if _, err := fmt.Fprintln(conn, "ok "+lines.Text()); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// ask says each line over one connection and returns the answers, as far as there are any.
func ask(t *testing.T, address string, lines ...string) []string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil
	}
	defer conn.Close()
	var answers []string
	replies := bufio.NewScanner(conn)
	for _, line := range lines {
		if _, err := fmt.Fprintln(conn, line); err != nil || !replies.Scan() {
			return answers
		}
		answers = append(answers, replies.Text())
	}
	return answers
}

// Replies are lost from some point on while requests still arrive; so what a caller was not told has happened.
func TestProxyCutsReplies(t *testing.T) {
	server := &heard{}
	proxy := realparts.NewProxy(t, server.serve(t))
	for replies := range 3 {
		proxy.Cut(replies)
		said := []string{fmt.Sprintf("%d-a", replies), fmt.Sprintf("%d-b", replies), fmt.Sprintf("%d-c", replies)}
		var want []string
		for _, line := range said[:replies] {
			want = append(want, "ok "+line)
		}
		if diff := cmp.Diff(want, ask(t, proxy.Address(), said...)); diff != "" {
			t.Errorf("answers, cut after %d (-want +got):\n%s", replies, diff)
		}
		for !cmp.Equal(last(server.all(), replies+1), said[:replies+1]) { // the requests arrive, though not at once
			pause()
		}
	}
	proxy.Mend()
	if got := ask(t, proxy.Address(), "after"); !cmp.Equal(got, []string{"ok after"}) {
		t.Errorf("mended: got %q", got)
	}
	proxy.Break()
	if got := ask(t, proxy.Address(), "broken"); len(got) != 0 {
		t.Errorf("broken: got %q, want nothing", got)
	}
	proxy.Mend()
	if got := ask(t, proxy.Address(), "again"); !cmp.Equal(got, []string{"ok again"}) {
		t.Errorf("mended again: got %q", got)
	}
	if got := last(server.all(), 2); !cmp.Equal(got, []string{"after", "again"}) {
		t.Errorf("the server heard %q: what was said while broken must not arrive", got)
	}
}

// What is kept back arrives when it may, though its caller has long gone, and others pass meanwhile.
func TestProxyHoldsRequestsBack(t *testing.T) {
	server := &heard{slow: 50 * time.Millisecond}
	proxy := realparts.NewProxy(t, server.serve(t))
	land := proxy.Hold(1)
	conn, err := net.Dial("tcp", proxy.Address())
	if err != nil {
		t.Fatal(err)
	}
	replies := bufio.NewScanner(conn)
	if _, err := fmt.Fprintln(conn, "passes"); err != nil || !replies.Scan() || replies.Text() != "ok passes" {
		t.Fatalf("before it holds: %v, %q", err, replies.Text())
	}
	if _, err := fmt.Fprintln(conn, "late"); err != nil {
		t.Fatal(err)
	}
	// A reply that passes is there within a tenth of a second; on a machine so busy that it is not, nothing is noticed here.
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if replies.Scan() {
		t.Errorf("what is kept back was answered: %q", replies.Text())
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	proxy.Mend()
	if got := ask(t, proxy.Address(), "meanwhile"); !cmp.Equal(got, []string{"ok meanwhile"}) {
		t.Errorf("meanwhile: got %q", got)
	}
	if diff := cmp.Diff([]string{"passes", "meanwhile"}, server.all()); diff != "" {
		t.Errorf("before it lands (-want +got):\n%s", diff)
	}
	if first, again := land(), land(); first != 1 || again != 1 {
		t.Errorf("it is said that %d and %d requests were kept back, want 1", first, again)
	}
	// It is there when land returns.
	want := []string{"passes", "meanwhile", "late"}
	if diff := cmp.Diff(want, server.all()); diff != "" {
		t.Errorf("once it landed (-want +got):\n%s", diff)
	}
	proxy.Hold(0) // what never lands keeps nothing from ending
	lost, err := net.Dial("tcp", proxy.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lost.Close() }()
	if _, err := fmt.Fprintln(lost, "lost"); err != nil {
		t.Fatal(err)
	}
}

func last(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

func pause() { time.Sleep(5 * time.Millisecond) }
