// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// bounded are the calls that the engines give up by themselves, whatever the other side makes of a context that ended. Who
// bounds one more lists it here.
var bounded = map[string]bool{}

// TestCallsThatNeverReturn has each kind of call of a rotation not return, not even when its context ends. Those that are
// bounded must not keep the run from its end. The others stop the process, and the simulator says so.
func TestCallsThatNeverReturn(t *testing.T) {
	for _, scenario := range Short() {
		if scenario.Name != "dual" {
			continue
		}
		var bench Bench
		plain := play(t, &bench, scenario, nil)
		first := map[string]int{}
		for call, point := range slices.Backward(plain.Points) {
			first[point.Name] = call
		}
		var stops []string
		for _, name := range slices.Sorted(maps.Keys(first)) {
			schedule := Schedule{first[name]: Stuck}
			result := play(t, &bench, scenario, schedule)
			if bounded[name] {
				report(t, &all, scenario, schedule, result)
				continue
			}
			if len(result.Violations) > 0 {
				stops = append(stops, name)
			}
		}
		fmt.Printf("sim: a call that never returns, and is not bounded yet, stops the run at: %s\n", strings.Join(stops, ", "))
	}
}
