// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"sync/atomic"
	"time"
)

// Skewed is the machine's clock, for an upstream's configuration, and a Fixture's Skew, which moves it.
func Skewed() (clock func() time.Time, skew func(by time.Duration)) {
	by, now := new(atomic.Int64), time.Now //nolint:forbidigo // tests' upstreams stand beside servers with clocks of their own
	return func() time.Time { return now().Add(time.Duration(by.Load())) }, func(d time.Duration) { by.Store(int64(d)) }
}
