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
// requests still arrive. It looks at no protocol, so TLS passes through it.
type Proxy struct {
	target   string
	listener net.Listener

	mu      sync.Mutex
	down    bool
	cutting bool
	left    int // replies that still pass while cutting
	open    map[net.Conn]bool
	work    sync.WaitGroup
}

// lostAfter is how long a connection stays open once its replies are lost: the request must arrive, and the caller
// should not have to wait for its own deadline.
const lostAfter = 150 * time.Millisecond

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

// Mend ends Break and Cut, with fresh connections.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.cutting = false, false
	p.closeAll()
}

// Stop ends the proxy and every connection.
func (p *Proxy) Stop() {
	_ = p.listener.Close()
	p.Break()
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
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	if !p.keep(server) {
		_ = server.Close()
		return
	}
	defer p.drop(server)
	p.work.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := client.Read(buffer)
			if n > 0 {
				if _, err := server.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				if tcp, ok := server.(*net.TCPConn); ok {
					_ = tcp.CloseWrite()
				}
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if n > 0 {
			if p.lose() {
				timer := time.NewTimer(lostAfter)
				defer timer.Stop()
				<-timer.C
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
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
