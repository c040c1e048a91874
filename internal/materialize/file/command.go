// SPDX-License-Identifier: Apache-2.0

package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultTimeout bounds a command for which none is configured.
	DefaultTimeout = 30 * time.Second
	commandPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	outputLimit    = 4 << 10
	stderrLimit    = 512
	// drain is how long a command's children may keep its output open after it ended or was killed.
	drain = time.Second
)

// CommandConfig names a program of this host.
type CommandConfig struct {
	// Argv is the program's absolute path and its arguments. There is no shell.
	Argv []string
	// Timeout after which the program and all it started in its process group are killed; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Command runs a program as a reload or as a check.
//
// The program sees no value: its environment is PATH, CUSTODY_SECRET, CUSTODY_CONSUMER, CUSTODY_FILE and CUSTODY_VERSION
// and nothing else, its input is empty, it runs in / as the user that Custody runs as. What it prints on standard output is
// never put in an error, because it may be the file's content; of a check's the first line is compared with the version. The
// end of its standard error is kept apart, in Failed: whoever shows it knows the value, and takes that out.
// A program that moved to a session of its own outlives the timeout.
type Command struct {
	argv    []string
	timeout time.Duration
}

var (
	_ Reloader = (*Command)(nil)
	_ Checker  = (*Command)(nil)
)

// NewCommand checks config. Whether the program exists is seen when it runs.
func NewCommand(config CommandConfig) (*Command, error) {
	switch {
	case len(config.Argv) == 0 || !filepath.IsAbs(config.Argv[0]):
		return nil, errors.New("making command: argv must begin with an absolute path")
	case slices.ContainsFunc(config.Argv, func(arg string) bool { return strings.ContainsRune(arg, 0) }):
		return nil, errors.New("making command: an argument holds a NUL")
	case config.Timeout < 0:
		return nil, fmt.Errorf("making command: timeout %s is negative", config.Timeout)
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	return &Command{argv: slices.Clone(config.Argv), timeout: config.Timeout}, nil
}

// Reload runs the program; exit status 0 is success.
func (c *Command) Reload(ctx context.Context, e Event) error {
	_, err := c.run(ctx, e, false)
	return err
}

// Check runs the program: it exits 0 when the process runs on CUSTODY_VERSION. If it learnt the version from the process
// itself, it prints that as its first line.
func (c *Command) Check(ctx context.Context, e Event) (Report, error) {
	output, err := c.run(ctx, e, true)
	if err != nil {
		return Report{}, err
	}
	first, _, _ := bytes.Cut(output, []byte("\n"))
	return Report{Version: string(bytes.TrimSuffix(first, []byte("\r")))}, nil
}

func (c *Command) run(ctx context.Context, e Event, capture bool) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, c.argv[0], c.argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + commandPath,
		"CUSTODY_SECRET=" + string(e.Secret),
		"CUSTODY_CONSUMER=" + e.Consumer,
		"CUSTODY_FILE=" + e.File,
		"CUSTODY_VERSION=" + e.Version.String(),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = drain
	var output head
	if capture {
		cmd.Stdout = &output
	}
	said, err := newScratch()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", c.argv[0], err)
	}
	defer said.close()
	cmd.Stderr = said.file
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return output.kept, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("running %s: %w", c.argv[0], ctx.Err())
	case limited.Err() != nil:
		return nil, fmt.Errorf("running %s: killed after %s: %w", c.argv[0], c.timeout, context.DeadlineExceeded)
	case errors.As(err, &exit):
		return nil, &Failed{Err: fmt.Errorf("running %s: %s", c.argv[0], exit.ProcessState), Stderr: said.end()}
	default:
		return nil, fmt.Errorf("running %s: %w", c.argv[0], err)
	}
}

// Failed is a program that ended with another status than 0.
type Failed struct {
	Err error
	// Stderr is the end of what it printed on standard error. It may hold a value.
	Stderr []byte
}

// Error does not hold Stderr.
func (f *Failed) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *Failed) Unwrap() error { return f.Err }

// head keeps the beginning of what is written to it and takes the rest without a word.
type head struct{ kept []byte }

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), outputLimit-len(h.kept))]...)
	return len(p), nil
}
