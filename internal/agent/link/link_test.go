// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/agent/hub"
	"custody.dev/custody/internal/agent/identity"
	"custody.dev/custody/internal/agent/link"
	"custody.dev/custody/internal/agent/worker"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/materialize/materializetest"
	"custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/secret"
)

// waiting bounds what a test waits for; it takes milliseconds, and pings a few seconds.
const waiting = time.Minute

// clock is a wall clock that can be wrong.
type clock struct {
	mu   sync.Mutex
	skew time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

func (c *clock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew += by
}

// station is a server with its agents.
type station struct {
	t       *testing.T
	clock   clock
	hub     *hub.Hub
	book    *identity.Book
	address string
	log     *lines

	mu      sync.Mutex
	arrived []string
	changes []identity.Change
}

// lines collect what is logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T) *station { return startAt(t, 0) }

// startAt is start with the server's clock so far ahead of that of its agents.
func startAt(t *testing.T, skew time.Duration) *station {
	t.Helper()
	s := &station{t: t, log: &lines{}}
	s.clock.jump(skew)
	store := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: s.clock.now})
	s.book = &identity.Book{
		Records: store, Now: s.clock.now, Random: rand.Reader,
		Recorded: func(_ context.Context, change identity.Change, do func() error) error {
			s.mu.Lock()
			s.changes = append(s.changes, change)
			s.mu.Unlock()
			return do()
		},
	}
	s.hub = hub.New(s.clock.now, func(machine string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.arrived = append(s.arrived, machine)
	})
	config, err := s.book.ServerTLS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2"}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	serving := (&link.Server{Hub: s.hub, Book: s.book, Log: slog.New(slog.NewTextHandler(s.log, nil)), Patience: brisk}).HTTP()
	serving.RegisterOnShutdown(s.hub.Close)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serving.Serve(tls.NewListener(listener, config))
	}()
	t.Cleanup(func() {
		_ = serving.Shutdown(context.Background())
		<-done
	})
	return s
}

