// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"testing"
	"time"
)

// longest is a deadline that even a very busy machine keeps to: what is tried takes less than a tenth of a second.
const longest = time.Minute

// Deadlines is for what a call does at its deadline, which must come after the request that counts and should not be
// waited for long. It tries first, and twice as long each time, until try says that the request was made in time.
func Deadlines(t *testing.T, first time.Duration, try func(deadline time.Duration) (inTime bool)) {
	t.Helper()
	for deadline := first; ; deadline *= 2 {
		if try(deadline) {
			return
		}
		if deadline >= longest {
			t.Fatalf("within %s the call did not come to the request that counts", deadline)
		}
		t.Logf("within %s the call did not come to the request that counts", deadline)
	}
}
