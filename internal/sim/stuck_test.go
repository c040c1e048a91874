// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/reason"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// shared are the calls to what all secrets need. While one of them does not return nothing is rotated, and a server says that it is
// not ready; every other call holds up its own secret alone.
var shared = []string{
	"append record", "delete record", "destroy version", "get record", "list records", "put record", "read value", "read version", "write value",
}

// held is what the secret waits for whose run made the call, once that was given up.
var held = map[string]reason.Code{
	"apply":            reason.CandidateNotApplied,
	"ask for uses":     reason.NewCredentialUndecided, // what is asked next there
	"collect":          reason.LostReplyNotRemoved,
	"deliver":          reason.ProofMissing,
	"list credentials": reason.CredentialsNotListed,
	"propose":          reason.CandidateNotProposed,
	"prove":            reason.ProofMissing,
	"read marker":      reason.AccountMarkerUnread,
	"revoke":           reason.NewCredentialUndecided,
	"verify":           reason.CandidateNotProposed,
}

// otherWithin is how long another secret's rotation may take beside a call that does not return: it makes some fifty calls of up to
// 200 ms, and its policy settles for 10 s and waits as long for uses.
const otherWithin = 2 * time.Minute

// TestCallsThatNeverReturn has each call of a rotation not return, not even when its context ends: of every name, one at a time. No
// look waits for longer than the engines bound a call; another secret is rotated meanwhile; what the secret waits for is a finding
// that says so; and once the call has returned, everything comes to rest.
func TestCallsThatNeverReturn(t *testing.T) {
	tried := map[string]bool{}
	try := func(kind string, declared Declaration, lost bool, names ...string) {
		t.Helper()
		for _, name := range names {
			tried[name] = true
			t.Run(kind+"/"+name, func(t *testing.T) {
				got := stuck(t, declared, name, lost)
				all.add(0, 1, got.Checks, len(got.Violations))
				gaveUp(t, name, got)
			})
		}
	}
	told := declare(upstreammemory.Dual, true, upstreammemory.Config{Witnesses: true})
	try("dual", told, false, slices.Sorted(maps.Keys(stuck(t, told, "", false).Calls))...)
	try("alternate", declare(upstreammemory.Alternate, true, marked), false, "apply", "read marker", "revoke")
	try("issued", declare(upstreammemory.Issued, false, slow), true, "collect")
	try("listed", declare(upstreammemory.Listed, false, upstreammemory.Config{}), false, "list credentials")
	for name := range held {
		if !tried[name] {
			t.Errorf("no run made the call %q", name)
		}
	}
}

// gaveUp wants the call to have held up nothing but itself.
func gaveUp(t *testing.T, name string, got Stuckness) {
	t.Helper()
	if !got.Hung {
		t.Fatal("the call was not made")
	}
	if len(got.Unended) > 0 {
		t.Errorf("gives-up: a look at %q waits for the call, beyond every bound", got.Unended)
	}
	for _, violation := range got.Violations {
		t.Error(violation)
	}
	if slices.Contains(shared, name) {
		return
	}
	if got.Other == 0 || got.Other > otherWithin {
		t.Errorf("gives-up: another secret's rotation took %s, 0s for ever", got.Other)
	}
	if !got.Waiting.Is(held[name]) || got.Waiting.ByDesign() || !strings.Contains(got.Waiting.Text(), "an earlier call to it was given up and has not ended") {
		t.Errorf("gives-up: the secret waits because of %+v, want %q, and that it names the call", got.Waiting, held[name])
	}
}

// stuck plays the estate in which the call does not return.
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
