// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"

	"custody.dev/custody/internal/thorough"
)

// TestSeveralWorkers has two processes of several workers each work on one estate at once. The seeds follow the run's own.
func TestSeveralWorkers(t *testing.T) {
	count, began := thorough.Of(1, 12, 500), thorough.Seed(t)
	var sum tally
	var total Crowd
	t.Run("seeds", func(t *testing.T) {
		for i := range count {
			seed := began + uint64(i)
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				crowd := liveInCrowd(t, seed)
				sum.Lock()
				defer sum.Unlock()
				total.add(crowd)
				sum.schedules++
				for _, violation := range crowd.Violations {
					t.Errorf("%s\nreplay: CUSTODY_SEED=%d go test ./internal/sim -short -run TestSeveralWorkers/seeds/%d$ -count=1 -v", violation, seed, seed)
				}
			})
		}
	})
	all.add(0, sum.schedules, total.Checks, len(total.Violations))
	fmt.Printf("sim: several workers: CUSTODY_SEED=%d, %d estates, %d calls, %d beside another, %d faults, %d invariant checks, violations: %d\n",
		began, sum.schedules, total.Calls, total.Beside, total.Faulted, total.Checks, len(total.Violations))
	if total.Beside < total.Calls/10 {
		t.Errorf("%d of %d calls were made beside another", total.Beside, total.Calls)
	}
	if total.Faulted < total.Calls/200 {
		t.Errorf("%d of %d calls were faulty, want about one in fifty", total.Faulted, total.Calls)
	}
}

func liveInCrowd(t *testing.T, seed uint64) Crowd {
	t.Helper()
	var crowd Crowd
	synctest.Test(t, func(t *testing.T) {
		var err error
		if crowd, err = PlayCrowd(seed); err != nil {
			t.Error(err)
		}
	})
	return crowd
}

func (c *Crowd) add(one Crowd) {
	c.Calls += one.Calls
	c.Faulted += one.Faulted
	c.Checks += one.Checks
	c.Beside += one.Beside
	c.Violations = append(c.Violations, one.Violations...)
}

// TestCrowdReplays shows that a seed is all there is to an estate with several workers.
func TestCrowdReplays(t *testing.T) {
	one, two := liveInCrowd(t, 1), liveInCrowd(t, 1)
	if got, want := fmt.Sprint(one), fmt.Sprint(two); got != want {
		t.Errorf("the same seed gave\n%s\nand\n%s", got, want)
	}
}
