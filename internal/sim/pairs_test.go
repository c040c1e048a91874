// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"testing"
)

// TestCrashPairs breaks two calls of every workflow in every way that makes a difference (Point): the second
// fault may lie in the calls of the second engine or of the restarted process that the first one brought about.
func TestCrashPairs(t *testing.T) {
	if testing.Short() {
		return // single faults are enough for the quick loop
	}
	var sum tally
	t.Run("scenarios", func(t *testing.T) {
		for _, scenario := range Short() {
			plain := play(t, &Bench{}, scenario, nil)
			for call, point := range plain.Points {
				t.Run(fmt.Sprintf("%s/%d", scenario.Name, call), func(t *testing.T) {
					t.Parallel()
					pairs(t, &sum, scenario, call, point)
				})
			}
		}
	})
	all.add(sum.points, sum.schedules, sum.checks, sum.violations)
	fmt.Printf("sim: pairs of faults: %d points, %d schedules (%d left out, each another's equal), %d invariant checks, violations: %d\n",
		sum.points, sum.schedules, sum.alike, sum.checks, sum.violations)
}

// pairs plays every schedule whose first fault is at call.
func pairs(t *testing.T, sum *tally, scenario Scenario, call int, point Point) {
	var bench Bench
	for _, fault := range point.Distinct() {
		single := play(t, &bench, scenario, Schedule{call: fault})
		sum.add(len(single.Points)-call-1, 0, 0, 0)
		for next, point := range single.Points {
			if next <= call {
				continue
			}
			seconds := point.Distinct()
			sum.leaveOut(len(Faults) - len(seconds))
			for _, second := range seconds {
				schedule := Schedule{call: fault, next: second}
				report(t, sum, scenario, schedule, play(t, &bench, scenario, schedule))
			}
		}
	}
}
