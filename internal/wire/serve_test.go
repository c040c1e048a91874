// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"log/slog"
	"strings"
	"testing"

	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/server"
)

type broken struct{ uninitialised }

func (broken) Broken() string { return "a commit failed half-way" }

// A server over a store that answers nothing any more said that it was ready, and went on for ever: nothing restarted it.
func TestABrokenStoreEndsTheServer(t *testing.T) {
	for name, p := range map[string]*parts{
		"authority": {store: broken{}, record: uninitialised{}},
		"record":    {store: uninitialised{}, record: broken{}},
	} {
		t.Run(name, func(t *testing.T) {
			p.log = slog.New(slog.DiscardHandler)
			p.platform = platform.New(platform.Config{Initialised: true, Broken: p.broken, Orchestrator: orchestrator.New(orchestrator.Config{})})
			if why := p.platform.Ready(t.Context()); !strings.Contains(why, "a commit failed half-way") {
				t.Errorf("ready says %q, want why it is not", why)
			}
			err := p.loop(t.Context(), t.Context(), func() {}) // it is not told to stop
			if got := server.Exit(err); got != 6 {
				t.Errorf("the server leaves with %v, exit code %d, want 6", err, got)
			}
		})
	}
}
