// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// prompt asks twice on the terminal, without showing what is typed. When it refuses what was typed, it has taken all of it:
// what a paste of several lines leaves over would otherwise be read, and kept in its history, by the shell.
func (a *app) prompt(what string) ([]byte, error) {
	fd, ok := terminal(a.in)
	if !ok {
		return nil, usage("there is no terminal to ask for the value", "use - for standard input, or --from-file")
	}
	const lines = "for a value of several lines use standard input (-) or --from-file"
	first, err := a.hidden(fd, what+": ", lines)
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		drain(fd)
		return nil, usage("the value is empty; nothing was taken", lines)
	}
	second, err := a.hidden(fd, "again: ", lines)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		drain(fd)
		return nil, usage("the two values differ; nothing was taken", "try again; "+lines)
	}
	return first, nil
}

// hidden reads one line of the terminal without showing it. The first line of a PEM block is refused with the rest of it, and
// with how several lines are given.
func (a *app) hidden(fd int, text, lines string) ([]byte, error) {
	_, _ = io.WriteString(a.err, text)
	line, err := term.ReadPassword(fd)
	_, _ = io.WriteString(a.err, "\n")
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(line), []byte("-----BEGIN")) {
		drain(fd)
		return nil, usage("this is the first line of several, and the terminal takes only one; nothing was taken", lines)
	}
	return line, nil
}

const (
	quiet = 200 // milliseconds without input, after which a paste has ended
	// pasted bounds what is drained, in reads of at least one byte.
	pasted = 1 << 20
)

// drain drops what the terminal has, and what is still coming, until it is quiet. Nothing of it is shown.
func drain(fd int) {
	before, err := term.MakeRaw(fd) // else what follows the last line break is not to be had
	if err != nil {
		return
	}
	defer func() { _ = term.Restore(fd, before) }()
	buffer := make([]byte, 4096)
	defer clear(buffer)
	for range pasted {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, quiet)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || ready == 0 {
			return
		}
		if n, err := unix.Read(fd, buffer); n == 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
