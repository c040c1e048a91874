// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// Crowd is what an estate came to on which several workers of two processes worked at once.
type Crowd struct {
	Calls, Faulted, Checks int
	// Beside is how many calls were begun while another one of the estate was under way.
	Beside     int
	Violations []string
}

const (
	crowdWorkers  = 16 // more than there are secrets: none waits for another
	crowdLasts    = 2 * time.Hour
	crowdRequests = 12
	// A call takes up to so long.
	crowdPace = 200 * time.Millisecond
)

// PlayCrowd has two processes of several workers each, which both believe that they lead, work on one estate for two hours,
// in which one call in fifty is faulty, and lets it settle without faults. How long a call takes follows from the seed, from
// what it asks and from when: no two begin at one instant, so that a seed replays. It must be called inside a synctest bubble.
func PlayCrowd(seed uint64) (Crowd, error) {
	w := New(seed)
	defer close(w.over)
	w.together, w.workers, w.seed = true, crowdWorkers, seed
	w.store.Remember(staleFor)
	secrets, err := w.crowd()
	if err != nil {
		return Crowd{}, err
	}
	w.counting = true
	w.plan = w.fateful
	processes := make(chan struct{})
	for range 2 {
		go w.keepAtIt(processes)
	}
	random := rand.New(rand.NewPCG(seed, 2))
	for i := range crowdRequests {
		s := secrets[random.IntN(len(secrets))]
		go w.ask(time.Duration(random.Int64N(int64(crowdLasts))), s, fmt.Sprintf("request-%d", i))
	}
	w.watchOver(crowdLasts, func() bool { return false })
	w.counting = false
	// One that was asked for at the end may still be on its way.
	w.watchOver(settleWithin, func() bool { return len(w.acknowledged) == crowdRequests && w.Settled() })
	w.lock.Lock()
	w.stopped = true
	w.lock.Unlock()
	<-processes
	<-processes
	w.together = false
	w.Final()
	crowd := Crowd{Calls: w.calls, Faulted: w.Faulted, Checks: w.Checks, Beside: w.beside}
	for _, violation := range w.Violations {
		crowd.Violations = append(crowd.Violations, violation.String())
	}
	return crowd, nil
}

// crowd declares secrets of every kind, one that is computed from another, and two that rotate as one.
func (w *World) crowd() ([]*Secret, error) {
	named := func(name string, d Declaration) Declaration {
		d.Name = name
		return d
	}
	var secrets []*Secret
	for _, d := range []Declaration{
		named("dual", declare(upstreammemory.Dual, true, upstreammemory.Config{})),
		named("alternate", declare(upstreammemory.Alternate, true, marked)),
		named("overwrite", declare(upstreammemory.Overwrite, true, upstreammemory.Config{})),
		named("issued", declare(upstreammemory.Issued, false, slow)),
		named("second", declare(upstreammemory.Dual, true, upstreammemory.Config{})),
	} {
		s, err := w.Declare(d)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, s)
	}
	if _, err := w.Declare(Declaration{Name: "derived", DerivedFrom: []string{"second"}, Reloads: []time.Duration{time.Second}, Needs: materialize.Rolled}); err != nil {
		return nil, err
	}
	lead, err := w.Declare(named("leader", declare(upstreammemory.Dual, true, upstreammemory.Config{})))
	if err != nil {
		return nil, err
	}
	if _, err := w.group(lead, []Declaration{named("member", declare(upstreammemory.Overwrite, true, upstreammemory.Config{}))}); err != nil {
		return nil, err
	}
	return append(secrets, lead), nil
}

// keepAtIt runs processes, one after another as they crash, as a server does: it looks again when a look has ended, or when
// a secret's time has come.
func (w *World) keepAtIt(ended chan<- struct{}) {
	defer func() { ended <- struct{}{} }()
	for {
		w.lock.Lock()
		r := w.boot()
		w.running = append(w.running, r)
		w.lock.Unlock()
		for w.goesOn(r) {
			next := make(chan time.Time, 1)
			go func() {
				defer close(next)
				at, err := r.Begin(r.ctx)
				if err != nil {
					at = w.Now().Add(time.Second)
				}
				next <- at
			}()
			wait := time.Second
			if at, answered := <-next; answered {
				wait = max(at.Sub(w.Now()), time.Millisecond)
			}
			if w.calling != nil {
				wait = min(wait, pollEvery)
			}
			select {
			case <-r.finished:
			case <-time.After(wait):
			}
		}
		r.Wait()
		w.lock.Lock()
		done := w.stopped
		w.lock.Unlock()
		if done {
			return
		}
		time.Sleep(time.Second)
	}
}

func (w *World) goesOn(r *running) bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	if r.estate != w.estate {
		w.tell(r)
	}
	return !r.dead && !w.stopped
}

// ask submits a request after a while, again and again as a client does until it is acknowledged.
func (w *World) ask(after time.Duration, s *Secret, id string) {
	time.Sleep(after)
	for w.submit(s, id) != nil {
		time.Sleep(time.Second)
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.acknowledged[id] = s.Path
}

// watchOver lets late effects happen for d at most, until done.
func (w *World) watchOver(d time.Duration, done func() bool) {
	until := time.Now().Add(d)
	for time.Now().Before(until) {
		w.lock.Lock()
		w.land()
		over := done()
		next := time.Now().Add(time.Second)
		for _, effect := range w.late {
			if effect.at.Before(next) {
				next = effect.at
			}
		}
		w.lock.Unlock()
		if over {
			return
		}
		time.Sleep(max(time.Until(next), time.Microsecond))
	}
}

// drawn is a number of its own for each call, below 1.
func (w *World) drawn(parts ...any) float64 {
	mixed := fnv.New64a()
	_, _ = fmt.Fprint(mixed, w.seed, time.Now().UnixNano(), parts) // never fails
	return float64(rand.New(rand.NewPCG(mixed.Sum64(), w.seed)).Uint64()>>11) / (1 << 53)
}

// wait passes the time that a call takes, which no other one takes that begins now, and returns with the lock held.
func (w *World) wait(ctx context.Context, name string, path authority.Path) {
	caller, _ := ctx.Value(processKey{}).(*process)
	w.lock.Lock()
	if w.underWay++; w.underWay > 1 {
		w.beside++
	}
	w.lock.Unlock()
	drawn := w.drawn("pace", caller.number, name, path, ctx.Value(askedKey{}))
	time.Sleep(time.Millisecond + time.Duration(drawn*float64(crowdPace)))
	w.lock.Lock()
	w.underWay--
}

// fateful breaks one call in fifty.
func (w *World) fateful(_ int, name string) Fault {
	drawn := w.drawn("fault", name)
	faults := []Fault{Failed, LostReply, Hang, LateHang}
	switch {
	case drawn < 0.002:
		faults = []Fault{CrashBefore, CrashAfter, LateCrash}
	case drawn < 0.008 && reading[name]:
		faults = []Fault{StaleByOne, StaleByMinute}
	case drawn >= 0.020:
		return None
	}
	return faults[int(w.drawn("which", name)*float64(len(faults)))]
}
