// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A server that is stopped, or whose disk hangs, takes connections in the kernel and answers nothing: commands waited for
// ever and said nothing. The server here never accepts; the waits are shortened.
func TestServerThatDoesNotAnswerIsNotWaitedForForEver(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, test := range map[string]struct {
		ask  func(context.Context, *Client) error
		want string
	}{
		"a question": {func(ctx context.Context, c *Client) error { _, err := c.Status(ctx, Filter{}); return err }, "nothing was received for"},
		"a change":   {func(ctx context.Context, c *Client) error { return c.ConfirmClock(ctx) }, "what was asked for may still be done"},
	} {
		t.Run(name, func(t *testing.T) {
			var said atomic.Int64
			c := Dial(socket)
			c.patience = patience{notice: time.Millisecond, question: 200 * time.Millisecond, change: 200 * time.Millisecond}
			c.Slow = func(time.Duration) { said.Add(1) }
			err := test.ask(t.Context(), c)
			if Exit(err) != 6 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, exit code %d", err, Exit(err))
			}
			if said.Load() != 1 {
				t.Errorf("it was said %d times that there is no answer, want once", said.Load())
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := Dial(socket).Status(ctx, Filter{}); err == nil || strings.Contains(err.Error(), "nothing came") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unbounded", func(t *testing.T) {
		for _, path := range unbounded {
			if limit := overSocket.limit("GET", path); limit != 0 {
				t.Errorf("%s has %s", path, limit)
			}
		}
	})
}
