// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands before a server and loses what it is told to lose: everything, or the replies from some point on, while
// requests still arrive; or it keeps requests back and delivers them late. It looks at no protocol, so TLS passes
// through it.
type Proxy struct {
	target   string
	listener net.Listener

	mu      sync.Mutex
	down    bool
	cutting bool
	left    int // replies that still pass while cutting
	holding *held
	open    map[net.Conn]bool
	work    sync.WaitGroup

	stopped context.Context
	stop    context.CancelFunc
}

// lostAfter is how long a connection stays open once its replies are lost: the request must arrive, and the caller
// should not have to wait for its own deadline.
const lostAfter = 150 * time.Millisecond

// readTime is how long a server has to answer what was kept back from it, and then to hang up. It does so within
// milliseconds; there are requests that are never answered, such as that to end a session, and they are not waited for long.
const readTime = 5 * time.Second

// NewProxy starts a proxy before target ("host:port") that ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := StartProxy(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// StartProxy starts a proxy on a free loopback port; the caller stops it.
func StartProxy(ctx context.Context, target string) (*Proxy, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: listener, open: map[net.Conn]bool{}}
	p.stopped, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.work.Go(p.accept)
	return p, nil
}

// Address is where to connect: host and port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Port is where to connect on 127.0.0.1.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Break closes every connection and takes no other until Mend.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	p.closeAll()
}

// Cut closes every connection, lets that many replies pass on new ones, and loses every later one; the requests arrive.
// A reply is what one read from the server brings: for a protocol of question and answer, one answer.
func (p *Proxy) Cut(replies int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutting, p.left = true, replies
	p.closeAll()
}

// held are the requests that one Hold keeps back.
type held struct {
	left   int               // requests that still pass
	kept   []<-chan struct{} // of each that did not, what is closed when the server has answered it
	landed chan struct{}     // closed when the others may go on
}

// Hold closes every connection, lets that many requests pass on new ones, and keeps every later one back, even when its
// caller gives up and hangs up; the server learns of that once it has answered. Land delivers what was kept back, each on
// its own connection, waits until the server has answered or hung up, and returns how many requests that were; it may be
// called more than once. Mend ends Hold for later connections alone. A request is what one read from the client brings.
func (p *Proxy) Hold(requests int) (land func() (kept int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &held{left: requests, landed: make(chan struct{})}
	p.holding = h
	p.closeAll()
	release := sync.OnceFunc(func() {
		p.mu.Lock()
		close(h.landed)
		p.mu.Unlock()
		patience := time.NewTimer(readTime)
		defer patience.Stop()
		for _, answered := range h.kept { // there are no more of them
			select {
			case <-answered:
			case <-patience.C:
				return
			case <-p.stopped.Done():
				return
			}
		}
	})
	return func() int {
		release()
		return len(h.kept)
	}
}

// Mend ends Break, Cut and Hold, with fresh connections.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.cutting, p.holding = false, false, nil
	p.closeAll()
}

// Stop ends the proxy and every connection. What is kept back is lost.
func (p *Proxy) Stop() {
	_ = p.listener.Close()
	p.Break()
	p.stop()
	p.work.Wait()
}

func (p *Proxy) closeAll() {
	for conn := range p.open {
		_ = conn.Close()
	}
}

// keep remembers a connection, so that it can be closed; false when nothing may pass.
func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return false
	}
	p.open[conn] = true
	return true
}

func (p *Proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.work.Go(func() { p.carry(conn) })
		}
	}
}

func (p *Proxy) carry(client net.Conn) {
	defer func() { _ = client.Close() }()
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	h := p.holder()
	var dialer net.Dialer
	server, err := dialer.DialContext(p.stopped, "tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if h == nil { // else it outlives what is closed here
		if !p.keep(server) {
			return
		}
		defer p.drop(server)
	} else {
		defer context.AfterFunc(p.stopped, func() { _ = server.Close() })()
	}
	late := make(chan struct{})
	var requests sync.WaitGroup
	requests.Go(func() { p.forward(client, server, h, late) })
	p.answer(client, server, h, late)
	if h == nil {
		_ = client.Close()
	}
	requests.Wait()
}

// holder is the Hold under which a connection begins, nil for none.
func (p *Proxy) holder() *held {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holding
}

// forward brings requests to the server. One that is kept back is delivered when it may land. That the client has hung up
// is told behind it, once the server has answered late: there are servers that drop what they are doing for who has gone.
func (p *Proxy) forward(client, server net.Conn, h *held, late <-chan struct{}) {
	buffer, landed := make([]byte, 64<<10), false
	for {
		n, err := client.Read(buffer)
		if n > 0 && h != nil && !p.passes(h, late) {
			select {
			case <-h.landed:
			case <-p.stopped.Done():
				return
			}
			landed = true
		}
		if n > 0 {
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	if landed {
		patience := time.NewTimer(readTime)
		defer patience.Stop()
		select {
		case <-late:
		case <-patience.C:
		case <-p.stopped.Done():
		}
	}
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	if h != nil {
		_ = server.SetReadDeadline(time.Now().Add(readTime))
	}
}

// passes reports whether one more request goes on at once.
func (p *Proxy) passes(h *held, late <-chan struct{}) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.left--; h.left >= 0 {
		return true
	}
	if !h.free() {
		h.kept = append(h.kept, late)
	}
	return false
}

// free reports whether what was kept back may go on.
func (h *held) free() bool {
	select {
	case <-h.landed:
		return true
	default:
		return false
	}
}

// answer brings the server's replies back, or loses them, until the connection ends. Under h they are read even when
// nobody is there any more to take them, and late is closed when one comes once h has landed, or none will.
func (p *Proxy) answer(client, server net.Conn, h *held, late chan struct{}) {
	answered := sync.OnceFunc(func() { close(late) })
	defer answered()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if h != nil && h.free() {
			answered()
		}
		if n > 0 {
			if p.lose() {
				timer := time.NewTimer(lostAfter)
				defer timer.Stop()
				<-timer.C
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil && h == nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// lose reports whether this reply is lost.
func (p *Proxy) lose() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cutting {
		return false
	}
	if p.left > 0 {
		p.left--
		return false
	}
	return true
}