// brisk notices soon that a peer is gone.
var brisk = link.Patience{Quiet: 300 * time.Millisecond, Answering: 2 * time.Second}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *station) invite(machine string) string {
	s.t.Helper()
	token, _, err := s.book.Invite(s.t.Context(), "user ada", machine, "a test", time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func (s *station) enroll(machine string) link.Identity {
	s.t.Helper()
	as, err := link.Enroll(s.t.Context(), s.address, s.invite(machine), newKey(s.t), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return as
}

// run runs an agent over a connection to an address until the test ends or stop is called.
func (s *station) run(as link.Identity, address string, on worker.Machine, now func() time.Time) (stop func()) {
	s.t.Helper()
	name, err := as.Machine()
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := link.Dial(address, as, brisk)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	open, err := client.Session(ctx, "test", now())
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	work, orders := worker.New(name, on, now), make(chan agent.Order)
	var running sync.WaitGroup
	running.Go(func() {
		defer close(orders)
		_ = open.Orders(func(o agent.Order) { orders <- o })
	})
	running.Go(func() { work.Serve(ctx, orders, func(a agent.Answer) { _ = open.Answer(a) }) })
	stop = sync.OnceFunc(func() {
		cancel()
		open.Close()
		running.Wait()
		work.Wait()
		client.Close()
	})
	s.t.Cleanup(stop)
	return stop
}

// shelf is a machine on which every consumer is made by open.
type shelf struct {
	open func(v1alpha1.ConsumerSpec) (materialize.Consumer, error)
}

func (m shelf) Open(spec v1alpha1.ConsumerSpec) (materialize.Consumer, error) { return m.open(spec) }

func (shelf) Leftovers(context.Context, []string) ([]agent.Left, error) { return nil, nil }

func (shelf) Clear(context.Context, string, authority.Versioned) error { return nil }

func spec(machine string) v1alpha1.ConsumerSpec {
	return v1alpha1.ConsumerSpec{Name: "app", Machine: machine, File: &v1alpha1.FileConsumer{Folder: "apps", Path: "app.env", Format: "env"}}
}

// TestConformance runs the suite of consumers over the link, with the adapter that agents use, and with one whose process can be seen.
func TestConformance(t *testing.T) {
	t.Run("File", func(t *testing.T) {
		materializetest.Run(t, func(t *testing.T) materializetest.Fixture {
			s, dir := start(t), t.TempDir()
			made := func() *file.Consumer {
				c, err := file.New(file.Config{
					Name: "app", Folder: dir, Path: "app.env", Format: format.Env, Reader: format.Systemd, VersionKey: "APP_VERSION",
					UID: durable.Keep, GID: durable.Keep, Clock: s.clock.now,
				})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			layout := format.Layout{Format: format.Env, Reader: format.Systemd, VersionKey: "APP_VERSION"}
			s.run(s.enroll("web-1"), s.address, shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) { return made(), nil }}, s.clock.now)
			over := func() *hub.Consumer { return s.hub.Consumer(spec("web-1"), made().Highest(), made().Fits) }
			at := filepath.Join(dir, "app.env")
			return materializetest.Fixture{
				Consumer: over(), Unfit: materializetest.Unfit(t),
				Reopen: func(*testing.T) materialize.Consumer { return over() },
				Holds: func(t *testing.T, v authority.Versioned) bool {
					want, err := layout.Render(v.Value, v.ID.String())
					if err != nil {
						t.Fatal(err)
					}
					held, err := os.ReadFile(at)
					return err == nil && bytes.Equal(held, want)
				},
				Drift: func(t *testing.T) {
					if err := os.WriteFile(at, []byte("from elsewhere\n"), 0o600); err != nil {
						t.Fatal(err)
					}
				},
				Outside: func(*testing.T) []string { return []string{s.log.String()} },
			}
		})
	})
	t.Run("Process", func(t *testing.T) {
		materializetest.Run(t, func(t *testing.T) materializetest.Fixture {
			s, unfit := start(t), materializetest.Unfit(t)
			at := &clock{}
			fits := func(v secret.Value) error {
				if v.Equal(unfit) {
					return errors.New("it has no form for that")
				}
				return nil
			}
			held := memory.New(memory.Config{Name: "app", ReloadDelay: time.Minute, Unfit: fits, Clock: at.now})
			s.run(s.enroll("web-1"), s.address, shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) { return held, nil }}, at.now)
			over := func() *hub.Consumer { return s.hub.Consumer(spec("web-1"), held.Highest(), fits) }
			is := func(of func() (authority.VersionID, secret.Value)) func(*testing.T, authority.Versioned) bool {
				return func(_ *testing.T, v authority.Versioned) bool {
					id, value := of()
					return id == v.ID && value.Equal(v.Value)
				}
			}
			return materializetest.Fixture{
				Consumer: over(), Unfit: unfit,
				Reopen: func(*testing.T) materialize.Consumer { return over() },
				Holds:  is(held.Held), Runs: is(held.Running),
				Reloads:     func(*testing.T) int { return held.Reloads() },
				FailReloads: func(_ *testing.T, fail bool) { held.FailReloads(fail) },
				Settle:      func(*testing.T) { at.jump(time.Hour) },
				Drift: func(t *testing.T) {
					other, err := secret.Text(map[string]string{"value": "other"})
					if err != nil {
						t.Fatal(err)
					}
					held.Tamper(other)
				},
				Outside: func(*testing.T) []string { return []string{s.log.String()} },
			}
		})
	})
}

// soon waits until is says so.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > waiting {
			t.Fatalf("not after %s: %s", waiting, what)
		}
	}
}

func refusedWith(t *testing.T, err error, text string) {
	t.Helper()
	refused, is := errors.AsType[*identity.Refused](err)
	if !is || !strings.Contains(refused.Why, text) || refused.Next == "" {
		t.Errorf("got %v, want it refused because %q, with what to do", err, text)
	}
}

