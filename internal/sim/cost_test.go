// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCallsOfARotation counts the calls that change something outside in one rotation of one consumer, from its request
// to the next look: what the package doc of rotation states. A call more is a cost that somebody has to mean.
func TestCallsOfARotation(t *testing.T) {
	want := map[string]int{
		// journal: staged, verified, before revoking, completed; the queue: submitted, closed
		"put record": 4 + 2,
		// the promoted value; the old one destroyed
		"write value": 1, "destroy version": 1,
		"apply": 1, "revoke": 1, "deliver": 1,
		// the request, and eight transitions
		"append record": 1 + 8,
	}
	for _, scenario := range Short() {
		if scenario.Name != "dual" && scenario.Name != "alternate" {
			continue
		}
		t.Run(scenario.Name, func(t *testing.T) {
			result := play(t, &Bench{}, scenario, nil)
			got, asked := map[string]int{}, map[string]int{}
			for _, point := range result.Points {
				if reading[point.Name] {
					asked[point.Name]++
				} else {
					got[point.Name]++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("calls that change something (-want +got):\n%s", diff)
			}
			// Of these calls, two are the request's: the other six are those of a timed rotation. The anchor is written once for all
			// events of some seconds, see TestEventsOfARotationShareOneWriteOfTheAnchor.
			const anchor = 1
			writes := got["put record"] + got["write value"] + got["destroy version"] + anchor
			fmt.Printf("BenchmarkRotationWrites/%s 1 %d writes\n", scenario.Name, writes) // a row of `make bench`
			fmt.Printf("sim: one rotation (%s) with one consumer: %v, and asks %v\n", scenario.Name, got, asked)
		})
	}
}
