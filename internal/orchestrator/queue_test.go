// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/trigger"
)

// clocked is an orchestrator of that many secrets, none of which is due before an hour, under a clock that the test sets.
func clocked(count int) (o *Orchestrator, now *time.Time) {
	now = new(time.Time)
	*now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	o = New(Config{Now: func() time.Time { return *now }})
	secrets := make([]Secret, count)
	for i := range secrets {
		name := fmt.Sprintf("s%05d", i)
		secrets[i] = Secret{Subject: rotation.Subject{Secret: name, Path: authority.Path("app/" + name)}}
	}
	o.Use(secrets)
	for _, path := range o.begin(nil) {
		o.end(path, now.Add(time.Hour))
	}
	return o, now
}

// begin begins a look at each secret that is due, and end ends one.
func (o *Orchestrator) begin(requests map[authority.Path][]trigger.Request) []authority.Path {
	var paths []authority.Path
	for _, s := range o.ready(requests) {
		o.states[s.Path].woken = false
		paths = append(paths, s.Path)
	}
	return paths
}

func (o *Orchestrator) end(path authority.Path, again time.Time) {
	o.note(path, &State{Path: path, Again: again})
	o.finish(path)
}

// scan finds what is due by looking at every secret.
func (o *Orchestrator) scan(requests map[authority.Path][]trigger.Request) []authority.Path {
	var due []authority.Path
	for path, state := range o.states {
		unknown := slices.ContainsFunc(requests[path], func(r trigger.Request) bool { return !state.asked[r.ID] })
		if !o.acting(path) && (state.woken || unknown || !o.Now().Before(state.Again)) {
			due = append(due, path)
		}
	}
	slices.Sort(due)
	return due
}

// wantSets checks the stagger sets against a look at every secret.
func (o *Orchestrator) wantSets(t *testing.T) {
	t.Helper()
	want := map[string]map[authority.Path]bool{}
	for path, s := range o.secrets {
		if s.Stagger == nil {
			continue
		}
		if want[s.Stagger.Set] == nil {
			want[s.Stagger.Set] = map[authority.Path]bool{}
		}
		want[s.Stagger.Set][path] = true
	}
	if diff := cmp.Diff(want, o.sets); diff != "" {
		t.Fatalf("stagger sets (-scan +kept):\n%s", diff)
	}
}

func TestQueueFindsWhatTheScanFound(t *testing.T) {
	random := thorough.Random(t, "queue")
	o, now := clocked(40)
	path := func() authority.Path { return authority.Path(fmt.Sprintf("app/s%05d", random.IntN(45))) }
	busy := map[authority.Path]bool{}
	for round := range 5000 {
		switch random.IntN(8) {
		case 0:
			o.Wake(path())
		case 1:
			o.Doubt(path())
		case 2:
			*now = now.Add(time.Duration(random.IntN(120)) * time.Second)
		case 3: // the wall clock is set back
			*now = now.Add(-time.Duration(random.IntN(60)) * time.Second)
		case 4:
			kept := slices.DeleteFunc(slices.Collect(maps.Values(o.secrets)), func(Secret) bool { return random.IntN(10) == 0 })
			s := Secret{Subject: rotation.Subject{Secret: "again", Path: path()}}
			if set := random.IntN(4); set > 0 {
				s.Stagger = &Stagger{Set: fmt.Sprintf("set-%d", set)}
			}
			o.Use(append(kept, s))
			o.wantSets(t)
		default: // a look ends
			for at := range busy {
				o.end(at, now.Add(time.Duration(random.IntN(600)-60)*time.Second))
				delete(busy, at)
				break
			}
		}
		requests := map[authority.Path][]trigger.Request{}
		if random.IntN(4) == 0 {
			requests[path()] = []trigger.Request{{ID: "one"}}
		}
		want := o.scan(requests)
		got := o.begin(requests)
		for _, path := range got {
			busy[path] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d: what is due (-scan +queue):\n%s", round, diff)
		}
		if next := o.next(); !next.After(*now) {
			t.Fatalf("round %d: with nothing due, the next look is %s from now", round, next.Sub(*now))
		}
	}
}

// A tick and a look that ends sorted and scanned all secrets.
func TestTickCostsWhatIsDue(t *testing.T) {
	o, now := clocked(2000)
	idle := func() {
		if work := o.ready(nil); len(work) > 0 || !o.next().After(*now) {
			t.Errorf("%d are due", len(work))
		}
	}
	if allocated := testing.AllocsPerRun(10, idle); allocated > 4 {
		t.Errorf("a tick with nothing due allocates %.0f times", allocated)
	}
	woken := func() {
		o.Wake("app/s00007")
		for _, path := range o.begin(nil) {
			o.end(path, now.Add(time.Hour))
		}
	}
	if allocated := testing.AllocsPerRun(10, woken); allocated > 12 {
		t.Errorf("a look at one of 2000 allocates %.0f times", allocated)
	}
}

// BenchmarkFinishedLook is what one look costs beside what it does itself.
func BenchmarkFinishedLook(b *testing.B) {
	for _, count := range thorough.Of([]int{100}, []int{100, 10_000}, []int{100, 10_000, 100_000}) {
		b.Run(fmt.Sprintf("of %d", count), func(b *testing.B) {
			o, now := clocked(count)
			for b.Loop() {
				o.Wake("app/s00007")
				for _, path := range o.begin(nil) {
					o.end(path, now.Add(time.Hour))
				}
				o.next()
			}
		})
	}
}
