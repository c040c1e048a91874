// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
)

// tally sums up over parallel tests.
type tally struct {
	sync.Mutex
	points, schedules, checks, violations int
	alike                                 int            // faults left out because they are another's equal
	broken                                map[string]int // schedules that broke a scenario
	caught                                []string       // mutants, and by what
}

// catch notes what found a mutant.
func (s *tally) catch(mutant, by string) {
	s.Lock()
	defer s.Unlock()
	s.caught = append(s.caught, mutant+": caught by "+by)
}

func (s *tally) add(points, schedules, checks, violations int) {
	s.Lock()
	defer s.Unlock()
	s.points += points
	s.schedules += schedules
	s.checks += checks
	s.violations += violations
}

func (s *tally) leaveOut(faults int) {
	s.Lock()
	defer s.Unlock()
	s.alike += faults
}

// breaks counts one more broken schedule of a scenario.
func (s *tally) breaks(scenario string) int {
	s.Lock()
	defer s.Unlock()
	if s.broken == nil {
		s.broken = map[string]int{}
	}
	s.broken[scenario]++
	return s.broken[scenario]
}

// all sums up what the tests of this package did, for the last line.
var all tally

// TestMain collects garbage rarely, since worlds are small, short-lived and many, and says in its last line what ran.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	code := m.Run()
	slices.Sort(all.caught)
	for _, line := range all.caught {
		fmt.Println("sim: mutant", line)
	}
	fmt.Printf("sim: total: %d points, %d schedules, %d invariant checks, mutants caught: %d, violations: %d\n",
		all.points, all.schedules, all.checks, len(all.caught), all.violations)
	os.Exit(code)
}
