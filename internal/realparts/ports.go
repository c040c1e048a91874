// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// Servers listen below the ports that the system hands to whoever connects (from 32768 on): a client that dials a stopped
// server could otherwise sit on its port, connected to itself, and the server could not start again.
const (
	firstPort = 16 << 10
	ports     = 16 << 10
	portDraws = 100
)

// chosen are the ports that this process has chosen: one that is chosen twice before its server listens is no choice.
var chosen sync.Map

var errNoPort = errors.New("no port is free")

// freePort chooses a port on loopback that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	fault := errNoPort
	for range portDraws {
		var drawn [2]byte
		_, _ = rand.Read(drawn[:]) // never fails
		port := firstPort + int(binary.BigEndian.Uint16(drawn[:]))%ports
		if _, twice := chosen.LoadOrStore(port, true); twice {
			continue
		}
		listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err == nil {
			err = listener.Close()
		}
		if err == nil {
			return port, nil
		}
		fault = err
	}
	return 0, fmt.Errorf("choosing a port: %w", fault)
}
