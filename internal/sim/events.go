// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// Event is something that others do, once, as soon as When holds between two outward calls of any engine. The engine
// whose call it was stands still meanwhile.
type Event struct {
	When func(*World, *Secret) bool
	Do   func(*World, *Secret)
	// Member is the secret of a group that it happens to, 0 for the first.
	Member int
	of     *Secret
}

// happen lets events take place whose moment has come.
func (w *World) happen() {
	for i := 0; i < len(w.events); {
		event := w.events[i]
		if !event.When(w, event.of) {
			i++
			continue
		}
		w.events = slices.Delete(w.events, i, i+1)
		event.Do(w, event.of)
		i = 0
	}
}

// At lets something happen after d, whatever the engines do then.
func (w *World) At(d time.Duration, do func()) {
	w.late = append(w.late, lateEffect{time.Now().Add(d), do})
}

// liveAt holds once the live rotation's journaled step is step.
func liveAt(step journal.Step) func(*World, *Secret) bool {
	return func(w *World, s *Secret) bool {
		run := w.entry(s.Path).Live
		return w.counting && run != nil && run.Workflow == journal.Rotation && run.Step == step
	}
}

// recorded holds once the live rotation has step on record.
func recorded(step journal.Step) func(*World, *Secret) bool {
	return func(w *World, s *Secret) bool {
		run := w.entry(s.Path).Live
		return w.counting && run != nil && run.Workflow == journal.Rotation && slices.Contains(w.log[run.ID], string(step))
	}
}

// promoted holds once the value of record is the live rotation's.
func promoted(w *World, s *Secret) bool {
	run := w.entry(s.Path).Live
	if !w.counting || run == nil || run.Workflow != journal.Rotation {
		return false
	}
	held, err := w.store.Read(context.Background(), s.Path)
	return err == nil && held.ID.Run == run.ID
}

// abort is a person who takes the live run back, again and again until the answer is yes or no. The answer is noted.
func abort(w *World, s *Secret) {
	w.person(func(ctx context.Context, engine *rotation.Engine) error {
		return engine.Abort(ctx, s.Subject, w.liveRun(s), "person", "changed my mind")
	})
}

// force is a person who waives the live run's missing proofs.
func force(w *World, s *Secret) {
	w.person(func(ctx context.Context, engine *rotation.Engine) error {
		_, err := engine.Force(ctx, s.Subject, w.liveRun(s), "person", "the consumer is gone")
		return err
	})
}

// liveRun is the run that a person sees, "" for none.
func (w *World) liveRun(s *Secret) authority.RunID {
	if run := w.entry(s.Path).Live; run != nil {
		return run.ID
	}
	return ""
}

func (w *World) person(do func(context.Context, *rotation.Engine) error) {
	for range 20 {
		switch err := w.once(func(ctx context.Context) error { return do(ctx, w.engine()) }); {
		case err == nil:
			w.notes = append(w.notes, "done")
			return
		case errors.Is(err, rotation.ErrNotAllowed):
			w.notes = append(w.notes, "not allowed")
			return
		}
		w.Sleep(time.Second)
	}
	w.notes = append(w.notes, "never answered")
}

// foreignWrite is somebody who makes a credential by hand upstream and writes it over the value of record.
func foreignWrite(w *World, s *Secret) {
	ctx := context.Background()
	held, err := w.store.Read(ctx, s.Path)
	if err != nil {
		panic("sim: a foreign write needs a value to follow: " + err.Error())
	}
	value, err := secret.Text(map[string]string{upstreammemory.Key: "made-by-hand"})
	if err == nil {
		err = s.Upstream.Seed(value)
	}
	if err == nil {
		_, err = w.store.Write(ctx, s.Path, held.ID.Number, "foreign", value)
	}
	if err != nil {
		panic("sim: writing as a foreigner: " + err.Error())
	}
}

// ended counts the runs on record that reached step.
func (w *World) ended(step journal.Step) int {
	count := 0
	for _, steps := range w.log {
		if slices.Contains(steps, string(step)) {
			count++
		}
	}
	return count
}

// waiting is why the process that ran last said that the secret waits.
func (w *World) waiting(path authority.Path) reason.Reason { return w.states[path].Waiting }
