// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"bytes"
	"context"
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

// wire is a connection's way to the server, with a hand on it.
type wire struct {
	server string
	// commit is called before the message with COMMIT is passed on, and says whether the reply is passed back.
	commit func() (reply bool)
	// lost is called when a reply came that is not passed back.
	lost func()
}

// listen returns the port at which connections are taken.
func (w *wire) listen(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go w.pass(client)
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
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

// pass carries bytes both ways. What the client sent is delivered even after the client has gone.
func (w *wire) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	silent := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			select {
			case <-silent:
				w.lost()
			default:
				_, _ = client.Write(buffer[:n])
			}
			if err != nil {
				_ = client.Close()
				return
			}
		}
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if bytes.Contains(buffer[:n], []byte("$; COMMIT")) && !w.commit() {
			close(silent)
			defer func() { <-done }()
		}
		_, _ = server.Write(buffer[:n])
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = server.Close()
			} else if tcp, ok := server.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		}
	}
}

func TestLateCommitLandsNowhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
		upstreamtest.Deadlines(t, time.Second, func(deadline time.Duration) bool {
			config := r.config(mode)
			direct := r.open(config)
			first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})

			reached, release := make(chan struct{}), make(chan struct{})
			delivered := make(chan struct{})
			w := &wire{server: net.JoinHostPort(r.server.Host, strconv.Itoa(r.server.Port)), commit: func() bool {
				close(reached)
				<-release
				close(delivered)
				return true
			}}
			slow := config
			slow.Server.Port, slow.CallDeadline = w.listen(t), deadline
			u := r.open(slow)
			candidate, err := u.Propose(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			_, err = u.Apply(t.Context(), "run-2", first, candidate)
			select {
			case <-reached:
			default:
				close(release)
				return false
			}
			if err == nil || errors.Is(err, upstream.ErrNotApplied) {
				t.Fatalf("%s: no answer to COMMIT: got %v, want an ambiguous error", mode, err)
			}
			close(release) // the deadline has passed; now the message goes on its way
			<-delivered
			w.settle(r)
			upstreamtest.Is(r, direct, upstream.Accepted, first, string(mode)+": the current credential")
			upstreamtest.Is(r, direct, upstream.Refused, candidate, string(mode)+": the late candidate")
			upstreamtest.Is(r, direct, upstream.Accepted, upstreamtest.Issue(r, direct, "run-3", first), string(mode)+": the next run's")
			return true
		})
	}
}

// settle waits until no session that came over the wire is left.
func (w *wire) settle(r *rig) {
	r.Helper()
	for r.sql("SELECT count(*), pg_sleep(0.05) FROM pg_stat_activity WHERE usename = 'custody_admin'")[0] != "0" {
		continue
	}
}

func TestLostReplyIsRecovered(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{})
	for _, mode := range []upstream.Capability{upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		direct := r.open(config)
		first := upstreamtest.Issue(r, direct, "run-1", secret.Value{})
		w := &wire{server: net.JoinHostPort(r.server.Host, strconv.Itoa(r.server.Port)), commit: func() bool { return false }}
		lossy := config
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		w.lost = giveUp
		lossy.Server.Port = w.listen(t)
		u := r.open(lossy)
		candidate, err := u.Propose(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = u.Apply(ctx, "run-2", first, candidate); err == nil || errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("%s: got %v, want an ambiguous error", mode, err)
		}
		w.settle(r)
		upstreamtest.Is(r, direct, upstream.Accepted, candidate, string(mode)+": the candidate whose reply was lost")
		if _, err := direct.Apply(t.Context(), "run-2", first, candidate); err != nil {
			t.Errorf("%s: applying it again: %v", mode, err)
		}
		upstreamtest.Is(r, direct, upstream.Accepted, candidate, string(mode)+": the candidate applied again")
	}
}
