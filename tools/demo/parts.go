// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/realparts"
)

const (
	// limit is fifteen times what the tour takes on two cores, so that a part which hangs ends it. The time of builds is
	// not counted.
	limit = 10 * time.Minute
	// buildLimit is fifteen times what the longest build takes on two cores.
	buildLimit = time.Hour
	// reminder is how often a tour that waits for a build says so.
	reminder = 30 * time.Second
)

// Exit codes of tools/install-parts.
const (
	answeredNo = 3
	noRights   = 4
)

var errTooLong = fmt.Errorf("the tour took longer than %s", limit)

// parts are programs that are built beside the tour, one at a time.
type parts struct {
	may   bool // nobody said no
	build func(ctx context.Context, name string) (string, error)

	mu    sync.Mutex
	name  string // what is being built, "" for nothing
	since time.Time
}

// install has tools/install-parts install the packages of what the tour shows, and reports whether it may build what is
// to be built. Whatever is missing afterwards is named by the tour, which goes on.
func (t *tour) install(without []string) (bool, error) {
	installer, err := realparts.Installer()
	if err != nil {
		return false, err
	}
	args := []string{"--ask", "--no-build", "git"}
	if !leftOut(without, postgresql) {
		args = append(args, postgresql)
	}
	for _, e := range exhibits() {
		if e.needs != "" && !leftOut(without, e.id) {
			args = append(args, e.needs)
		}
	}
	command := exec.CommandContext(t.ctx, installer, args...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, t.out, t.out
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) } // it tidies up
	err = command.Run()
	if t.ctx.Err() != nil {
		return false, context.Cause(t.ctx)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return true, nil
	case !ok:
		return false, err
	}
	t.line("going on with the parts that are here")
	return exit.ExitCode() != answeredNo, nil
}

func leftOut(without []string, id string) bool {
	return slices.Contains(without, id) || slices.Contains(without, "all")
}

// have returns where the part of that name lies, and builds it first, where it may, when its turn comes.
func (p *parts) have(ctx context.Context, name string, turn <-chan struct{}) (string, error) {
	select {
	case <-turn:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	path, err := realparts.Built(ctx, name)
	if path != "" || err != nil {
		return path, err
	}
	if !p.may {
		return "", absentError("not built here: `tools/install-parts " + name + "` builds it")
	}
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	p.begin(name)
	defer p.begin("")
	path, err = p.build(ctx, name)
	if err != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		return "", absentError(reason(err))
	}
	return path, err
}

// reason is what tools/install-parts says last: its error, and what to do.
func reason(err error) string {
	lines := strings.Split(err.Error(), "\n")
	lines = lines[max(0, len(lines)-2):]
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(line, "error: "), "hint: ")
	}
	return strings.Join(lines, "; ")
}

func (p *parts) begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.since = name, time.Now()
}

// progress says what is being built, "" for nothing.
func (p *parts) progress() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name == "" {
		return ""
	}
	return fmt.Sprintf("building %s, once, for %s so far", p.name, time.Since(p.since).Round(time.Second))
}

// step begins a step, and says what is being built beside it.
func (t *tour) step(title, about string) {
	t.terminal.step(title, about)
	if building := t.parts.progress(); building != "" {
		t.line("    " + t.faint("meanwhile: "+building))
	}
}

// awaitPart waits until an exhibit is there, or known to be missing. It says so while a build takes its time.
func (t *tour) awaitPart(e *exhibit) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := time.Now().Add(-reminder)
	for {
		select {
		case <-e.started:
			return
		case <-tick.C:
		}
		building := t.parts.progress()
		if building == "" {
			continue // its server starts, within the tour's limit
		}
		t.limit.Reset(limit)
		if time.Since(said) >= reminder {
			said = time.Now()
			t.line("    " + t.faint("waiting: "+building+"; Ctrl-C ends it"))
		}
	}
}
