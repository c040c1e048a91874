// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

const (
	lifetime    = 30 * day
	leastInYear = 11
	// timedPerHour is small, so that the cap is reached.
	timedPerHour = 3
)

// Year is what a virtual year of one estate came to.
type Year struct {
	Calls, Faulted, Checks int
	Rotations              int
	// Oldest is the longest that any value lived.
	Oldest time.Duration
	// Busiest is the most timed runs that began within an hour.
	Busiest int
	// Violations of invariants, and of liveness.
	Violations []string
}

// annual follows the rotations of one estate.
type annual struct {
	*World
	rand    *rand.Rand
	seen    map[authority.RunID]bool
	starts  []time.Time // of timed runs
	rotated map[authority.Path][]time.Time
}

// PlayYear runs count secrets of mixed kinds, whose values live thirty days, through a year in which one call in a
// hundred is faulty, then lets the estate settle without faults. It must be called inside a synctest bubble.
func PlayYear(seed uint64, count int) (Year, error) {
	y := &annual{
		World: New(seed), rand: rand.New(rand.NewPCG(seed, 1)),
		seen: map[authority.RunID]bool{}, rotated: map[authority.Path][]time.Time{},
	}
	y.reconcile, y.maxTimed, y.restless = day, timedPerHour, true
	y.plan, y.saved = y.fault, y.note
	var secrets []*Secret
	for i := range count {
		s, err := y.Declare(y.declaration(i))
		if err != nil {
			return Year{}, err
		}
		secrets = append(secrets, s)
	}
	ends := time.Now().Add(365 * day)
	y.counting = true
	never := func() bool { return false }
	for _, at := range y.moments(count, 365*day) {
		y.drive(y.began.Add(at), never)
		if err := y.Request(secrets[y.rand.IntN(count)]); err != nil {
			return Year{}, err
		}
	}
	y.drive(ends, never)
	y.counting, y.restless = false, false
	y.drive(ends.Add(settleWithin), y.Settled)
	y.Final()
	return y.result(), nil
}

// declaration draws a secret.
func (y *annual) declaration(i int) Declaration {
	shapes := []upstreammemory.Shape{upstreammemory.Dual, upstreammemory.Alternate, upstreammemory.Overwrite, upstreammemory.Issued}
	delays := []time.Duration{0, time.Second, 3 * time.Second, 30 * time.Second, 2 * time.Minute}
	d := Declaration{
		Name: fmt.Sprintf("secret-%03d", i), Shape: shapes[i%len(shapes)], Needs: materialize.Rolled,
		Policy: journal.Policy{
			Name: "monthly", RotationType: "time", TTL: lifetime, RotateBefore: 3 * day, Jitter: 2 * day, RevokeOld: true,
			MaxOverlap: day, FailureStrategy: "retry", Settle: 10 * time.Second,
		},
	}
	d.Bootstrap = d.Shape != upstreammemory.Issued && y.chance(0.5)
	for range 1 + y.rand.IntN(3) {
		d.Reloads = append(d.Reloads, delays[y.rand.IntN(len(delays))])
	}
	d.Account.EnforcesRun = d.Shape == upstreammemory.Alternate && y.chance(0.5)
	if y.chance(0.3) {
		d.Account.Propagation = time.Duration(1+y.rand.IntN(20)) * time.Second
		d.Account.VagueWhilePropagating = y.chance(0.3)
	}
	if y.chance(0.2) {
		d.Account.RateLimit, d.Account.RateWindow = 6, time.Minute
	}
	if y.chance(0.2) {
		d.Account.LockoutAfter, d.Account.LockoutFor = 5, 10*time.Minute
	}
	return d
}

func (y *annual) chance(p float64) bool { return y.rand.Float64() < p }

// moments draws count moments of a span, in order.
func (y *annual) moments(count int, span time.Duration) []time.Duration {
	moments := make([]time.Duration, count)
	for i := range moments {
		moments[i] = time.Duration(y.rand.Int64N(int64(span)))
	}
	slices.Sort(moments)
	return moments
}

// fault breaks one call in a hundred. What starts a process is rarer than the rest: each new process looks at every
// secret, and those calls are broken in turn.
func (y *annual) fault(int, string) Fault {
	drawn := y.rand.Float64()
	switch {
	case drawn < 0.0015:
		return []Fault{CrashBefore, CrashAfter, LateCrash}[y.rand.IntN(3)]
	case drawn < 0.0020:
		return []Fault{BriefBefore, BriefAfter, LongBefore, LongAfter}[y.rand.IntN(4)]
	case drawn < 0.0100:
		return []Fault{Failed, LostReply, Hang, LateHang}[y.rand.IntN(4)]
	}
	return None
}

// note follows an entry that was saved.
func (y *annual) note(entry *journal.Entry) {
	if run := entry.Live; run != nil && !y.seen[run.ID] {
		y.seen[run.ID] = true
		if run.Trigger.Kind == "time" {
			y.starts = append(y.starts, run.Started)
		}
	}
	times := y.rotated[entry.Path]
	if !entry.Rotated.IsZero() && (len(times) == 0 || !times[len(times)-1].Equal(entry.Rotated)) {
		y.rotated[entry.Path] = append(times, entry.Rotated)
	}
}

// result sums up and judges liveness.
func (y *annual) result() Year {
	year := Year{Calls: y.calls, Faulted: y.Faulted, Checks: y.Checks}
	for _, violation := range y.Violations {
		year.Violations = append(year.Violations, violation.String())
	}
	for path := range y.secrets {
		y.note(y.entry(path))
		times := y.rotated[path]
		rotations := len(times) - 1
		year.Rotations += rotations
		if rotations < leastInYear {
			year.Violations = append(year.Violations, fmt.Sprintf("liveness: %s: rotated %d times in a year, want %d or more", path, rotations, leastInYear))
		}
		for i, at := range times {
			until := time.Now()
			if i < rotations {
				until = times[i+1]
			}
			year.Oldest = max(year.Oldest, until.Sub(at))
			if until.Sub(at) > lifetime {
				year.Violations = append(year.Violations, fmt.Sprintf("liveness: %s: a value lived for %s", path, until.Sub(at)))
			}
		}
	}
	slices.SortFunc(y.starts, time.Time.Compare)
	for i, at := range y.starts {
		within := 1
		for _, next := range y.starts[i+1:] {
			if next.Sub(at) >= time.Hour {
				break
			}
			within++
		}
		year.Busiest = max(year.Busiest, within)
	}
	if year.Busiest > 2*timedPerHour { // two engines that both believe that they lead have a cap each
		year.Violations = append(year.Violations, fmt.Sprintf("cap: %d timed runs began within an hour", year.Busiest))
	}
	slices.Sort(year.Violations)
	return year
}
