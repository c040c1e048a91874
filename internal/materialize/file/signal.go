// SPDX-License-Identifier: Apache-2.0

package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoProcess: the process that the pid file names is not there, or is not the one that wrote it. Nothing was signalled.
var ErrNoProcess = errors.New("the process to reload is not running")

const (
	// pidFileLimit is more than any pid file needs.
	pidFileLimit = 64
	// ticks per second of the start times in /proc; the kernel fixes it for programs.
	ticks = 100
	// clockSlack allows for the rounding of file times and ticks.
	clockSlack = 2 * time.Second
	// startLimit is how long a process may take from its start until it writes its pid file.
	startLimit = 10 * time.Minute
)

var signals = map[string]unix.Signal{"HUP": unix.SIGHUP, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2}

// SignalConfig names a signal and whom to send it to.
type SignalConfig struct {
	// Signal is HUP, USR1 or USR2.
	Signal string
	// PIDFile is an absolute path from the host's configuration; it is read for each signal.
	PIDFile string
	// Program is the absolute path of the program that the process must run, "" when the times alone tell.
	Program string
	// Clock is the wall clock, with which the file's time is compared.
	Clock func() time.Time
}

// Signal reloads a process by a signal.
//
// A pid file outlives a killed process and its number is then given to another, for which HUP is mostly fatal. So the
// process is pinned by a handle, must have started before the pid file was last written, and the file must still name it
// after that. A file may also hold a number from elsewhere, a container say, that is an older process here: unless a
// program is named, and is what the process runs, the file must have been written within startLimit of the start. If the
// wall clock was set forward in between, a right process can be refused; the error says what helps. A signal has no
// answer: success means that it was sent.
type Signal struct {
	config SignalConfig
	signal unix.Signal
}

var _ Reloader = (*Signal)(nil)

// NewSignal checks config. Whether the pid file exists is seen when it is needed.
func NewSignal(config SignalConfig) (*Signal, error) {
	signal, known := signals[config.Signal]
	switch {
	case !known:
		return nil, fmt.Errorf("making signal: unknown signal %q: want HUP, USR1 or USR2", config.Signal)
	case !filepath.IsAbs(config.PIDFile):
		return nil, fmt.Errorf("making signal: pid file %q must be an absolute path", config.PIDFile)
	case config.Program != "" && !filepath.IsAbs(config.Program):
		return nil, fmt.Errorf("making signal: program %q must be an absolute path", config.Program)
	case config.Clock == nil:
		return nil, errors.New("making signal: a clock is required")
	}
	return &Signal{config, signal}, nil
}

// Reload sends the signal once.
func (s *Signal) Reload(ctx context.Context, _ Event) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("signalling: %w", err)
	}
	if err := s.send(); err != nil {
		return fmt.Errorf("signalling the process of %s: %w", s.config.PIDFile, err)
	}
	return nil
}

func (s *Signal) send() error {
	pid, written, err := s.readPID()
	if err != nil {
		return err
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: no process has number %d", ErrNoProcess, pid)
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(handle) }()
	if err := s.isRight(pid, written); err != nil {
		return err
	}
	if again, _, err := s.readPID(); err != nil || again != pid {
		return fmt.Errorf("%w: the pid file changed while it was read", ErrNoProcess)
	}
	if err := unix.PidfdSendSignal(handle, s.signal, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("%w: process %d has just ended", ErrNoProcess, pid)
		}
		return fmt.Errorf("sending %s to process %d: %w", s.config.Signal, pid, err)
	}
	return nil
}

// isRight says why process pid is not the one that wrote the pid file at that time.
func (s *Signal) isRight(pid int, written time.Time) error {
	age, err := processAge(pid)
	if err != nil {
		return err
	}
	fileAge := s.config.Clock().Sub(written)
	runs, unseen := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	named := runs
	if unseen != nil {
		named = "PATH"
	}
	switch {
	case fileAge > age+clockSlack:
		return fmt.Errorf("%w: process %d began after the pid file was written, so the number was reused, or the clock was set; "+
			"restart the service; or, if the process is right, write program: %s beside pidFile in the host file and touch the pid file", ErrNoProcess, pid, named)
	case s.config.Program != "" && unseen != nil:
		return fmt.Errorf("%w: which program process %d runs cannot be seen, and the host file names one: %w", ErrNoProcess, pid, unseen)
	case s.config.Program != "" && !isProgram(runs, s.config.Program):
		return fmt.Errorf("%w: process %d runs %s, and the host file names the program %s", ErrNoProcess, pid, runs, s.config.Program)
	case s.config.Program == "" && age > fileAge+startLimit:
		return fmt.Errorf("%w: process %d (%s) began %s before the pid file was written, so the number is another process's, as that of a container is; "+
			"if the process is right, write program: %s beside pidFile in the host file", ErrNoProcess, pid, named, (age - fileAge).Round(time.Second), named)
	}
	return nil
}

// isProgram reports whether what a process runs is the program of that name, or what was there before an upgrade.
func isProgram(runs, program string) bool {
	if resolved, err := filepath.EvalSymlinks(program); err == nil {
		program = resolved
	}
	return strings.TrimSuffix(runs, " (deleted)") == program
}

func (s *Signal) readPID() (pid int, written time.Time, err error) {
	// Not blocking, for a pipe may stand where the file should.
	file, err := os.OpenFile(s.config.PIDFile, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("reading pid: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("reading pid: %w", err)
	}
	if !info.Mode().IsRegular() {
		return 0, time.Time{}, fmt.Errorf("reading pid: %w", ErrInTheWay)
	}
	data, err := io.ReadAll(io.LimitReader(file, pidFileLimit+1))
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("reading pid: %w", err)
	}
	number, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 32)
	switch {
	case err != nil || len(data) > pidFileLimit:
		return 0, time.Time{}, errors.New("reading pid: the file does not hold one number")
	case number <= 1:
		return 0, time.Time{}, fmt.Errorf("reading pid: %d would signal more than one process, or the first", number)
	case int(number) == os.Getpid():
		return 0, time.Time{}, errors.New("reading pid: the number is Custody's own")
	}
	return int(number), info.ModTime(), nil
}

// processAge is how long ago a process began, by the clock that nobody sets.
func processAge(pid int) (time.Duration, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	// The second field is a name in parentheses that may hold spaces; the start time is the twentieth after it.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("reading the age of process %d: unexpected form of /proc", pid)
	}
	if fields[0][0] == 'Z' {
		return 0, fmt.Errorf("%w: process %d has ended and waits for its parent", ErrNoProcess, pid)
	}
	start, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the age of process %d: unexpected form of /proc", pid)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	return time.Duration(now.Nano()) - time.Duration(start)*(time.Second/ticks), nil
}
