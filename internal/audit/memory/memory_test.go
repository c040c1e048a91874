// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"testing"
	"time"

	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/audit/memory"
)

func TestConformance(t *testing.T) {
	audittest.Run(t, func(*testing.T) audittest.Log {
		return memory.New(func() time.Time { return audittest.Epoch })
	})
}
