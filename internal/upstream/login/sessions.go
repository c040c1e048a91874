// SPDX-License-Identifier: Apache-2.0

package login

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/upstream"
)

// Session is one of a login's that a server shows.
type Session struct {
	Program, Database string // "" where the server does not tell
	// Address, with a port or without; "" for a socket.
	Address string
	// Idle is for how many seconds its client has said nothing, 0 for one at work: a decimal number.
	Idle string
}

// Uses are the uses that the sessions stand for, as far as they lie no further back than since; now is by the clock that
// since is by.
func Uses(sessions []Session, now, since time.Time) (uses []upstream.Use, err error) {
	for _, session := range sessions {
		seconds, err := strconv.ParseFloat(session.Idle, 64)
		if err != nil {
			return nil, errors.New("the server's list of sessions has no times")
		}
		last := now.Add(-time.Duration(max(0, seconds) * float64(time.Second)))
		if !last.Before(since) {
			uses = append(uses, upstream.Use{Who: session.who(), Last: last})
		}
	}
	return uses, nil
}

func (s Session) who() string {
	address := s.Address
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	if address == "" {
		address = "a socket"
	}
	parts := []string{"from " + address}
	if s.Program != "" {
		parts = append([]string{s.Program}, parts...)
	}
	if s.Database != "" {
		parts = append(parts, "in "+s.Database)
	}
	return strings.Join(parts, " ")
}
