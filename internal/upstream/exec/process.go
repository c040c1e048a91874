// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	osexec "os/exec"
	"runtime"
	"syscall"
	"time"

	"custody.dev/custody/internal/upstream"
)

const (
	// answerLimit bounds an answer; a value is at most 64 KiB.
	answerLimit = 1 << 20
	// drain is how long children may keep the output open after the program ended or was killed.
	drain = time.Second
	// path is where programs find others.
	path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// environment is all that a program is given.
func environment() []string {
	return []string{"PATH=" + path, "HOME=/nonexistent", "LANG=C.UTF-8", "TZ=UTC", "CUSTODY=1"}
}

// run starts the program with input and returns what it wrote. Errors are ErrNotApplied when it certainly never ran.
func (u *Upstream) run(ctx context.Context, doing string, input []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	program := u.config.Argv[0]
	command := osexec.CommandContext(ctx, program, u.config.Argv[1:]...) //nolint:gosec // the host's own configuration names it
	command.Dir = "/"
	command.Env = environment()
	command.SysProcAttr = group()
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = drain
	command.Stdin = bytes.NewReader(input)
	output, errs := &bounded{limit: answerLimit}, &counted{to: u.config.Errors}
	command.Stdout, command.Stderr = output, errs

	started, err := wait(command)
	failed := func(class error, detail string, cause error) ([]byte, error) {
		return nil, &upstream.Error{Doing: doing, Class: class, Detail: detail, Cause: cause}
	}
	switch {
	case !started && ctx.Err() != nil:
		return failed(upstream.ErrNotApplied, "", ctx.Err())
	case !started:
		return failed(upstream.ErrNotApplied, fmt.Sprintf("starting %s: %v", program, err), nil)
	case err != nil && ctx.Err() != nil:
		return failed(nil, fmt.Sprintf("no answer from %s before the deadline, and it was killed%s", program, errs), ctx.Err())
	case errors.Is(err, osexec.ErrWaitDelay):
		return failed(nil, fmt.Sprintf("%s ended and left a process behind, which was killed%s", program, errs), nil)
	case err != nil:
		return failed(nil, fmt.Sprintf("%s ended without an answer (%s)%s", program, ending(err), errs), nil)
	case output.over:
		return failed(nil, fmt.Sprintf("the answer of %s has more than %d bytes%s", program, answerLimit, errs), nil)
	case u.config.Lost != nil && u.config.Lost():
		return failed(nil, "the answer was lost on its way", nil)
	}
	return output.kept.Bytes(), nil
}

// wait runs the command to its end on one thread, to which its death signal is bound. What the command leaves of its group
// is killed: a child that was only slow could still change something, after the deadline and unknown to everybody.
func wait(command *osexec.Cmd) (started bool, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := command.Start(); err != nil {
		return false, err
	}
	err = command.Wait()
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // there is mostly nobody left to kill
	return true, err
}

// ending says how a process ended, and nothing else that an error might hold.
func ending(err error) string {
	if exit, ok := errors.AsType[*osexec.ExitError](err); ok {
		return exit.ProcessState.String()
	}
	return "its output could not be read"
}

// bounded keeps what fits, takes the rest and notes that there was one.
type bounded struct {
	kept  bytes.Buffer
	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	fits := p[:min(len(p), b.limit-b.kept.Len())]
	b.over = b.over || len(fits) < len(p)
	b.kept.Write(fits)
	return len(p), nil
}

// counted counts what is written to it, and passes it on where that is wanted.
type counted struct {
	to    io.Writer
	bytes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.bytes += len(p)
	if c.to != nil {
		return c.to.Write(p)
	}
	return len(p), nil
}

func (c *counted) String() string {
	switch {
	case c.bytes == 0:
		return ""
	case c.to != nil:
		return fmt.Sprintf("; %d bytes on standard error", c.bytes)
	}
	return fmt.Sprintf("; %d bytes on standard error, which may hold values: `custody upstream check NAME` shows them", c.bytes)
}
