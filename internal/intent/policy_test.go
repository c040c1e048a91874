// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "0s": 0, "0d": 0, "1h30m": 90 * time.Minute,
		"1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, "36500d": maxDuration,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "5", "1w", "-1h", "1.5d", "1h1d", " 1h", "36501d", "36500d1h", "99999d", "9999999999h", "1d 2h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"30d", "1d12h", "90m", "0s", "1h30m5s", "1.5h", "7d1ns"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		if d < 0 || d > maxDuration {
			t.Fatalf("ParseDuration(%q) = %v is out of bounds", text, d)
		}
		again, err := ParseDuration(FormatDuration(d))
		if err != nil || again != d {
			t.Errorf("%q became %q, and that %v (%v)", text, FormatDuration(d), again, err)
		}
	})
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", 90 * time.Minute: "1h30m", day: "1d", 36 * time.Hour: "1d12h", 10 * time.Minute: "10m",
		time.Hour: "1h", 20 * time.Second: "20s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPolicyDefaults(t *testing.T) {
	got, err := ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "30d"})
	if err != nil {
		t.Fatal(err)
	}
	want := Policy{Name: "p", Type: Timed, TTL: 30 * day, RevokeOld: true, MaxOverlap: day, FailureStrategy: Alert, Settle: time.Minute, QuietWindow: time.Minute, VerifyEvery: day}
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
