// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"testing"
	"time"
)

// TestLateIsTheClientsFault: only a refusal of what had long been replaced is the client's own.
func TestLateIsTheClientsFault(t *testing.T) {
	answered := time.Now()
	ago := func(version string, age time.Duration) delivery {
		return delivery{fields: map[string]string{"version": version}, since: answered.Add(-age)}
	}
	for _, c := range []struct {
		name string
		now  delivery
		want bool
	}{
		{"in force", ago("3.a", time.Hour), false},
		{"replaced long ago", ago("4.b", 301*time.Millisecond), true},
		{"replaced just now", ago("4.b", 299*time.Millisecond), false},
		{"replaced after the answer", ago("4.b", -time.Millisecond), false},
		{"replaced twice", ago("5.c", time.Millisecond), true},
		{"replaced twice after the answer", ago("5.c", -time.Millisecond), false},
	} {
		if got := late("3.a", c.now, answered, 300*time.Millisecond); got != c.want {
			t.Errorf("%s: late %v, want %v", c.name, got, c.want)
		}
	}
}
