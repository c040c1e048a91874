// SPDX-License-Identifier: Apache-2.0

package file

import (
	"sync"
	"testing"
	"testing/synctest"
)

// Each of many deliveries read what every process has mounted.
func TestLooksAtMountsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 20
		hold, made := make(chan struct{}), 0
		shared := &Mounts{do: func() mountsSeen {
			made++
			<-hold
			return mountsSeen{own: make([]mount, made)}
		}}
		var first, others sync.WaitGroup
		first.Go(func() {
			if got := len(shared.look().own); got != 1 {
				t.Errorf("the first was told of look %d", got)
			}
		})
		synctest.Wait() // it is under way, and may have missed what was mounted since
		for range callers {
			others.Go(func() {
				if got := len(shared.look().own); got != 2 {
					t.Errorf("one that came later was told of look %d, want the second", got)
				}
			})
		}
		synctest.Wait()
		hold <- struct{}{}
		first.Wait()
		hold <- struct{}{}
		others.Wait()
		if made != 2 {
			t.Errorf("%d looks were made for %d callers, want the one under way and one for all others", made, callers+1)
		}
	})
}
