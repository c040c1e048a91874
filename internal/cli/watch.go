// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// watchEvery is how often what is watched is asked for.
const watchEvery = 2 * time.Second

// frame is one picture for a terminal, which gets the colours that the terminal gets.
type frame struct {
	io.Writer
	fd int
}

// Fd is the terminal's.
func (f frame) Fd() uintptr { return uintptr(f.fd) }

// watched calls show once; with watch again and again, until it says that there is nothing more to see or ctx ends, which is
// no error. Of what show writes, what is the same as before is left out. On a terminal the screen is cleared before each. While a
// server that answered once does not, as when it is restarted, that is said, and it is asked again.
func (a *app) watched(ctx context.Context, platform *wire.Connection, watch bool, show func(context.Context) (done bool, err error)) error {
	if !watch {
		_, err := show(ctx)
		return err
	}
	if !platform.Serving() {
		return &server.Problem{Class: server.Unavailable, Text: "--watch needs a running server", Hint: "start it with `custody serve`"}
	}
	out := a.out
	defer func() { a.out = out }()
	fd, screen := terminal(out)
	for before, away := []byte(nil), false; ; pause(ctx, watchEvery) {
		var shown bytes.Buffer
		if a.out = &shown; screen {
			a.out = frame{&shown, fd}
		}
		done, err := show(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the wait was ended, and so were questions under way
		}
		if err != nil && before != nil && server.Problems(err).Class == server.Unavailable {
			if !away {
				_, _ = fmt.Fprintf(a.err, "the server does not answer; it is asked again every %s\n", watchEvery)
			}
			away = true
			continue
		}
		if err != nil {
			return err
		}
		if away {
			_, _ = io.WriteString(a.err, "the server answers again\n")
			away, before = false, []byte{}
		}
		if !bytes.Equal(shown.Bytes(), before) {
			if screen {
				_, _ = io.WriteString(out, "\x1b[2J\x1b[H")
			} else if before != nil && a.output == "" {
				_, _ = io.WriteString(out, "\n")
			}
			if _, err := out.Write(shown.Bytes()); err != nil {
				return err
			}
			before = shown.Bytes()
		}
		if done {
			return nil
		}
	}
}
