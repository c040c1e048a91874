// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A machine that had slept looked like one whose clock had jumped, and timed rotation was held until a person came. The kernel's uptime
// counts sleep.
func TestSteadyClockCountsSleep(t *testing.T) {
	before := steady()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	after := steady()
	seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	const coarse = 20 * time.Millisecond // the kernel shows hundredths of a second
	if uptime := time.Duration(seconds * float64(time.Second)); uptime < before-coarse || uptime > after+coarse {
		t.Errorf("the machine is up for %s, the steady clock shows %s to %s", uptime, before, after)
	}
}
