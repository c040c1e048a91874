// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// As much of AMQP 0-9-1 as it takes to sign in and use a right. The vendor's client library does not ask the broker to
// say when it refuses: it is then hung up on after a pause of seconds, and takes every lost connection for a refusal.
const (
	amqpStart, amqpStartOK     = 10<<16 | 10, 10<<16 | 11
	amqpTune, amqpTuneOK       = 10<<16 | 30, 10<<16 | 31
	amqpOpen, amqpOpenOK       = 10<<16 | 40, 10<<16 | 41
	amqpClose, amqpCloseOK     = 10<<16 | 50, 10<<16 | 51
	amqpChannel, amqpChannelOK = 20<<16 | 10, 20<<16 | 11
	amqpChannelClose           = 20<<16 | 40
	amqpGet, amqpGetEmpty      = 60<<16 | 70, 60<<16 | 72

	amqpRefused = 403
	amqpMethod  = 1
	amqpEnd     = 0xCE
	amqpLargest = 128 << 10
)

var errNotAMQP = errors.New("the server does not speak AMQP 0-9-1")

// AMQP signs in to RabbitMQ without TLS, opens the virtual host /, and asks for a message of queue, which holds none.
func AMQP(ctx context.Context, host string, port int, user, password, queue string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return away(err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(conn, "AMQP\x00\x00\x09\x01"); err != nil {
		return away(err)
	}
	p := &amqpPeer{out: conn, in: bufio.NewReader(conn)}
	if _, err := p.hear(amqpStart); err != nil {
		return err
	}
	// What a client can do: hear of a refusal.
	able := amqpLong(amqpShort("capabilities") + "F" + amqpLong(amqpShort("authentication_failure_close")+"t\x01"))
	limits, err := p.ask(0, amqpStartOK, able+amqpShort("PLAIN")+amqpLong("\x00"+user+"\x00"+password)+amqpShort("en_US"), amqpTune)
	if said, ok := errors.AsType[amqpClosed](err); ok && said.method == amqpClose && said.code == amqpRefused {
		_ = p.say(0, amqpCloseOK, "")
		return ErrRefused
	}
	if err != nil {
		return err
	}
	if err := p.say(0, amqpTuneOK, limits); err != nil {
		return err
	}
	for _, step := range []struct {
		channel uint16
		method  uint32
		body    string
		answer  uint32
	}{
		{0, amqpOpen, amqpShort("/") + amqpShort("") + "\x00", amqpOpenOK},
		{1, amqpChannel, amqpShort(""), amqpChannelOK},
		{1, amqpGet, "\x00\x00" + amqpShort(queue) + "\x01", amqpGetEmpty},
		{0, amqpClose, "\x00\xc8" + amqpShort("done") + "\x00\x00\x00\x00", amqpCloseOK},
	} {
		if _, err := p.ask(step.channel, step.method, step.body, step.answer); err != nil {
			return err
		}
	}
	return nil
}

// amqpClosed is the broker's end of a connection or channel.
type amqpClosed struct {
	method uint32
	code   uint16
}

func (c amqpClosed) Error() string { return fmt.Sprintf("the server answers %d", c.code) }

// amqpPeer is one connection.
type amqpPeer struct {
	out io.Writer
	in  *bufio.Reader
}

func (p *amqpPeer) ask(channel uint16, method uint32, body string, answer uint32) (string, error) {
	if err := p.say(channel, method, body); err != nil {
		return "", err
	}
	return p.hear(answer)
}

func (p *amqpPeer) say(channel uint16, method uint32, body string) error {
	frame := binary.BigEndian.AppendUint16([]byte{amqpMethod}, channel)
	frame = binary.BigEndian.AppendUint32(frame, uint32(4+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, method)
	if _, err := p.out.Write(append(append(frame, body...), amqpEnd)); err != nil {
		return away(err)
	}
	return nil
}

// hear returns the arguments of the next method, which must be this one.
func (p *amqpPeer) hear(method uint32) (string, error) {
	for {
		var header [7]byte
		if _, err := io.ReadFull(p.in, header[:]); err != nil {
			return "", away(err)
		}
		size := binary.BigEndian.Uint32(header[3:])
		if size > amqpLargest {
			return "", errNotAMQP
		}
		payload := make([]byte, size+1)
		if _, err := io.ReadFull(p.in, payload); err != nil {
			return "", away(err)
		}
		if header[0] != amqpMethod { // a heartbeat
			continue
		}
		if payload[size] != amqpEnd || size < 4 {
			return "", errNotAMQP
		}
		said, body := binary.BigEndian.Uint32(payload), payload[4:size]
		if (said == amqpClose || said == amqpChannelClose) && len(body) > 1 {
			return "", amqpClosed{said, binary.BigEndian.Uint16(body)}
		}
		if said != method {
			return "", errNotAMQP
		}
		return string(body), nil
	}
}

func amqpShort(text string) string { return string([]byte{byte(len(text))}) + text }

func amqpLong(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}
