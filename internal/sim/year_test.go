// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// Each seed is an estate of perEstate secrets.
const perEstate = 25

// TestSeededYear lives through a year with a thousand secrets, fifty with -short, in estates of twenty-five.
// CUSTODY_SIM_SEED=N plays one estate again.
func TestSeededYear(t *testing.T) {
	first, last := 1, 40
	if testing.Short() {
		last = 2
	}
	if replay := os.Getenv("CUSTODY_SIM_SEED"); replay != "" {
		seed, err := strconv.Atoi(replay)
		if err != nil {
			t.Fatalf("reading CUSTODY_SIM_SEED: %v", err)
		}
		first, last = seed, seed
	}
	var sum tally
	var total Year
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(strconv.Itoa(seed), func(t *testing.T) {
				t.Parallel()
				year := liveYear(t, seed)
				sum.Lock()
				defer sum.Unlock()
				total.add(year)
				sum.schedules++
				for _, violation := range year.Violations {
					t.Errorf("%s\nreplay: CUSTODY_SIM_SEED=%d go test ./internal/sim -run TestSeededYear -count=1 -v", violation, seed)
				}
			})
		}
	})
	all.add(0, sum.schedules, total.Checks, len(total.Violations))
	fmt.Printf("sim: seeded year: %d secrets, %d calls, %d faults, %d rotations, oldest value %s of %s, at most %d timed runs an hour, %d invariant checks, violations: %d\n",
		sum.schedules*perEstate, total.Calls, total.Faulted, total.Rotations, total.Oldest.Round(time.Hour), lifetime, total.Busiest, total.Checks, len(total.Violations))
	if total.Faulted < total.Calls/200 {
		t.Errorf("%d of %d calls were faulty, want about one in a hundred", total.Faulted, total.Calls)
	}
}

func liveYear(t *testing.T, seed int) Year {
	t.Helper()
	var year Year
	synctest.Test(t, func(t *testing.T) {
		var err error
		if year, err = PlayYear(uint64(seed), perEstate); err != nil {
			t.Error(err)
		}
	})
	return year
}

func (y *Year) add(one Year) {
	y.Calls += one.Calls
	y.Faulted += one.Faulted
	y.Checks += one.Checks
	y.Rotations += one.Rotations
	y.Oldest, y.Busiest = max(y.Oldest, one.Oldest), max(y.Busiest, one.Busiest)
	y.Violations = append(y.Violations, one.Violations...)
}

// TestYearReplays shows that a seed is all there is to a year.
func TestYearReplays(t *testing.T) {
	one, two := liveYear(t, 1), liveYear(t, 1)
	if got, want := fmt.Sprint(one), fmt.Sprint(two); got != want {
		t.Errorf("the same seed gave\n%s\nand\n%s", got, want)
	}
}

// TestSoakSeededYears plays years of further seeds for as long as CUSTODY_SOAK says.
func TestSoakSeededYears(t *testing.T) {
	soak := os.Getenv("CUSTODY_SOAK")
	if soak == "" {
		return // make soak sets it
	}
	length, err := time.ParseDuration(soak)
	if err != nil {
		t.Fatalf("reading CUSTODY_SOAK: %v", err)
	}
	var total Year
	seed := 1000
	for began := time.Now(); time.Since(began) < length; seed++ {
		year := liveYear(t, seed)
		total.add(year)
		for _, violation := range year.Violations {
			t.Errorf("%s\nreplay: CUSTODY_SIM_SEED=%d go test ./internal/sim -run TestSeededYear -count=1 -v", violation, seed)
		}
	}
	all.add(0, seed-1000, total.Checks, len(total.Violations))
	fmt.Printf("sim: soak: %d years of %d secrets, %d faults, %d rotations, violations: %d\n", seed-1000, perEstate, total.Faulted, total.Rotations, len(total.Violations))
}
