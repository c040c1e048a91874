// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// again is how often a run that waits is looked at.
const again = 200 * time.Millisecond

func (a *app) rotateCommand() *cobra.Command {
	ask, wait, timeout := server.RotateRequest{}, false, time.Duration(0)
	cmd := &cobra.Command{
		Use:   "rotate SECRET --reason TEXT",
		Short: "rotate a secret",
		Long: `Requests a new version of a secret. The request is stored before the command returns. The run takes the same steps as a timed one:
the new credential is made, applied, verified, promoted and delivered, and the old one is revoked once every consumer has proved that
it runs on the new one. Repeating a request with the same --id changes nothing.

With --compromised the request says that somebody else may have the credential. The run then waits for no maintenance window, no stagger
set and no pause after failures; it supersedes a run that waits for consumers, and also revokes what that run had not; and it revokes the
old credential without consumers' proof, and ends open sessions, if the policy says so (onCompromise).

With --wait it shows each step and exits when the run ends. Without a running server, --wait does the work in this process.`,
		Example: `  custody rotate example-token --reason "trying it out" --wait
  custody rotate db-password --reason "left the team: case 4711" --id case-4711
  custody rotate db-password --compromised --reason "found in a public log"`,
		Args:        takes("SECRET"),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			ask.Secret, ask.ID = args[0], or(ask.ID, wire.NewID())
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				request, err := platform.Rotate(ctx, ask)
				if err != nil {
					return err
				}
				if wait {
					return a.follow(ctx, platform, request.Secret, request.ID, "", timeout)
				}
				return a.answer(request, func(p *printer) {
					p.linef("request %s is on record", request.ID)
					if !platform.Serving() {
						p.linef("no server is running: start `custody serve` to carry out the request")
					}
				})
			})
		}),
	}
	cmd.Flags().StringVar(&ask.Reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().StringVar(&ask.ID, "id", "", "`name` of the request, so that you can repeat it safely (default: a new one)")
	cmd.Flags().BoolVar(&ask.Compromised, "compromised", false, "somebody else may have the credential: do not wait, and apply the policy's onCompromise")
	cmd.Flags().BoolVar(&wait, "wait", false, "show each step until the run ends")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "longest `time` to wait, such as 90s; the run continues after that")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// watcher follows one run, or the one that serves a request.
type watcher struct {
	app      *app
	platform *wire.Connection
	progress *progress
	secret   string
	request  string
	id       authority.RunID
	shown    int
	run      server.Run
	waiting  string
	failed   error
}

// follow shows the steps of run id, or of the one that serves a request, until it ended.
func (a *app) follow(ctx context.Context, platform *wire.Connection, secretName, request string, id authority.RunID, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w := &watcher{app: a, platform: platform, secret: secretName, request: request, id: id, progress: newProgress(a)}
	defer w.progress.clear()
	for {
		err := platform.Settle(ctx, func() bool { return w.look(ctx) })
		switch {
		case ctx.Err() != nil && !w.done():
			return w.late(ctx)
		case w.failed != nil:
			return w.failed
		case err != nil:
			return err
		case w.look(ctx):
			return w.end(ctx)
		}
		pause(ctx, again)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

func (w *watcher) follows(id authority.RunID, why journal.Trigger) bool {
	return id == w.id || w.request != "" && slices.Contains(why.Requests, w.request)
}

func (w *watcher) done() bool { return w.run.Result != "" && w.run.Result != "live" }

// look shows what is new and reports whether there is nothing more to wait for.
func (w *watcher) look(ctx context.Context) bool {
	e, err := w.platform.Explain(ctx, w.secret)
	if err != nil {
		w.failed = err
		return true
	}
	waiting := e.Waiting.Said()
	switch {
	case e.Live != nil && w.follows(e.Live.ID, e.Live.Trigger):
		w.run, err = w.platform.Run(ctx, e.Live.ID)
		waiting = or(w.run.Waiting.Said(), e.Waiting.Said())
	case e.Last != nil && w.follows(e.Last.Run, e.Last.Trigger):
		w.run, err = w.platform.Run(ctx, e.Last.Run)
	case e.Live != nil:
		waiting = fmt.Sprintf("run %s, which was there before, has not ended", e.Live.ID)
	default:
		waiting = or(waiting, "the request was not taken up yet")
	}
	if err != nil {
		w.failed = err
		return true
	}
	w.progress.show(w.run, w.shown, waiting)
	w.shown, w.waiting = len(w.run.Events), waiting
	return w.done()
}

// late says that the wait is over, not the run.
func (w *watcher) late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	text := "the run has not ended yet"
	if w.waiting != "" {
		text += ": " + w.waiting
	}
	return &server.Problem{Class: server.Unavailable, Text: text, Hint: "the run continues while `custody serve` runs; see `custody explain " + w.secret + "`"}
}

// end answers with the run. In this process the request is closed by one tick more.
func (w *watcher) end(ctx context.Context) error {
	w.progress.clear()
	looks := 0
	if err := w.platform.Settle(ctx, func() bool { looks++; return w.platform.Serving() || looks > 1 }); err != nil {
		return err
	}
	err := w.app.answer(w.run, func(p *printer) {
		p.linef("run %s %s after %s", w.run.ID, w.run.Result, span(w.run.Ended.Sub(w.run.Started)))
	})
	if err == nil && w.run.Result != "completed" {
		return &server.Problem{Class: server.Failure, Text: "the run was " + w.run.Result + ": " + or(w.run.Detail, "no reason on record"),
			Hint: "see `custody run show " + string(w.run.ID) + "`"}
	}
	return err
}
