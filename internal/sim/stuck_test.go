// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/reason"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// shared are the calls to what all secrets need. While one of them does not return, nothing is rotated (and a server says that it
// is not ready); every other call holds up its own secret alone.
var shared = map[string]bool{
	"read value": true, "read version": true, "list paths": true, "get record": true, "list records": true,
	"write value": true, "put record": true, "delete record": true, "destroy version": true, "append record": true,
}

// found are what a secret waits for whose run made the call, once that was given up.
var found = map[string]reason.Code{}

// otherWithin is how long another secret's rotation may take: its calls take up to 200 ms each, and its policy settles 10 s.
const otherWithin = 2 * time.Minute

// TestCallsThatNeverReturn has each call of a rotation not return, not even when its context ends: of every kind, one at a time. No
// look waits for it for longer than the engines bound a call; another secret is rotated meanwhile; what the secret waits for is
// a finding; and once the call has returned, everything comes to rest.
func TestCallsThatNeverReturn(t *testing.T) {
	tried := map[string]bool{}
	for kind, c := range map[string]struct {
		declared Declaration
		lost     bool
	}{
		"dual":      {declare(upstreammemory.Dual, true, upstreammemory.Config{Witnesses: true}), false},
		"alternate": {declare(upstreammemory.Alternate, true, marked), false},
		"issued":    {declare(upstreammemory.Issued, false, slow), true},
		"listed":    {declare(upstreammemory.Listed, false, upstreammemory.Config{}), false},
	} {
		plain := stuck(t, c.declared, "", c.lost)
		for _, name := range slices.Sorted(maps.Keys(plain.Calls)) {
			if tried[name] {
				continue
			}
			tried[name] = true
			t.Run(kind+"/"+name, func(t *testing.T) {
				got := stuck(t, c.declared, name, c.lost)
				all.add(0, 1, got.Checks, len(got.Violations))
				fmt.Printf("%s/%s: %+v\n", kind, name, got)
			})
		}
	}
}

func stuck(t *testing.T, declared Declaration, name string, lost bool) Stuckness {
	t.Helper()
	var got Stuckness
	synctest.Test(t, func(t *testing.T) {
		var err error
		if got, err = PlayStuck(declared, name, lost); err != nil {
			t.Error(err)
		}
	})
	return got
}
