// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"

	"custody.dev/custody/internal/thorough"
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

// TestCrashEnumeration breaks every outward call of every workflow in every way, one fault at a time. Faults that make no
// difference at a call that only reads are left out but in the long run; TestFaultsLeftOutMakeNoDifference compares them. The
// fast loop tries half of the others.
func TestCrashEnumeration(t *testing.T) {
	var sum tally
	half := testing.Short() && os.Getenv(chosen) == "" // a mutant is looked for by every fault
	t.Run("scenarios", func(t *testing.T) {
		for _, scenario := range Scenarios() {
			t.Run(scenario.Name, func(t *testing.T) {
				t.Parallel()
				var bench Bench
				plain := play(t, &bench, scenario, nil)
				report(t, &sum, scenario, nil, plain)
				if plain.Calls < 5 {
					t.Fatalf("only %d calls counted", plain.Calls)
				}
				sum.add(plain.Calls, 0, 0, 0)
				random := thorough.Random(t, scenario.Name)
				for call, point := range plain.Points {
					faults := Faults
					if !thorough.Long() {
						faults = point.Distinct()
						sum.leaveOut(len(Faults) - len(faults))
					}
					for _, fault := range slices.Concat(faults, point.Own()) {
						if half && random.IntN(2) == 0 {
							continue
						}
						schedule := Schedule{call: fault}
						report(t, &sum, scenario, schedule, play(t, &bench, scenario, schedule))
					}
				}
			})
		}
	})
	all.add(sum.points, sum.schedules, sum.checks, sum.violations)
	fmt.Printf("sim: single faults: %d points, %d schedules (%d left out, each another's equal), %d invariant checks, violations: %d\n",
		sum.points, sum.schedules, sum.alike, sum.checks, sum.violations)
}

func report(t *testing.T, sum *tally, scenario Scenario, schedule Schedule, result Result) {
	t.Helper()
	sum.add(0, 1, result.Checks, len(result.Violations))
	if result.Faulted != len(schedule) {
		t.Errorf("%s under %s: %d faults happened, want %d", scenario.Name, schedule, result.Faulted, len(schedule))
	}
	if len(result.Violations) == 0 {
		return
	}
	for _, violation := range result.Violations {
		t.Errorf("%s under %s: %s", scenario.Name, schedule, violation)
	}
	if broken := sum.breaks(scenario.Name); broken == enoughBroken {
		t.Fatalf("%s is broken by %d schedules and not looked at further", scenario.Name, broken)
	}
}

// enoughBroken schedules tell what is wrong with a scenario. The rest, which may never come to rest, would take minutes.
const enoughBroken = 20

// TestFaultsLeftOutMakeNoDifference shows that a fault which Point.Distinct leaves out ends as the one that stands for
// it does: after as many calls and checks.
func TestFaultsLeftOutMakeNoDifference(t *testing.T) {
	reads := map[Fault]Fault{CrashAfter: CrashBefore, LostReply: Failed, LateHang: Hang, LateCrash: CrashBefore}
	var bench Bench
	compared := 0
	for _, scenario := range Short() {
		plain := play(t, &bench, scenario, nil)
		same := func(out, in Schedule, calls int) {
			t.Helper()
			compared++
			left, stands := play(t, &bench, scenario, out), play(t, &bench, scenario, in)
			if left.Calls != stands.Calls+calls || left.Checks != stands.Checks {
				t.Errorf("%s: %s ends after %d calls and %d checks, %s after %d and %d", scenario.Name, out, left.Calls, left.Checks, in, stands.Calls, stands.Checks)
			}
		}
		for call, point := range plain.Points {
			if reading[point.Name] {
				for out, in := range reads {
					same(Schedule{call: out}, Schedule{call: in}, 0)
				}
			}
			if point.Follows { // the call that died is counted
				same(Schedule{call: CrashBefore}, Schedule{call - 1: CrashAfter}, 1)
			}
		}
	}
	if compared < 500 {
		t.Errorf("only %d faults were compared", compared)
	}
}

// TestTwoEnginesStageAtOneInstant is a pair of faults that once left an orphan: an engine stands still before it stages
// a run, a second one stages it at the same instant and dies over issuing, and the first goes on.
func TestTwoEnginesStageAtOneInstant(t *testing.T) {
	var bench Bench
	for _, scenario := range Short() {
		if scenario.Name != "issued" {
			continue
		}
		for call, point := range play(t, &bench, scenario, nil).Points {
			if point.Name == "apply" { // whatever is staged is staged before
				break
			}
			if point.Name != "put record" { // the second engine writes what the first was about to
				continue
			}
			for _, died := range []Fault{CrashAfter, LateCrash} {
				for later := range 40 {
					schedule := Schedule{call: BriefBefore, call + 1 + later: died}
					report(t, &all, scenario, schedule, play(t, &bench, scenario, schedule))
				}
			}
		}
	}
}