func TestTokenIsGoodForOneKey(t *testing.T) {
	s := start(t)
	token, key := s.invite("web-1"), newKey(t)
	for range 2 { // the answer to the first may be lost
		as, err := link.Enroll(t.Context(), s.address, token, key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if name, err := as.Machine(); name != "web-1" || err != nil {
			t.Errorf("got a certificate for %q, %v", name, err)
		}
	}
	_, err := link.Enroll(t.Context(), s.address, token, newKey(t), rand.Reader)
	refusedWith(t, err, "used already")
	var steps []string
	for _, change := range s.changes {
		steps = append(steps, change.Step+" "+change.Machine)
	}
	if got := strings.Join(steps, ", "); got != "agent-invited web-1, agent-enrolled web-1" {
		t.Errorf("got on record: %s", got)
	}
}

func TestTokenThatIsNotGood(t *testing.T) {
	s := start(t)
	old := s.invite("web-1")
	newer := s.invite("web-1")
	_, err := link.Enroll(t.Context(), s.address, old, newKey(t), rand.Reader)
	refusedWith(t, err, "replaced")
	s.clock.jump(2 * time.Hour)
	_, err = link.Enroll(t.Context(), s.address, newer, newKey(t), rand.Reader)
	refusedWith(t, err, "not good any more")
	for _, broken := range []string{"", "custody-agent.web-1", strings.Replace(newer, "custody", "other", 1), newer + "00"} {
		if _, err := link.Enroll(t.Context(), s.address, broken, newKey(t), rand.Reader); err == nil {
			t.Errorf("got no error from the token %q", broken)
		}
	}
	other := start(t) // at whose address somebody else's server answers
	if _, err := link.Enroll(t.Context(), other.address, newer, newKey(t), rand.Reader); err == nil || !strings.Contains(err.Error(), "of another platform than the token") {
		t.Errorf("got %v from the server of another platform", err)
	}
}

func TestRevokedMachineIsCutOff(t *testing.T) {
	s := start(t)
	as := s.enroll("web-1")
	s.run(as, s.address, shelf{}, s.clock.now)
	session, _ := s.hub.At("web-1")
	if session == nil {
		t.Fatal("the agent is not connected")
	}
	if had, err := s.book.Revoke(t.Context(), "user ada", "web-1", "lost"); !had || err != nil {
		t.Fatalf("got %t, %v from revoking", had, err)
	}
	session.End() // as the server does on it
	client, err := link.Dial(s.address, as, brisk)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Session(t.Context(), "test", s.clock.now())
	refusedWith(t, err, "was revoked")
	_, err = client.Renew(t.Context(), as)
	refusedWith(t, err, "was revoked")
	if had, err := s.book.Revoke(t.Context(), "user ada", "web-1", "again"); had || err != nil {
		t.Errorf("got %t, %v from revoking again, want nothing to revoke", had, err)
	}
	again := s.enroll("web-1")
	s.run(again, s.address, shelf{}, s.clock.now)
	_, err = client.Session(t.Context(), "test", s.clock.now())
	refusedWith(t, err, "another key")
}

func TestNoCertificateNoSession(t *testing.T) {
	s := start(t)
	as := s.enroll("web-1")
	elsewhere := start(t).enroll("web-1")
	mixed := link.Identity{Chain: [][]byte{elsewhere.Chain[0], as.Chain[1]}, Key: elsewhere.Key}
	client, err := link.Dial(s.address, mixed, brisk)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Session(t.Context(), "test", s.clock.now()); err == nil {
		t.Error("a certificate of another platform began a session")
	}
}

func TestCertificateEndsAndIsRenewed(t *testing.T) {
	s := start(t)
	as := s.enroll("web-1")
	dial := func(as link.Identity) (*link.Session, error) {
		client, err := link.Dial(s.address, as, brisk)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		open, err := client.Session(t.Context(), "test", s.clock.now())
		if err == nil {
			t.Cleanup(open.Close)
		}
		return open, err
	}
	if open, err := dial(as); err != nil || open.Renew {
		t.Fatalf("got %v with a new certificate; renew %t", err, open != nil && open.Renew)
	}
	s.clock.jump(identity.Lifetime / 2)
	open, err := dial(as)
	if err != nil || !open.Renew {
		t.Fatalf("got %v half-way; want it told to renew", err)
	}
	client, err := link.Dial(s.address, as, brisk)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := client.Renew(t.Context(), as)
	client.Close()
	if err != nil {
		t.Fatal(err)
	}
	s.clock.jump(identity.Lifetime * 3 / 4)
	if _, err := dial(as); err == nil {
		t.Error("a certificate counts after its time")
	}
	if open, err := dial(renewed); err != nil || !open.Renew {
		t.Errorf("got %v with the renewed certificate", err)
	}
}

// TestWrongClockHarmsNobody: an agent whose clock is a year off connects, delivers and proves, and its proofs are of now.
func TestWrongClockHarmsNobody(t *testing.T) {
	for name, skew := range map[string]time.Duration{"behind": -400 * 24 * time.Hour, "ahead": 400 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := startAt(t, -skew)
			wrong := &clock{}
			held := memory.New(memory.Config{Name: "app", Clock: wrong.now})
			s.run(s.enroll("web-1"), s.address, shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) { return held, nil }}, wrong.now)
			c := s.hub.Consumer(spec("web-1"), materialize.Rolled, func(secret.Value) error { return nil })
			v := materializetest.Version(t, "a", "r", 1)
			if err := c.Deliver(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			proof, err := c.Prove(t.Context(), v)
			if err != nil || proof.Version != v.ID || s.clock.now().Sub(proof.At).Abs() > waiting {
				t.Errorf("got %+v, %v; want it proven about now", proof, err)
			}
			session, _ := s.hub.At("web-1")
			if off := session.Skew - skew; off.Abs() > waiting {
				t.Errorf("got a clock that is wrong by %s, want %s", session.Skew, skew)
			}
		})
	}
}

