// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/transport"
)

// TLS modes, as documents write them.
const (
	VerifyFull = "verify-full"
	Disable    = "disable"
)

// Server says where the servers are and how their identity is checked.
type Server struct {
	// Host name, address, or path of the Unix socket.
	Host string
	// Port. Default 6379.
	Port int
	// Nodes are further servers that hold the same users, as HOST or HOST:PORT.
	Nodes []string
	// TLS is verify-full (default) or disable, which wants loopback or a socket, which needs none.
	TLS string
	// CACertificate is PEM; default the system's.
	CACertificate string
}

const defaultPort = 6379

// node is one server: where to connect, and how.
type node struct {
	network, address string
	tls              *tls.Config
}

func (n node) String() string { return n.address }

// nodes resolves the document's addresses, the first before the further ones.
func (s Server) nodes() ([]node, error) {
	if err := transport.Port(s.Port); err != nil {
		return nil, err
	}
	if s.TLS != "" && s.TLS != VerifyFull && s.TLS != Disable {
		return nil, fmt.Errorf("TLS mode %q: want verify-full or disable", s.TLS)
	}
	verified, err := transport.Verified("", s.CACertificate)
	if err != nil {
		return nil, err
	}
	nodes := make([]node, 0, 1+len(s.Nodes))
	for i, text := range append([]string{s.Host}, s.Nodes...) {
		host, port, err := s.Host, cmp.Or(s.Port, defaultPort), error(nil)
		if i > 0 {
			host, port, err = transport.Address(text, port)
		}
		if err != nil || transport.Host(host) != nil {
			return nil, fmt.Errorf("address %q: want a host, or a host and the number of a port", text)
		}
		if transport.Socket(host) {
			nodes = append(nodes, node{network: "unix", address: host})
			continue
		}
		n := node{network: "tcp", address: net.JoinHostPort(host, strconv.Itoa(port))}
		if s.TLS != Disable {
			n.tls = verified.Clone()
			n.tls.ServerName = host
		} else if err := transport.Plain(host); err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// conn speaks as much of RESP2 as users need: arrays of strings out, replies in, one try, nothing logged.
type conn struct {
	net.Conn
	in      *bufio.Reader
	release func() bool
}

// dial connects and sets the context's end on every later read and write.
func (n node) dial(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, n.network, n.address)
	if err != nil {
		return nil, err
	}
	if n.tls != nil {
		if raw, err = transport.Secure(ctx, raw, n.tls); err != nil {
			return nil, err
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	c := &conn{Conn: raw, in: bufio.NewReader(raw)}
	c.release = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	return c, nil
}

// closing bounds the farewell to a server that may be gone.
const closing = time.Second

// close takes leave and waits until the server has closed, so that it no longer lists this connection.
func (c *conn) close() {
	c.release()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if err := c.send([]string{"QUIT"}); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.in, maxReply))
	}
	_ = c.Close()
}

// reply is what the server answered. An error reply keeps its code alone.
type reply struct {
	text  string
	items []reply
	code  string
}

const (
	// maxReply bounds one reply: a hundred thousand users, or clients.
	maxReply = 64 << 20
	maxDepth = 8
)

var (
	errProtocol = errors.New("the server does not speak the Redis protocol")
	codeForm    = lazyregexp.New(`^[A-Z]{1,32}$`)
)

// send writes commands in one piece.
func (c *conn) send(commands ...[]string) error {
	var out []byte
	for _, command := range commands {
		out = fmt.Appendf(out, "*%d\r\n", len(command))
		for _, word := range command {
			out = fmt.Appendf(out, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	_, err := c.Write(out)
	return err
}

// do sends one command and reads its reply.
func (c *conn) do(command ...string) (reply, error) {
	if err := c.send(command); err != nil {
		return reply{}, err
	}
	return c.read()
}

// read reads one reply.
func (c *conn) read() (reply, error) {
	left := maxReply
	return readReply(c.in, &left, 0)
}

func readReply(in *bufio.Reader, left *int, depth int) (reply, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return reply{}, errProtocol
		}
		return reply{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' || depth > maxDepth {
		return reply{}, errProtocol
	}
	kind, rest := line[0], string(line[1:len(line)-2])
	if *left -= len(line); *left < 0 {
		return reply{}, errProtocol
	}
	switch kind {
	case '+', ':':
		return reply{text: rest}, nil
	case '-':
		code, _, _ := strings.Cut(rest, " ")
		if !codeForm.MatchString(code) {
			code = "an error without a code"
		}
		return reply{code: code}, nil
	}
	size, err := strconv.Atoi(rest)
	if err != nil || size < -1 || size > *left {
		return reply{}, errProtocol
	}
	switch {
	case size == -1 && (kind == '$' || kind == '*'):
		return reply{}, nil
	case kind == '$':
		*left -= size + 2
		body := make([]byte, size+2)
		if _, err := io.ReadFull(in, body); err != nil {
			return reply{}, err
		}
		if string(body[size:]) != "\r\n" {
			return reply{}, errProtocol
		}
		return reply{text: string(body[:size])}, nil
	case kind == '*':
		var r reply
		for range size {
			item, err := readReply(in, left, depth+1)
			if err != nil {
				return reply{}, err
			}
			r.items = append(r.items, item)
		}
		return r, nil
	}
	return reply{}, errProtocol
}

// signIn makes one sign-in attempt. clientName marks Custody's own connections in CLIENT LIST.
func (n node) signIn(ctx context.Context, user, password string) (*conn, string, error) {
	c, err := n.dial(ctx)
	if err != nil {
		return nil, "", err
	}
	r, err := c.do("HELLO", "2", "AUTH", user, password, "SETNAME", clientName)
	if err != nil {
		c.release()
		_ = c.Close()
		return nil, "", err
	}
	if r.code != "" {
		c.close()
		return nil, r.code, nil
	}
	return c, "", nil
}

const clientName = "custody"
