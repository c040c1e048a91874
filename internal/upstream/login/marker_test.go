// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"errors"
	"fmt"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/google/go-cmp/cmp"
)

func TestMarkerRemembersSupersededRuns(t *testing.T) {
	m := login.Claimed("shop/test/orders-db")
	runs := login.MaxPast + 5
	for i := range runs {
		run := authority.RunID(fmt.Sprintf("run-%d", i))
		for range 2 { // the second time, it is the current run already
			next, ok := m.Change(run)
			if !ok {
				t.Fatalf("%s is refused", run)
			}
			m = next
		}
	}
	if m.Run != "run-20" || m.Changes != uint64(2*runs) || len(m.Past) != login.MaxPast {
		t.Errorf("got run %s, %d changes, %d past runs", m.Run, m.Changes, len(m.Past))
	}
	for i := runs - 1 - login.MaxPast; i < runs-1; i++ {
		run := authority.RunID(fmt.Sprintf("run-%d", i))
		if next, ok := m.Change(run); ok || next.Run != m.Run || next.Changes != m.Changes {
			t.Errorf("%s, superseded, is taken", run)
		}
	}
	read, own := login.ParseMarker(m.Text())
	if diff := cmp.Diff(m, read); !own || diff != "" {
		t.Errorf("marker read back (own %v) (-want +got):\n%s", own, diff)
	}
	if err := login.Superseded("testing", "run-3", m.Run); !errors.Is(err, upstream.ErrSuperseded) {
		t.Errorf("got %v", err)
	}
}

func TestBeginLeavesTheFormerMarkerAlone(t *testing.T) {
	former := login.Runs[string]{Run: "b", Past: append(make([]string, 0, 8), "a")}
	one, _ := former.Begin("c", 8)
	other, _ := former.Begin("d", 8)
	if diff := cmp.Diff([]login.Runs[string]{{Run: "c", Past: []string{"a", "b"}}, {Run: "d", Past: []string{"a", "b"}}}, []login.Runs[string]{one, other}); diff != "" {
		t.Errorf("two runs after one marker (-want +got):\n%s", diff)
	}
}

func TestForeignTextIsNoMarker(t *testing.T) {
	for _, text := range []string{
		"", "a person's words", "{}", "null", `{"custody":2,"claim":"c"}`, `{"custody":1,"claim":"c","else":1}`,
		`{"custody":1,"claim":"c"} and more`, `{"custody":1,"claim":"c"}{}`,
	} {
		if _, own := login.ParseMarker(text); own {
			t.Errorf("%q is taken for Custody's own", text)
		}
	}
}
