// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/server"
)

// tour is the demo under way. The first expectation that does not hold is kept in err, and nothing is done after it.
type tour struct {
	*terminal
	ctx context.Context //nolint:containedctx // one tour is one call
	err error

	binary, self string // custody and this program
	base, dir    string // the throw-away folder, and the platform's in it
	rotated      string // the secret that rotates under the clients
	git          bool   // git is installed

	serving  *serving
	client   *signingIn
	cluster  *realparts.Server // the running server, to be stopped
	database *realparts.Server // set when PostgreSQL takes part

	values    []string     // values that must not turn up anywhere but in delivered files
	said      bytes.Buffer // all that custody and git wrote
	signIns   int64        // of all clients
	rotations int
	commits   int

	exhibits []*exhibit
	showing  *exhibit           // at the moment
	close    context.CancelFunc // ends the starting of exhibits
	parts    parts
	limit    *time.Timer // ends the tour
}

func newTour(ctx context.Context, out *terminal) *tour {
	return &tour{ctx: ctx, terminal: out, parts: parts{build: realparts.Build}}
}

func (t *tour) path(elements ...string) string {
	return filepath.Join(append([]string{t.dir}, elements...)...)
}

func (t *tour) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

// check states what holds, if there is a text for it, or ends the tour.
func (t *tour) check(holds bool, text, otherwise string) {
	switch {
	case t.err != nil:
	case holds:
		if text != "" {
			t.good(text)
		}
	default:
		t.fail("%s", otherwise)
	}
}

// call is one command of the tour.
type call struct {
	program string // default custody
	args    []string
	stdin   string
	shown   string // how the command is shown; default: as it is
	exit    int    // the exit code that it must have
	show    func(lines []string) []string
}

// run runs a command in the platform's folder, shows it, and returns all that it wrote.
func (t *tour) run(c call) string {
	if t.err != nil {
		return ""
	}
	name, program := "custody", t.binary
	if c.program != "" {
		name, program = c.program, c.program
	}
	shown := c.shown
	if shown == "" {
		shown = strings.Join(append([]string{name}, quoted(c.args)...), " ")
	}
	t.command(shown)
	text, code, err := t.quietly(program, c.args, c.stdin)
	switch {
	case t.ctx.Err() != nil:
		t.fail("%w", context.Cause(t.ctx))
	case err != nil:
		t.fail("running %s: %w", shown, err)
	case code != c.exit:
		t.output(strings.Split(strings.TrimSpace(text), "\n"))
		t.fail("%s ended with exit code %d instead of %d", shown, code, c.exit)
	case c.show != nil:
		t.output(c.show(strings.Split(strings.TrimRight(text, "\n"), "\n")))
	}
	return text
}

// quietly runs a program in the platform's folder.
func (t *tour) quietly(program string, args []string, stdin string) (text string, code int, err error) {
	command := exec.CommandContext(t.ctx, program, args...)
	command.Dir, command.Env, command.Stdin = t.dir, environment(), strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	t.said.Write(output)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(output), exit.ExitCode(), nil
	}
	return string(output), 0, err
}

func quoted(args []string) []string {
	shown := slices.Clone(args)
	for i, arg := range shown {
		if strings.ContainsAny(arg, " '") {
			shown[i] = `"` + arg + `"`
		}
	}
	return shown
}

func all(lines []string) []string { return lines }

// holding keeps the lines that hold one of the words.
func holding(words ...string) func([]string) []string {
	return func(lines []string) []string {
		return slices.DeleteFunc(lines, func(line string) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, word) })
		})
	}
}

// await waits until done says so.
func (t *tour) await(what string, within time.Duration, done func() bool) {
	if t.err != nil {
		return
	}
	deadline := time.Now().Add(within)
	for !done() {
		switch {
		case t.ctx.Err() != nil:
			t.fail("%w", context.Cause(t.ctx))
			return
		case time.Now().After(deadline):
			t.fail("waited %s for %s", within, what)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ask is the running server's own interface, for waiting without printing.
func (t *tour) ask() *server.Client { return server.Dial(t.path("state", "custody.sock")) }

// row is what the inventory says of one secret, nothing while no server answers.
func (t *tour) row(name string) inventory.Row {
	rows, err := t.ask().Inventory(t.ctx, server.Filter{})
	if err != nil {
		return inventory.Row{}
	}
	i := slices.IndexFunc(rows, func(row inventory.Row) bool { return row.Secret == name })
	if i < 0 {
		return inventory.Row{}
	}
	return rows[i]
}

// settled waits until the secret has a newer version than before and no live run.
func (t *tour) settled(name, before string) {
	t.await("the rotation of "+name+" to end", time.Minute, func() bool {
		row := t.row(name)
		return row.Version != "" && row.Version != before && row.Live == nil
	})
}

func (t *tour) serve() {
	if t.err != nil {
		return
	}
	t.command("custody serve &")
	var err error
	if t.serving, err = startServing(t.binary, t.dir); err != nil {
		t.fail("%w", err)
		return
	}
	t.await("custody serve to answer", time.Minute, func() bool {
		_, err := t.ask().Status(t.ctx, server.Filter{})
		return err == nil
	})
}

// write makes a file beneath the platform's folder.
func (t *tour) write(name, content string) {
	if t.err != nil {
		return
	}
	if err := os.WriteFile(t.path(name), []byte(content), 0o600); err != nil {
		t.fail("%w", err)
	}
}

func (t *tour) read(name string) string {
	data, err := os.ReadFile(t.path(name))
	if err != nil {
		t.fail("%w", err)
	}
	return string(data)
}

// evidence prints what the platform waits for and the end of the server's log, after a failure.
func (t *tour) evidence() {
	if t.serving == nil {
		return
	}
	if status, _, err := t.quietly(t.binary, []string{"status"}, ""); err == nil {
		t.line("    custody status:")
		t.output(standing(strings.Split(status, "\n")))
	}
	tail := func(lines []string) []string { return lines[max(0, len(lines)-12):] }
	t.line("    the end of the log of custody serve:")
	t.output(tail(t.serving.log()))
	if t.showing != nil && t.showing.stand != nil && t.showing.log != nil {
		t.line("    the end of the log of " + t.showing.server + ":")
		t.output(tail(strings.Split(strings.TrimSpace(t.showing.log()), "\n")))
	}
}
