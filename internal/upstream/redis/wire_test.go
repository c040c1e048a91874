// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/redis"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// wire is a way to the server that keeps what the client sends, and holds the message with word back until release. What
// was sent arrives even after the client has gone.
type wire struct {
	word    string
	reached chan struct{}
	release chan struct{}
	landed  chan struct{}

	mu   sync.Mutex
	sent bytes.Buffer
}

func (w *wire) listen(t *testing.T, server string) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	w.reached, w.release, w.landed = make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go w.pass(client, server)
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func (w *wire) pass(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	answered := make(chan struct{}, 1000)
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				_ = client.Close()
				return
			}
			answered <- struct{}{}
			_, _ = client.Write(buffer[:n])
		}
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.sent.Write(buffer[:n])
		w.mu.Unlock()
		held := w.word != "" && bytes.Contains(buffer[:n], []byte(w.word))
		if held {
			close(w.reached)
			<-w.release
			for len(answered) > 0 {
				<-answered
			}
		}
		_, _ = server.Write(buffer[:n])
		if held {
			<-answered
			close(w.landed)
			return
		}
	}
}

// A call that outlived its deadline lands in the end. Whatever Custody changed meanwhile makes the server refuse it.
func TestLateCallLandsNowhere(t *testing.T) {
	r := newRig(t, 1, realparts.RedisOptions{})
	for _, mode := range modes {
		for _, test := range []struct {
			name string
			// meanwhile happens while the call of run-2 is on its way.
			meanwhile func(u upstream.Upstream, first, candidate secret.Value)
			want      upstream.Verdict
		}{
			{"a later run", func(u upstream.Upstream, first, _ secret.Value) {
				upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-3", first), "the later run's")
			}, upstream.Refused},
			{"the run is undone", func(u upstream.Upstream, first, candidate secret.Value) {
				if err := u.Revoke(t.Context(), "run-2", candidate, first); err != nil {
					t.Error(err)
				}
			}, upstream.Refused},
			{"nothing", func(upstream.Upstream, secret.Value, secret.Value) {}, upstream.Accepted},
		} {
			config := r.config(mode)
			direct := r.open(config)
			zeroth := upstreamtest.Issue(r, direct, "run-0", secret.Value{})
			first := upstreamtest.Issue(r, direct, "run-1", zeroth) // both users of a pair exist
			slow := config
			candidate, err := direct.Propose(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			w := &wire{word: "#" + sum(candidate)}
			slow.Server.Port = w.listen(t, fmt.Sprintf("%s:%d", config.Server.Host, config.Server.Port))
			ctx, giveUp := context.WithCancel(t.Context())
			go func() {
				<-w.reached
				giveUp()
			}()
			if _, err = r.open(slow).Apply(ctx, "run-2", first, candidate); err == nil || errors.Is(err, upstream.ErrNotApplied) {
				t.Fatalf("%s, %s: no answer to the change: got %v, want an ambiguous error", mode, test.name, err)
			}
			<-w.reached
			test.meanwhile(direct, first, candidate)
			close(w.release)
			<-w.landed
			upstreamtest.Is(r, direct, test.want, candidate, fmt.Sprintf("%s, overtaken by %s: the late candidate", mode, test.name))
			upstreamtest.Is(r, direct, upstream.Accepted, first, fmt.Sprintf("%s, overtaken by %s: the current credential", mode, test.name))
		}
	}
}

func TestPasswordIsNotSentToBeSet(t *testing.T) {
	r := newRig(t, 1, realparts.RedisOptions{})
	for _, mode := range modes {
		config := r.config(mode)
		w := &wire{}
		config.Server.Port = w.listen(t, fmt.Sprintf("%s:%d", config.Server.Host, config.Server.Port))
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		second := upstreamtest.Issue(r, u, "run-2", first)
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Fatal(err)
		}
		sent := func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.sent.String()
		}
		if !strings.Contains(sent(), sum(second)) || !strings.Contains(sent(), r.admin.ExposeText("password")) {
			t.Errorf("%s: the digest or the admin's own sign-in were never sent: the search proves nothing", mode)
		}
		for _, v := range []secret.Value{first, second} {
			if strings.Contains(sent(), v.ExposeText("password")) {
				t.Errorf("%s: a password was sent to be set", mode)
			}
		}
	}
}

