// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// held listens before the server and keeps each message that sets a password back until released. What the client sent is
// delivered even after the client has gone, and the server is not told that it has.
func held(t *testing.T, server string, reached chan<- struct{}, release <-chan struct{}, delivered chan<- struct{}) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(client, server) }()
				buffer := make([]byte, 1<<16)
				for {
					n, err := client.Read(buffer)
					if bytes.Contains(buffer[:n], []byte(", 'ALTER USER ")) {
						reached <- struct{}{}
						<-release
						_, _ = server.Write(buffer[:n])
						// The answer comes, or the server has closed the session: either way it is done with the message.
						_, _ = server.Read(make([]byte, 1))
						delivered <- struct{}{}
						return
					}
					if _, failed := server.Write(buffer[:n]); failed != nil || err != nil {
						return
					}
				}
			}()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func TestLateMessageLandsNowhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MariaDBOptions{Settings: loud(nil)})
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Dual, upstream.Overwrite} {
		upstreamtest.Deadlines(t, time.Second, func(deadline time.Duration) bool {
			config := r.config(mode)
			direct := r.open(config)
			first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})
			reached, release, delivered := make(chan struct{}, 9), make(chan struct{}), make(chan struct{}, 9)
			slow := config
			slow.Server.Port = held(t, net.JoinHostPort(r.server.Host, strconv.Itoa(r.server.Port)), reached, release, delivered)
			slow.CallDeadline = deadline
			u := r.open(slow)
			candidate, err := u.Propose(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			before := r.held(users(config)...)
			_, err = u.Apply(t.Context(), "run-2", first, candidate)
			close(release) // the deadline has passed; now the message goes on its way
			if len(reached) == 0 {
				return false
			}
			if err == nil || errors.Is(err, upstream.ErrNotApplied) {
				t.Fatalf("%s: no answer to the change: got %v, want an ambiguous error", mode, err)
			}
			<-delivered
			upstreamtest.Is(r, direct, upstream.Accepted, first, string(mode)+": the current credential")
			upstreamtest.Is(r, direct, upstream.Refused, candidate, string(mode)+": the late candidate")
			if after := r.held(users(config)...); len(after) != len(before) {
				t.Errorf("%s: the server honours %v, before %v", mode, after, before)
			}
			upstreamtest.Is(r, direct, upstream.Accepted, upstreamtest.Issue(r, direct, "run-3", first), string(mode)+": the next run's")
			return true
		})
	}
}

// The server ends a change that waits, here for a backup's lock, at the deadline: also when nobody waits for its answer.
func TestWaitingEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.MariaDBOptions{})
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Overwrite} { // whose first message is the one that matters
		config := r.config(mode)
		config.Server.MarkerTable = "" // or writing the marker is what waits
		direct := r.open(config)
		first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})
		passed, delivered := make(chan struct{}), make(chan struct{}, 9)
		close(passed)
		config.Server.Port = held(t, net.JoinHostPort(r.server.Host, strconv.Itoa(r.server.Port)), make(chan struct{}, 9), passed, delivered)
		config.CallDeadline = 1500 * time.Millisecond
		u := r.open(config)
		candidate, err := u.Propose(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		backup, done, err := r.server.Connect(t.Context(), r.server.Admin, "backup")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backup.ExecContext(t.Context(), "FLUSH TABLES WITH READ LOCK"); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Apply(t.Context(), "run-2", first, candidate); err == nil {
			t.Errorf("%s: a change that could not be made succeeded", mode)
		}
		for waiting := "1"; waiting != "0"; { // the server's own list says when the statement is over; the lock lasts
			waiting = r.sql("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'custody_admin' AND COMMAND <> 'Sleep'")[0]
		}
		done() // which releases the lock
		upstreamtest.Is(r, direct, upstream.Accepted, first, string(mode)+": the current credential")
		upstreamtest.Is(r, direct, upstream.Refused, candidate, string(mode)+": the candidate that waited too long")
	}
}

func TestRunsWaitForEachOther(t *testing.T) {
	r := newRig(t, realparts.MariaDBOptions{})
	config := r.config(upstream.Dual)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	const rivals = 4
	results := make(chan error, rivals)
	for range rivals {
		go func() {
			candidate, err := u.Propose(t.Context(), first)
			if err == nil {
				_, err = u.Apply(t.Context(), "run-2", first, candidate)
			}
			results <- err
		}()
	}
	for range rivals {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	upstreamtest.Is(r, u, upstream.Accepted, first, "the current credential")
}
