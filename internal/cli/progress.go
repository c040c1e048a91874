// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// progress shows a run as it goes, on standard error: a line for each step, and on a terminal one that is overwritten
// for what it waits for.
type progress struct {
	p       *printer
	tty     bool
	waiting string
}

func newProgress(a *app) *progress {
	_, tty := terminal(a.err)
	return &progress{p: a.printer(a.err), tty: tty}
}

// show prints the events from the one numbered from, and what is waited for if that is new.
func (g *progress) show(run server.Run, from int, waiting string) {
	for _, event := range run.Events[min(from, len(run.Events)):] {
		g.clear()
		text := fmt.Sprintf("%s  %s", event.At.UTC().Format(time.TimeOnly), event.Step)
		if event.Detail != "" {
			text += ": " + event.Detail
		}
		g.p.linef("%s", visible(text))
	}
	g.wait(waiting)
}

// wait shows what is waited for, if that is new.
func (g *progress) wait(waiting string) {
	if waiting == g.waiting {
		return
	}
	g.clear()
	g.waiting = waiting
	switch {
	case waiting == "":
	case g.tty:
		_, _ = fmt.Fprintf(g.p.w, "          waiting: %s", visible(waiting))
	default:
		g.p.linef("          waiting: %s", visible(waiting))
	}
}

// reading shows how much of the record was read: on a terminal each percent, else each tenth.
func (g *progress) reading(read, of int64) {
	percent := read * 100 / max(of, 1)
	if !g.tty {
		percent -= percent % 10
	}
	g.wait(fmt.Sprintf("the record is read: %d%% of %d MiB", percent, of>>20))
}

// readingAfter is how long a question may read before it says how far it is, and readingEvery how often it does so from then on.
const readingAfter, readingEvery = 2 * time.Second, 5 * time.Second

// reading shows on standard error how far a question has come that reads every secret, if that takes long.
func (a *app) reading() func(done, of int) {
	next := wire.Now().Add(readingAfter)
	return func(done, of int) {
		if now := wire.Now(); now.After(next) {
			next = now.Add(readingEvery)
			_, _ = fmt.Fprintf(a.err, "no server is running, so every secret is read: %d of %d\n", done, of)
		}
	}
}

// clear takes the line that is overwritten away.
func (g *progress) clear() {
	if g.tty && g.waiting != "" {
		_, _ = fmt.Fprint(g.p.w, "\r\x1b[2K")
		g.waiting = ""
	}
}