func TestUsersOutliveARestart(t *testing.T) {
	for _, test := range []struct {
		options realparts.RedisOptions
		persist redis.Persist
		want    upstream.Verdict
	}{
		{realparts.RedisOptions{}, redis.ACLFile, upstream.Accepted},
		{realparts.RedisOptions{NoACLFile: true}, redis.ConfigFile, upstream.Accepted},
		{realparts.RedisOptions{NoConfigFile: true}, redis.None, upstream.Refused},
	} {
		for _, mode := range modes {
			r := newRig(t, 1, test.options)
			config := r.config(mode)
			config.Persist = test.persist
			u := r.open(config)
			v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
			if err := r.servers[0].Stop(); err != nil {
				t.Fatal(err)
			}
			if err := r.servers[0].Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			upstreamtest.Is(r, u, test.want, v, fmt.Sprintf("%s, %s: after a restart", mode, test.persist))
		}
	}
	for _, persist := range []redis.Persist{redis.ACLFile, redis.ConfigFile} {
		r := newRig(t, 1, realparts.RedisOptions{NoConfigFile: true})
		config := r.config(upstream.Dual)
		config.Persist = persist
		r.do("ACL", "SETUSER", "custody_admin", "+config|rewrite")
		r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "a server that cannot persist by "+string(persist))
	}
}

func TestNodesMustAgree(t *testing.T) {
	r := newRig(t, 2, realparts.RedisOptions{})
	for _, mode := range modes {
		config := r.config(mode)
		gate := realparts.NewProxy(t, config.Server.Nodes[0])
		config.Server.Nodes = []string{gate.Address()}
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		gate.Break()
		r.refused(u, upstream.ErrNotApplied, first, "a node is down")
		upstreamtest.Is(r, u, upstream.Unknown, first, "a node is down")
		gate.Mend()
		// A change that reached one node alone.
		one := config
		one.Server.Nodes = nil
		half, err := u.Propose(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.open(one).Apply(t.Context(), "run-2", first, half); err != nil {
			t.Fatal(err)
		}
		var said *upstream.Error
		got, err := u.Verify(t.Context(), half)
		if got != upstream.Unknown || !errors.As(err, &said) || said.Hint() == "" || !strings.Contains(err.Error(), gate.Address()) {
			t.Errorf("%s: nodes that disagree: got %s (%v), want Unknown that names them", mode, got, err)
		}
		if _, err := u.Apply(t.Context(), "run-2", first, half); err != nil {
			t.Errorf("%s: applying again: %v", mode, err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, half, string(mode)+": the candidate, applied again")
		if err := r.open(one).Revoke(t.Context(), "run-2", half, first); err != nil {
			t.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Unknown, half, string(mode)+": the candidate, undone at one node")
		if err := u.Revoke(t.Context(), "run-2", half, first); err != nil {
			t.Errorf("%s: undoing again: %v", mode, err)
		}
		upstreamtest.Is(r, u, upstream.Refused, half, string(mode)+": the candidate, undone again")
		upstreamtest.Is(r, u, upstream.Accepted, first, string(mode)+": the current credential")
	}
	// Nodes that lose their rights between the look and the change leave no claim that nothing happened.
	config := r.config(upstream.Dual)
	if _, err := r.servers[1].Do(context.WithoutCancel(t.Context()), "ACL", "SETUSER", "custody_admin", "-acl|setuser"); err != nil {
		t.Fatal(err)
	}
	u := r.open(config)
	candidate, err := u.Propose(t.Context(), secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, candidate); err == nil || errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("the second node refuses: got %v, want an ambiguous error", err)
	}
}

// The second node is taken by a later run once the first is changed: nothing says that nothing was changed.
func TestNodeIsTakenHalfway(t *testing.T) {
	r := newRig(t, 2, realparts.RedisOptions{})
	config := r.config(upstream.Dual)
	second := realparts.NewProxy(t, config.Server.Nodes[0])
	there := config
	there.Server.Port, there.Server.Nodes = r.servers[1].Port, nil
	config.Server.Nodes = []string{second.Address()}
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	candidate := upstreamtest.Issue(r, u, "run-2", first)
	land := second.Hold(3) // signing in, looking, saving
	defer land()
	failed := make(chan error, 1)
	go func() { failed <- u.Revoke(t.Context(), "run-2", candidate, first) }()
	here := config
	here.Server.Nodes = nil
	for {
		verdict, err := r.open(here).Verify(t.Context(), candidate)
		if verdict == upstream.Refused {
			break
		}
		if err != nil {
			t.Fatalf("the first node was not changed: %v", err)
		}
	}
	upstreamtest.Issue(r, r.open(there), "run-3", first)
	land()
	if err := <-failed; err == nil || errors.Is(err, upstream.ErrSuperseded) || errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("got %v, want an ambiguous error", err)
	}
	if err := u.Revoke(t.Context(), "run-2", candidate, first); !errors.Is(err, upstream.ErrSuperseded) {
		t.Errorf("revoking again: got %v, want ErrSuperseded", err)
	}
}
