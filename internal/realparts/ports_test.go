// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"net"
	"strconv"
	"testing"
)

func TestFreePortIsNoClients(t *testing.T) {
	const clients = 32768 // Linux, unless its administrator says otherwise
	seen := map[int]bool{}
	for range 500 {
		port, err := freePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if port >= clients || port < 1024 || seen[port] {
			t.Errorf("port %d: want one below %d that was not chosen before", port, clients)
		}
		seen[port] = true
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
}
