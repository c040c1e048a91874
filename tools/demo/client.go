// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"custody.dev/custody/internal/realparts/client"
)

// plan tells a client process what to do, and where.
type plan struct {
	client.Plan
	Target target
}

// fields are what is delivered, by name; version among them.
type fields map[string]string

// playClient is a client process.
func playClient(planFile string) int {
	var p plan
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return 2
	}
	if p.Play(func(f map[string]string) error { return p.Target.signIn(f) }) != nil {
		return 2
	}
	return 0
}

// signingIn is a running client process.
type signingIn struct {
	plan    plan
	command *exec.Cmd
	ended   <-chan struct{}
}

func startClient(self string, p plan) (*signingIn, error) {
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.Folder, "plan")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		return nil, err
	}
	c := &signingIn{plan: p, command: exec.Command(self, "play-client", file)}
	if c.ended, err = launch(c.command, nil); err != nil {
		return nil, fmt.Errorf("starting the clients: %w", err)
	}
	return c, nil
}

// seen is what the process has seen so far.
func (c *signingIn) seen() (client.Seen, error) { return client.Look(c.plan.Folder) }

// signIns is how many there were so far.
func (c *signingIn) signIns() int64 {
	if c == nil {
		return 0
	}
	seen, err := c.seen()
	if err != nil {
		return 0 // it has just begun
	}
	return seen.SignIns
}

func (c *signingIn) kill() error { return signalled(c.command.Process, c.ended, syscall.SIGKILL) }
func (c *signingIn) stop() error { return signalled(c.command.Process, c.ended, syscall.SIGTERM) }
