// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"os/exec"
	"path/filepath"
	"syscall"
)

// served is the program of a server, whose state and log are in a folder of its own.
type served struct {
	dir     string
	running *foreground
}

// run starts command, unless it runs, and returns when ready says so. It dies by orphan with this process.
func (s *served) run(ctx context.Context, command *exec.Cmd, orphan syscall.Signal, ready func(context.Context) error) error {
	if s.running.alive() {
		return nil
	}
	command.Dir = s.dir
	running, err := startForeground(command, s.logFile(), orphan)
	if err != nil {
		return err
	}
	s.running = running
	return running.await(ctx, s.Log, ready)
}

func (s *served) logFile() string { return filepath.Join(s.dir, "log") }

// Log returns what the server has logged in its life.
func (s *served) Log() string { return readLog(s.logFile()) }
