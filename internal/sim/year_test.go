// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/thorough"
)

// Each seed is an estate of perEstate secrets.
const perEstate = 25

// replay says how to live through a year again: CUSTODY_SEED names the first one of a run.
func replay(seed uint64) string {
	return fmt.Sprintf("replay: CUSTODY_SEED=%d go test ./internal/sim -short -run TestSeededYear/seeds/%d$ -count=1 -v", seed, seed)
}

// TestSeededYear lives through a year with a thousand secrets, three hundred, or fifty with -short, in estates of
// twenty-five. The seeds follow the run's own.
func TestSeededYear(t *testing.T) {
	count, began := thorough.Of(2, 12, 40), thorough.Seed(t)
	var sum tally
	var total Year
	t.Run("seeds", func(t *testing.T) {
		for i := range count {
			seed := began + uint64(i)
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				year := liveYear(t, seed)
				sum.Lock()
				defer sum.Unlock()
				total.add(year)
				sum.schedules++
				for _, violation := range year.Violations {
					t.Errorf("%s\n%s", violation, replay(seed))
				}
			})
		}
	})
	all.add(0, sum.schedules, total.Checks, len(total.Violations))
	fmt.Printf("sim: seeded year: CUSTODY_SEED=%d, %d secrets, %d calls, %d faults, %d rotations, oldest value %s of %s, at most %d timed runs an hour, %d invariant checks, violations: %d\n",
		began, sum.schedules*perEstate, total.Calls, total.Faulted, total.Rotations, total.Oldest.Round(time.Hour), lifetime, total.Busiest, total.Checks, len(total.Violations))
	if total.Faulted < total.Calls/200 {
		t.Errorf("%d of %d calls were faulty, want about one in a hundred", total.Faulted, total.Calls)
	}
}

func liveYear(t *testing.T, seed uint64) Year {
	t.Helper()
	var year Year
	synctest.Test(t, func(t *testing.T) {
		var err error
		if year, err = PlayYear(seed, perEstate); err != nil {
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

// TestSoakSeededYears plays the years that follow those of TestSeededYear, for soakFor, in the long run only.
func TestSoakSeededYears(t *testing.T) {
	length := thorough.Of(0, 0, soakFor)
	if length == 0 {
		return
	}
	var total Year
	first, played := thorough.Seed(t)+40, uint64(0)
	for began := time.Now(); time.Since(began) < length; played++ {
		year := liveYear(t, first+played)
		total.add(year)
		for _, violation := range year.Violations {
			t.Errorf("%s\n%s", violation, replay(first+played))
		}
	}
	all.add(0, int(played), total.Checks, len(total.Violations))
	fmt.Printf("sim: soak: from CUSTODY_SEED=%d for %s, %d years of %d secrets, %d faults, %d rotations, violations: %d\n",
		first, length, played, perEstate, total.Faulted, total.Rotations, len(total.Violations))
}

// soakFor is how long the soak plays: some eight hundred years of an estate on a quiet core. Each commit
// begins at another seed.
const soakFor = 8 * time.Minute
