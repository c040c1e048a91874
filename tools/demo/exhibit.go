// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// exhibit is one kind of credential that the tour shows after the database's.
type exhibit struct {
	id     string // names its folders, its files, and what --without leaves out
	what   string // "an API token"
	server string // who honours it
	about  string
	shows  string // a pattern for grep: the lines of its documents that say most
	secret string // what its clients use
	asked  string // what is asked to rotate; default secret
	needs  string // its part, by the name that tools/install-parts knows
	built  bool   // by tools/install-parts, which takes minutes the first time
	start  func(ctx context.Context, t *tour, dir string) (*stand, error)

	*stand                // once it is there
	client  *signingIn    // once it has begun
	missing error         // why it is not there
	started chan struct{} // closed when stand or missing is set
}

// stand is an exhibit whose server runs.
type stand struct {
	documents map[string]string // files beneath estate/, the exhibit's own first
	seals     []sealed
	target    target
	workers   int
	every     time.Duration
	stop      func() error
	log       func() string
}

// sealed is a field of a bootstrap document.
type sealed struct{ secret, field, value string }

// absentError says how to have a part that is not here.
type absentError string

func (e absentError) Error() string { return string(e) }

// exhibits are all kinds that are shown after the database's, in order.
func exhibits() []*exhibit {
	return []*exhibit{apiToken(), objectKey(), mailPassword(), identityClient(), connectionString()}
}

// file names what belongs to the exhibit.
func (e *exhibit) file() string { return "estate/" + e.id + ".yaml" }

// there reports whether it can be shown.
func (e *exhibit) there() bool { return e.missing == nil }

// open starts the servers of all exhibits but those left out, beside the tour, when their parts are built.
func (t *tour) open(without []string) {
	ctx, cancel := context.WithCancel(t.ctx)
	t.close = cancel
	t.exhibits = exhibits()
	turn := make(chan struct{})
	close(turn)
	for _, e := range slices.Backward(t.exhibits) { // what is built soonest comes last
		e.started = make(chan struct{})
		if leftOut(without, e.id) {
			e.missing = absentError("left out by --without")
			close(e.started)
			continue
		}
		var mine, next chan struct{}
		if e.built {
			mine, next = turn, make(chan struct{})
			turn = next
		}
		go func() {
			defer close(e.started)
			if e.built {
				_, e.missing = t.parts.have(ctx, e.needs, mine)
				close(next)
			}
			dir := filepath.Join(t.base, e.id)
			if e.missing == nil {
				e.missing = os.Mkdir(dir, 0o700)
			}
			if e.missing == nil {
				e.stand, e.missing = e.start(ctx, t, dir)
			}
		}()
	}
}

// gather waits until every exhibit is there, or known to be missing. One that failed though its parts are here ends the
// tour.
func (t *tour) gather() {
	for _, e := range t.exhibits {
		if t.err != nil {
			return
		}
		t.awaitPart(e)
		if _, ok := errors.AsType[absentError](e.missing); e.missing != nil && !ok {
			t.fail("%s (%s): %w", e.what, e.server, e.missing)
		}
	}
}

// leave stops every server and client of the exhibits.
func (t *tour) leave() error {
	if t.close != nil {
		t.close()
	}
	var errs []error
	for _, e := range t.exhibits {
		<-e.started
		if e.client != nil {
			errs = append(errs, e.client.kill())
		}
		if e.stand != nil && e.stop != nil {
			errs = append(errs, e.stop())
		}
	}
	return errors.Join(errs...)
}
