// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"time"

	"golang.org/x/sys/unix"
)

// steady is the time since the machine began to run. It goes on while the machine sleeps: one that slept for three days is not taken
// for one whose wall clock jumped by three days. What Go itself counts stands still then.
// Where the kernel does not tell, it stands still, and the wall clock is not believed.
func steady() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano())
}
