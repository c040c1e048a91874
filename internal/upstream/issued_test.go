// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"fmt"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

func token(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"token": text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestIssuedKnowsWhatMayBeLost(t *testing.T) {
	i := upstream.NewIssued(time.Now, 0)
	is := func(when string, run authority.RunID, wantUnsure bool, want ...string) {
		t.Helper()
		received, unsure := i.Known(run)
		var got []string
		for _, v := range received {
			got = append(got, v.ExposeText("token"))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || unsure != wantUnsure {
			t.Errorf("%s: got %v (unsure %t), want %v (%t)", when, got, unsure, want, wantUnsure)
		}
	}
	is("a run of which nothing is known", "run-1", true)
	told := i.Ask("run-1")
	is("on its way", "run-1", true)
	told(token(t, "a"))
	is("received", "run-1", false, "a")
	i.Ask("run-1")(token(t, "b"))
	is("another received", "run-1", false, "a", "b")
	i.TakenBack("run-1", token(t, "a"))
	is("one taken back", "run-1", false, "b")
	i.Ask("run-1")()
	is("certainly none made", "run-1", false, "b")
	i.Ask("run-1") // lost
	i.Ask("run-1")(token(t, "c"))
	is("one received after one was lost", "run-1", true, "b", "c")
	i.Ask("run-1")()
	is("certainly none made after one was lost", "run-1", true, "b", "c")
	i.Collected("run-1")
	is("collected", "run-1", false)
	answered := i.Ask("run-1")
	i.Ask("run-1") // lost, though the one before it is answered after
	answered(token(t, "d"))
	is("one received that was asked for before one was lost", "run-1", true, "d")
	i.Collected("run-1")
	for n := range 8 {
		i.Ask(authority.RunID(fmt.Sprintf("later-%d", n)))()
	}
	is("a run that was forgotten", "run-1", true)
	is("the last", "later-7", false)
}

func TestIssuedSettles(t *testing.T) {
	now := time.Now()
	i := upstream.NewIssued(func() time.Time { return now }, time.Minute)
	is := func(when string, want time.Duration) {
		t.Helper()
		if got := i.Unsettled(); got != want {
			t.Errorf("%s: got %s, want %s", when, got, want)
		}
	}
	is("at the start, when another process may have issued one", time.Minute)
	now = now.Add(20 * time.Second)
	is("later", 40*time.Second)
	now = now.Add(time.Hour)
	is("settled", 0)
	i.Ask("run-1")()
	is("nothing made", 0)
	i.Ask("run-1")(token(t, "a"))
	is("issued", time.Minute)
	now = now.Add(-time.Hour)
	is("the clock put back", time.Minute)
}
