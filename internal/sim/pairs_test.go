// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"custody.dev/custody/internal/thorough"
)

// How many first faults of each scenario are tried, and how many second ones with each: a sample, but for the long run.
const (
	sampledFirsts  = 96
	sampledSeconds = 32
)

// TestCrashPairs breaks two calls of every workflow in ways that make a difference (Point): the second fault may lie in
// the calls of the second engine or of the restarted process that the first one brought about.
func TestCrashPairs(t *testing.T) {
	if testing.Short() {
		return // single faults are enough for the quick loop
	}
	firsts, seconds := thorough.Of(0, sampledFirsts, math.MaxInt), thorough.Of(0, sampledSeconds, math.MaxInt)
	var sum tally
	t.Run("scenarios", func(t *testing.T) {
		for _, scenario := range Short() {
			plain := play(t, &Bench{}, scenario, nil)
			var all []first
			for call, point := range plain.Points {
				for _, fault := range point.Distinct() {
					all = append(all, first{call, fault})
				}
			}
			random := thorough.Random(t, "first faults of "+scenario.Name)
			for _, one := range sample(random, all, firsts) {
				t.Run(fmt.Sprintf("%s/%d:%s", scenario.Name, one.call, one.fault), func(t *testing.T) {
					t.Parallel()
					pairs(t, &sum, scenario, one, seconds)
				})
			}
		}
	})
	all.add(sum.points, sum.schedules, sum.checks, sum.violations)
	fmt.Printf("sim: pairs of faults: CUSTODY_SEED=%d, %d points, %d schedules (%d left out, each another's equal), %d invariant checks, violations: %d\n",
		thorough.Seed(t), sum.points, sum.schedules, sum.alike, sum.checks, sum.violations)
}

// first is the fault that a pair begins with.
type first struct {
	call  int
	fault Fault
}

// pairs plays schedules that begin with one, as many as are wanted.
func pairs(t *testing.T, sum *tally, scenario Scenario, one first, wanted int) {
	var bench Bench
	single := play(t, &bench, scenario, Schedule{one.call: one.fault})
	sum.add(len(single.Points)-one.call-1, 0, 0, 0)
	var schedules []Schedule
	for next, point := range single.Points {
		if next <= one.call {
			continue
		}
		faults := point.Distinct()
		sum.leaveOut(len(Faults) - len(faults))
		for _, second := range faults {
			schedules = append(schedules, Schedule{one.call: one.fault, next: second})
		}
	}
	random := thorough.Random(t, fmt.Sprintf("second faults of %s after %d:%s", scenario.Name, one.call, one.fault))
	for _, schedule := range sample(random, schedules, wanted) {
		report(t, sum, scenario, schedule, play(t, &bench, scenario, schedule))
	}
}

// sample draws count of all, or all in their order if there are no more.
func sample[T any](random *rand.Rand, all []T, count int) []T {
	if count >= len(all) {
		return all
	}
	drawn := make([]T, count)
	for i, at := range random.Perm(len(all))[:count] {
		drawn[i] = all[at]
	}
	return drawn
}
