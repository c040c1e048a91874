// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"
	"testing"

	"custody.dev/custody/internal/thorough"
)

// TestCompromiseUnderFaults breaks calls of a compromise, one at a time: a sample of all calls and faults, since each schedule waits for
// consumers for long, and all of them in the long run.
func TestCompromiseUnderFaults(t *testing.T) {
	var sum tally
	t.Run("scenarios", func(t *testing.T) {
		for _, scenario := range compromised() {
			t.Run(scenario.Name, func(t *testing.T) {
				t.Parallel()
				var bench Bench
				plain := play(t, &bench, scenario, nil)
				report(t, &sum, scenario, nil, plain)
				var schedules []Schedule
				for call, point := range plain.Points {
					for _, fault := range slices.Concat(point.Distinct(), point.Own()) {
						schedules = append(schedules, Schedule{call: fault})
					}
				}
				for _, schedule := range sample(thorough.Random(t, scenario.Name), schedules, thorough.Of(5, 40, len(schedules))) {
					report(t, &sum, scenario, schedule, play(t, &bench, scenario, schedule))
				}
			})
		}
	})
	all.add(sum.points, sum.schedules, sum.checks, sum.violations)
}

// TestCompromiseWithoutFaults plays each compromise as it goes where nothing else goes wrong.
func TestCompromiseWithoutFaults(t *testing.T) {
	var bench Bench
	for _, scenario := range append(compromised(), reportsThatKeepComing()) {
		t.Run(scenario.Name, func(t *testing.T) {
			var sum tally
			report(t, &sum, scenario, nil, play(t, &bench, scenario, nil))
		})
	}
}
