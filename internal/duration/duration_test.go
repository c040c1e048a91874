// SPDX-License-Identifier: Apache-2.0

package duration

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * Day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "0s": 0, "0d": 0, "1h30m": 90 * time.Minute,
		"1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, "36500d": Max,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "5", "1w", "-1h", "1.5d", "1h1d", " 1h", "36501d", "36500d1h", "99999d", "9999999999h", "1d 2h"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"30d", "1d12h", "90m", "0s", "1h30m5s", "1.5h", "7d1ns"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		if d < 0 || d > Max {
			t.Fatalf("Parse(%q) = %v is out of bounds", text, d)
		}
		again, err := Parse(Format(d))
		if err != nil || again != d {
			t.Errorf("%q became %q, and that %v (%v)", text, Format(d), again, err)
		}
	})
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", 90 * time.Minute: "1h30m", Day: "1d", 36 * time.Hour: "1d12h", 10 * time.Minute: "10m",
		time.Hour: "1h", 20 * time.Second: "20s",
	} {
		if got := Format(d); got != want {
			t.Errorf("Format(%v) = %q, want %q", d, got, want)
		}
	}
}