// pipe carries bytes between agents and the server until it is cut, after which it takes all and gives nothing.
type pipe struct {
	net.Listener
	mu  sync.Mutex
	cut bool
}

func newPipe(t *testing.T, to string) *pipe {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pipe{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	carry := func(from, to net.Conn) {
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			p.mu.Lock()
			cut := p.cut
			p.mu.Unlock()
			if n > 0 && !cut {
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(near, far)
			go carry(far, near)
		}
	}()
	return p
}

func (p *pipe) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// TestPartitionedAgentIsAway: it is noticed by pings, whoever waits is told, and nothing is proved until it is back.
func TestPartitionedAgentIsAway(t *testing.T) {
	s := start(t)
	as, between := s.enroll("web-1"), newPipe(t, s.address)
	held := memory.New(memory.Config{Name: "app", Clock: s.clock.now})
	on := shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) { return held, nil }}
	s.run(as, between.Addr().String(), on, s.clock.now)
	c := s.hub.Consumer(spec("web-1"), materialize.Rolled, func(secret.Value) error { return nil })
	v := materializetest.Version(t, "a", "r", 1)
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	between.set(true)
	err := c.Deliver(t.Context(), materializetest.Version(t, "a", "s", 2)) // its caller waits for longer than pings do
	if away, is := errors.AsType[*hub.AwayError](err); !is || away.Since.IsZero() {
		t.Errorf("got %v from delivering to a machine that is cut off, want that it is away, and since when", err)
	}
	proof, err := c.Prove(t.Context(), v)
	if err != nil || proof.Level != materialize.None || !strings.Contains(proof.Missing, "machine web-1") {
		t.Errorf("got %+v, %v from a machine that is cut off, want no proof and who is missing", proof, err)
	}
	between.set(false)
	s.run(as, s.address, on, s.clock.now)
	if proof, err := c.Prove(t.Context(), v); err != nil || proof.Level == materialize.None {
		t.Errorf("got %+v, %v once it is back", proof, err)
	}
}

// TestOrdersOfAnotherMachineAreRefused: an agent carries out what is for itself alone.
func TestOrdersOfAnotherMachineAreRefused(t *testing.T) {
	work := worker.New("web-1", shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) {
		return nil, errors.New("it was opened")
	}}, time.Now)
	answer := work.Do(t.Context(), agent.Order{ID: 7, Verb: agent.Deliver, Consumer: spec("web-2"), Version: materializetest.Version(t, "a", "r", 1)})
	if answer.ID != 7 || !strings.Contains(answer.Error, "for machine web-2") {
		t.Errorf("got %+v", answer)
	}
}

// TestNewerSessionTakesOver: a machine has one session; whoever waited on the one before is told, and asks again.
func TestNewerSessionTakesOver(t *testing.T) {
	s := start(t)
	as := s.enroll("web-1")
	stuck := make(chan struct{})
	s.run(as, s.address, shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) {
		<-stuck
		return nil, errors.New("too late")
	}}, s.clock.now)
	c := s.hub.Consumer(spec("web-1"), materialize.Rolled, func(secret.Value) error { return nil })
	told := make(chan error, 1)
	go func() { told <- c.Deliver(context.Background(), materializetest.Version(t, "a", "r", 1)) }()
	held := memory.New(memory.Config{Name: "app", Clock: s.clock.now})
	s.run(as, s.address, shelf{func(v1alpha1.ConsumerSpec) (materialize.Consumer, error) { return held, nil }}, s.clock.now)
	select {
	case err := <-told:
		if away, is := errors.AsType[*hub.AwayError](err); err != nil && !is {
			t.Errorf("got %v, %v", err, away)
		}
	case <-time.After(waiting):
		t.Error("whoever waited on the session before was not told")
	}
	close(stuck)
	if err := c.Deliver(t.Context(), materializetest.Version(t, "a", "r", 1)); err != nil {
		t.Errorf("got %v over the newer session", err)
	}
	soon(t, "two arrivals", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.arrived) == 2
	})
}
