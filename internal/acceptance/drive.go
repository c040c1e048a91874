// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// driver requests rotations of many secrets at once, through the server's socket, and outlives the server's crashes.
type driver struct {
	client *server.Client

	mu   sync.Mutex
	rows map[string]inventory.Row
	next chan struct{} // closed when rows are newer
	// heldUp are the runs, by secret, that were seen waiting for their upstream to answer, or for a deadline.
	heldUp map[string]map[string]bool
	// delivered is called with each new version of a secret once its run is over.
	delivered func(name, version string)
	last      map[string]string
}

// followEvery is how often the inventory is asked for.
const followEvery = 40 * time.Millisecond

// follow starts a driver that ends with the test.
func follow(t *testing.T, client *server.Client, delivered func(name, version string)) *driver {
	d := &driver{client: client, next: make(chan struct{}), heldUp: map[string]map[string]bool{}, delivered: delivered, last: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if rows, err := d.client.Inventory(ctx, server.Filter{}); err == nil {
				d.keep(rows)
			}
			time.Sleep(followEvery)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return d
}

func (d *driver) keep(rows []inventory.Row) {
	for _, row := range rows {
		if row.Live == nil && row.Version != "" && d.last[row.Secret] != row.Version {
			d.last[row.Secret] = row.Version
			d.delivered(row.Secret, row.Version)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows = make(map[string]inventory.Row, len(rows))
	for _, row := range rows {
		d.rows[row.Secret] = row
		if row.Live != nil && row.Waiting != nil && (row.Waiting.Is(reason.EarlierCallPending) || row.Waiting.Code.Class() == reason.Fault && !row.Waiting.Is(reason.ProofMissing)) {
			if d.heldUp[row.Secret] == nil {
				d.heldUp[row.Secret] = map[string]bool{}
			}
			d.heldUp[row.Secret][string(row.Live.ID)] = true
		}
	}
	close(d.next)
	d.next = make(chan struct{})
}

// disturbed counts the runs of some secrets that were held up.
func (d *driver) disturbed(names []string) (runs int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range names {
		runs += len(d.heldUp[name])
	}
	return runs
}

func (d *driver) look(name string) (inventory.Row, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rows[name], d.next
}

// await returns a secret's row as soon as done says so.
func (d *driver) await(ctx context.Context, name string, done func(inventory.Row) bool) (inventory.Row, error) {
	for {
		row, next := d.look(name)
		if done(row) {
			return row, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return row, fmt.Errorf("%s: %w", standing(row), context.Cause(ctx))
		}
	}
}

// standing tells how a secret stands, and what its run waits for.
func standing(row inventory.Row) string {
	text := fmt.Sprintf("%s is %s at version %q", row.Secret, row.State, row.Version)
	if row.Waiting != nil {
		text += fmt.Sprintf(", waiting: %q", row.Waiting.Text)
	}
	if run := row.Live; run != nil {
		text += fmt.Sprintf("; run %s, at step %s in the journal, live for %s, calls may land until %s", run.ID, run.Step, time.Since(run.Started).Round(time.Millisecond), run.CallBy.UTC().Format(time.TimeOnly))
		if run.Undo != "" {
			text += ", being undone: " + run.Undo
		}
	}
	if last := row.Last; last != nil {
		text += fmt.Sprintf("; last run %s %s %s", last.Run, last.Result, last.Detail)
	}
	return text
}

// standings tells how the secrets of a kind stand.
func (l *live) standings() string {
	var lines []string
	for _, name := range l.secrets {
		row, _ := l.stage.drive.look(name)
		lines = append(lines, standing(row))
	}
	return strings.Join(lines, "\n")
}

// during tells which run of a secret was live at a moment, and at which step.
func (s *Stage) during(t *testing.T, name string, at time.Time) string {
	t.Helper()
	runs, err := s.rig.client.Runs(t.Context(), name)
	if err != nil {
		return err.Error()
	}
	for _, run := range runs {
		if run.Started.Before(at) && (run.Ended.IsZero() || run.Ended.After(at)) {
			return fmt.Sprintf("%s was in run %s at step %s, %s", name, run.ID, stepAt(run, at), at.UTC().Format(time.RFC3339Nano))
		}
	}
	return fmt.Sprintf("%s was in no run, %s", name, at.UTC().Format(time.RFC3339Nano))
}

// ask submits one request, however often the server crashes meanwhile.
func (d *driver) ask(ctx context.Context, name string) (string, error) {
	request := server.RotateRequest{ID: wire.NewID(), Secret: name, Reason: "acceptance test"}
	for {
		_, err := d.client.Rotate(ctx, request)
		var problem *server.Problem
		switch {
		case err == nil:
			return request.ID, nil
		case errors.As(err, &problem) && problem.Class != server.Unavailable:
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(followEvery):
		}
	}
}

// rotate has one secret rotated and waits until that is done. A run that was undone is asked for again.
func (d *driver) rotate(ctx context.Context, name string) (undone int, err error) {
	var asked []string
	served := func(row inventory.Row) bool {
		return row.Last != nil && row.Last.Result == "completed" && row.Live == nil &&
			slices.ContainsFunc(asked, func(id string) bool { return slices.Contains(row.Last.Trigger.Requests, id) })
	}
	for {
		id, err := d.ask(ctx, name)
		if err != nil {
			return undone, fmt.Errorf("requesting a rotation of %s: %w", name, err)
		}
		asked = append(asked, id)
		since := time.Now()
		row, err := d.await(ctx, name, func(row inventory.Row) bool {
			return served(row) || row.Last != nil && row.Last.Result == "undone" && row.Live == nil && row.Last.Ended.After(since)
		})
		if err != nil {
			return undone, fmt.Errorf("rotating %s: %w", name, err)
		}
		if served(row) {
			return undone, nil
		}
		undone++
	}
}

// settle waits until no secret of the stage has a live run.
func (s *Stage) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	names := slices.Clone(s.admins)
	for _, l := range s.kinds {
		names = append(names, l.secrets...)
	}
	for _, name := range names {
		if _, err := s.drive.await(ctx, name, func(row inventory.Row) bool { return row.State == "steady" }); err != nil {
			t.Errorf("%s does not come to rest: %v\n%s", name, err, tail(s.log()))
		}
	}
}
