// SPDX-License-Identifier: Apache-2.0

package sim

import "testing"

// TestCompromiseWithoutFaults plays each compromise as it goes where nothing else goes wrong; TestCrashEnumeration breaks their calls.
func TestCompromiseWithoutFaults(t *testing.T) {
	var bench Bench
	for _, scenario := range append(compromised(), reportsThatKeepComing()) {
		t.Run(scenario.Name, func(t *testing.T) {
			var sum tally
			report(t, &sum, scenario, nil, play(t, &bench, scenario, nil))
		})
	}
}
