// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// serving is a running `custody serve`.
type serving struct {
	command *exec.Cmd
	ended   <-chan struct{}

	mu    sync.Mutex
	lines []string
}

// launch starts a program that dies with the demo, in a process group of its own, which keeps the terminal's Ctrl-C from
// it. The channel is closed when it has ended. read, if any, reads what the program writes until the end of it.
func launch(command *exec.Cmd, read func()) (<-chan struct{}, error) {
	command.Env = environment()
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the death signal is tied to the thread that forks
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		if read != nil {
			read()
		}
		_ = command.Wait() // how it ended is for those who ended it to know
		close(ended)
	}()
	return ended, <-started
}

func startServing(binary, dir string) (*serving, error) {
	s := &serving{command: exec.Command(binary, "serve")}
	s.command.Dir = dir
	pipe, err := s.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	s.ended, err = launch(s.command, func() {
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			s.mu.Lock()
			s.lines = append(s.lines, lines.Text())
			s.mu.Unlock()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("starting custody serve: %w", err)
	}
	return s, nil
}

// log is what the process has logged so far.
func (s *serving) log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// steps are the steps of one secret that the process has begun, as logged.
func (s *serving) steps(secret string) []string {
	var steps []string
	for _, line := range s.log() {
		a := logged(line)
		if a["msg"] == "step" && a["secret"] == secret {
			steps = append(steps, a["step"])
		}
	}
	return steps
}

// logged reads the attributes of a line that hold no spaces.
func logged(line string) map[string]string {
	attributes := map[string]string{}
	for _, field := range strings.Fields(line) {
		if key, value, ok := strings.Cut(field, "="); ok {
			attributes[key] = value
		}
	}
	return attributes
}

// end asks the process to end, so that it leaves no check behind that is under way, and presses when it does not.
func (s *serving) end() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-s.ended:
		case <-time.After(10 * time.Second):
		}
	}
	return s.kill()
}

func (s *serving) kill() error { return signalled(s.command.Process, s.ended, syscall.SIGKILL) }

// terminate asks the process to finish the step in hand and waits for it.
func (s *serving) terminate() error {
	if err := signalled(s.command.Process, s.ended, syscall.SIGTERM); err != nil {
		return err
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("custody serve ended with exit code %d after SIGTERM", code)
	}
	return nil
}

// signalled sends a signal and waits until the process has ended.
func signalled(process *os.Process, ended <-chan struct{}, signal os.Signal) error {
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling process %d: %w", process.Pid, err)
	}
	select {
	case <-ended:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("process %d has not ended after %s", process.Pid, signal)
	}
}

// environment is this process's, without what would change how custody, git or PostgreSQL behave here.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "GIT_") && name != "CUSTODY_HOST" {
			kept = append(kept, entry)
		}
	}
	return append(kept, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=demo", "GIT_AUTHOR_EMAIL=demo@example.org", "GIT_COMMITTER_NAME=demo", "GIT_COMMITTER_EMAIL=demo@example.org")
}
