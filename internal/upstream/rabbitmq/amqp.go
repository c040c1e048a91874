// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// The beginning of AMQP 0-9-1, as far as a sign-in goes: the broker offers ways to sign in (start), the client takes PLAIN
// (start-ok), and the broker goes on (tune) or closes with a reply code. The vendor's client library is not used here,
// because it takes every failure at this point, a broken connection too, for a wrong password.
const (
	protocolHeader = "AMQP\x00\x00\x09\x01"
	frameMethod    = 1
	frameEnd       = 0xCE
	maxFrame       = 128 << 10

	methodStart   = 10<<16 | 10
	methodStartOK = 10<<16 | 11
	methodTune    = 10<<16 | 30
	methodTuneOK  = 10<<16 | 31
	methodOpen    = 10<<16 | 40
	methodOpenOK  = 10<<16 | 41
	methodClose   = 10<<16 | 50
	methodCloseOK = 10<<16 | 51

	codeAccessRefused = 403
)

// connectionName marks Custody's own connections.
const connectionName = "custody"

var errProtocol = errors.New("the broker does not speak AMQP 0-9-1")

// signIn makes one sign-in attempt. code is that with which the broker closed; a verdict of Unknown comes with one of
// both.
func (e endpoints) signIn(ctx context.Context, user, password string) (verdict upstream.Verdict, code int, err error) {
	if err := ctx.Err(); err != nil {
		return upstream.Unknown, 0, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", e.amqp)
	if err != nil {
		return upstream.Unknown, 0, err
	}
	defer func() { _ = conn.Close() }() // all that mattered has been answered
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if e.amqpTLS != nil {
		secure, err := transport.Secure(ctx, conn, e.amqpTLS)
		if err != nil {
			return upstream.Unknown, 0, err
		}
		conn = secure
	}
	s := &speaker{conn, bufio.NewReader(conn)}
	verdict, code, err = s.signIn(user, password)
	if ended := ctx.Err(); err != nil && ended != nil {
		err = ended
	}
	return verdict, code, err
}

// speaker is one connection.
type speaker struct {
	out io.Writer
	in  *bufio.Reader
}

func (s *speaker) signIn(user, password string) (upstream.Verdict, int, error) {
	if _, err := io.WriteString(s.out, protocolHeader); err != nil {
		return upstream.Unknown, 0, err
	}
	method, body, err := s.read()
	if err != nil {
		return upstream.Unknown, 0, err
	}
	if method == methodClose {
		return upstream.Unknown, closeCode(body), nil
	}
	if method != methodStart || !offersPlain(body) {
		return upstream.Unknown, 0, errProtocol
	}
	if err := s.write(methodStartOK, startOK(user, password)); err != nil {
		return upstream.Unknown, 0, err
	}
	method, body, err = s.read()
	switch {
	case err != nil:
		return upstream.Unknown, 0, err
	case method == methodClose && closeCode(body) == codeAccessRefused:
		_ = s.write(methodCloseOK, nil)
		return upstream.Refused, 0, nil
	case method == methodClose:
		return upstream.Unknown, closeCode(body), nil
	case method != methodTune:
		return upstream.Unknown, 0, errProtocol
	}
	s.leave(body)
	return upstream.Accepted, 0, nil
}

// leave ends a connection that was let in as the protocol wants it: it must be opened to be closed. Whether the user may
// open the virtual host / makes no difference any more. It returns when the broker no longer knows the connection.
func (s *speaker) leave(tune []byte) {
	open := append(append(shortText("/"), shortText("")...), 0)
	if s.write(methodTuneOK, tune) != nil || s.write(methodOpen, open) != nil {
		return
	}
	method, _, err := s.read()
	if err != nil {
		return
	}
	if method == methodClose {
		_ = s.write(methodCloseOK, nil)
		return
	}
	farewell := slices.Concat([]byte{0, 200}, shortText("done"), []byte{0, 0, 0, 0})
	if method == methodOpenOK && s.write(methodClose, farewell) == nil {
		_, _, _ = s.read()
	}
}

// read returns the next method; heartbeats are passed over.
func (s *speaker) read() (method uint32, body []byte, err error) {
	for {
		var header [7]byte
		if _, err := io.ReadFull(s.in, header[:]); err != nil {
			return 0, nil, err
		}
		size := binary.BigEndian.Uint32(header[3:])
		if string(header[:4]) == "AMQP" || size > maxFrame {
			return 0, nil, errProtocol
		}
		payload := make([]byte, size+1)
		if _, err := io.ReadFull(s.in, payload); err != nil {
			return 0, nil, err
		}
		if payload[size] != frameEnd {
			return 0, nil, errProtocol
		}
		if header[0] != frameMethod {
			continue
		}
		if size < 4 {
			return 0, nil, errProtocol
		}
		return binary.BigEndian.Uint32(payload), payload[4:size], nil
	}
}

func (s *speaker) write(method uint32, body []byte) error {
	frame := []byte{frameMethod, 0, 0}
	frame = binary.BigEndian.AppendUint32(frame, uint32(4+len(body))) //nolint:gosec // values are of 64 KiB at most
	frame = binary.BigEndian.AppendUint32(frame, method)
	_, err := s.out.Write(append(append(frame, body...), frameEnd))
	return err
}

func closeCode(body []byte) int {
	if len(body) < 2 {
		return -1
	}
	return int(binary.BigEndian.Uint16(body))
}

// offersPlain reads start: two bytes of version, a table, the mechanisms, the locales.
func offersPlain(body []byte) bool {
	if len(body) < 2 {
		return false
	}
	_, rest, ok := cutLong(body[2:])
	if !ok {
		return false
	}
	mechanisms, _, ok := cutLong(rest)
	return ok && slices.Contains(strings.Fields(string(mechanisms)), "PLAIN")
}

func cutLong(body []byte) (text, rest []byte, ok bool) {
	if len(body) < 4 {
		return nil, nil, false
	}
	size := binary.BigEndian.Uint32(body)
	if uint64(size) > uint64(len(body)-4) {
		return nil, nil, false
	}
	return body[4 : 4+size], body[4+size:], true
}

// startOK asks the broker to say so when it refuses (authentication_failure_close) instead of just hanging up.
func startOK(user, password string) []byte {
	capabilities := append(shortText("authentication_failure_close"), 't', 1)
	properties := slices.Concat(
		shortText("product"), []byte{'S'}, longText(connectionName),
		shortText("connection_name"), []byte{'S'}, longText(connectionName),
		shortText("capabilities"), []byte{'F'}, longText(string(capabilities)),
	)
	return slices.Concat(longText(string(properties)), shortText("PLAIN"), longText("\x00"+user+"\x00"+password), shortText("en_US"))
}

func shortText(text string) []byte { return append([]byte{byte(len(text))}, text...) }

func longText(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...) //nolint:gosec // values are of 64 KiB at most
}
