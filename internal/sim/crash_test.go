// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

// play runs one schedule in a bubble of its own.
func play(t *testing.T, bench *Bench, scenario Scenario, schedule Schedule) Result {
	t.Helper()
	var result Result
	synctest.Test(t, func(t *testing.T) {
		var err error
		if result, err = bench.Play(scenario, schedule); err != nil {
			t.Errorf("playing %s under %s: %v", scenario.Name, schedule, err)
		}
	})
	return result
}

// tally sums up over parallel tests.
type tally struct {
	sync.Mutex
	points, schedules, checks, violations int
}

func (s *tally) add(points, schedules, checks, violations int) {
	s.Lock()
	defer s.Unlock()
	s.points += points
	s.schedules += schedules
	s.checks += checks
	s.violations += violations
}

// TestCrashEnumeration breaks every outward call of every workflow in every way, one fault at a time. With -short,
// faults that make no difference at a call that only reads are left out.
func TestCrashEnumeration(t *testing.T) {
	var sum tally
	t.Run("scenarios", func(t *testing.T) {
		for _, scenario := range Scenarios() {
			t.Run(scenario.Name, func(t *testing.T) {
				t.Parallel()
				var bench Bench
				plain := play(t, &bench, scenario, nil)
				report(t, &sum, scenario, nil, plain)
				if plain.Calls < 10 {
					t.Fatalf("only %d calls counted", plain.Calls)
				}
				sum.add(plain.Calls, 0, 0, 0)
				for call, point := range plain.Points {
					faults := Faults
					if testing.Short() {
						faults = point.Distinct()
					}
					for _, fault := range faults {
						schedule := Schedule{call: fault}
						report(t, &sum, scenario, schedule, play(t, &bench, scenario, schedule))
					}
				}
			})
		}
	})
	all.add(sum.points, sum.schedules, sum.checks, sum.violations)
	fmt.Printf("sim: single faults: %d points, %d schedules, %d invariant checks, violations: %d\n", sum.points, sum.schedules, sum.checks, sum.violations)
}

func report(t *testing.T, sum *tally, scenario Scenario, schedule Schedule, result Result) {
	t.Helper()
	sum.add(0, 1, result.Checks, len(result.Violations))
	if result.Faulted != len(schedule) {
		t.Errorf("%s under %s: %d faults happened, want %d", scenario.Name, schedule, result.Faulted, len(schedule))
	}
	for _, violation := range result.Violations {
		t.Errorf("%s under %s: %s", scenario.Name, schedule, violation)
	}
}
