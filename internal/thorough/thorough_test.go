// SPDX-License-Identifier: Apache-2.0

package thorough

import "testing"

// Names draw apart, and the same name draws the same again.
func TestRandomByName(t *testing.T) {
	first, again, other := Random(t, "one").Uint64(), Random(t, "one").Uint64(), Random(t, "two").Uint64()
	if first != again {
		t.Errorf("the same seed and name drew %d and %d", first, again)
	}
	if first == other {
		t.Error("two names drew the same")
	}
}

// The long run is asked for by its variable, and -short outranks it.
func TestOf(t *testing.T) {
	t.Setenv("CUSTODY_LONG", "")
	if got, want := Of("check", "test", "long"), "test"; got != want && !testing.Short() {
		t.Errorf("without a word: %s, want %s", got, want)
	}
	t.Setenv("CUSTODY_LONG", "1")
	want := "long"
	if testing.Short() {
		want = "check"
	}
	if got := Of("check", "test", "long"); got != want {
		t.Errorf("with CUSTODY_LONG=1: %s, want %s", got, want)
	}
}
