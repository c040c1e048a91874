// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
)

func TestPolicyDefaults(t *testing.T) {
	got, err := ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "30d"})
	if err != nil {
		t.Fatal(err)
	}
	want := Policy{Name: "p", Type: Timed, TTL: 30 * duration.Day, RevokeOld: true, MaxOverlap: duration.Day, FailureStrategy: Alert, Settle: time.Minute, QuietWindow: time.Minute, VerifyEvery: duration.Day, WarnBefore: 14 * duration.Day}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if _, err := ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "1h"}); err == nil {
		t.Error("a policy that cannot be kept was parsed")
	}
	keep := false
	got, err = ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "event", RevokeOld: &keep, Settle: "0s", FailureStrategy: "hold"})
	if err != nil || got.RevokeOld || got.Settle != 0 || got.FailureStrategy != Hold {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWindowOpens(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	policy := func(spec v1alpha1.MaintenanceWindow) Policy {
		p, err := ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "30d", Windows: []v1alpha1.MaintenanceWindow{spec}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	saturday := policy(v1alpha1.MaintenanceWindow{Days: []string{"Sat"}, Start: "22:00", Duration: "4h", Zone: "Europe/Berlin"})
	spring := policy(v1alpha1.MaintenanceWindow{Start: "01:30", Duration: "1h", Zone: "Europe/Berlin"})
	week := policy(v1alpha1.MaintenanceWindow{Days: []string{"Mon"}, Start: "00:00", Duration: "7d"})
	for _, c := range []struct {
		name   string
		policy Policy
		at     time.Time
		want   bool
	}{
		{"no windows", StaticPolicy(), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{"before the start", saturday, time.Date(2030, 1, 5, 21, 59, 59, 0, berlin), false},
		{"at the start", saturday, time.Date(2030, 1, 5, 22, 0, 0, 0, berlin), true},
		{"past midnight", saturday, time.Date(2030, 1, 6, 1, 59, 0, 0, berlin), true},
		{"at the end", saturday, time.Date(2030, 1, 6, 2, 0, 0, 0, berlin), false},
		{"in another zone", saturday, time.Date(2030, 1, 5, 21, 30, 0, 0, time.UTC), true},
		{"on another day", saturday, time.Date(2030, 1, 4, 23, 0, 0, 0, berlin), false},
		{"over the hour that spring skips", spring, time.Date(2030, 3, 31, 3, 15, 0, 0, berlin), true},
		{"past its duration in spring", spring, time.Date(2030, 3, 31, 3, 30, 0, 0, berlin), false},
		{"all week", week, time.Date(2030, 1, 6, 23, 59, 0, 0, time.UTC), true},
	} {
		if got := c.policy.Open(c.at); got != c.want {
			t.Errorf("%s: open %v, want %v", c.name, got, c.want)
		}
	}
}
