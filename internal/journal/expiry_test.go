// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
)

// What an issuer said of a value was said of the one that replaced it.
func TestExpiryBelongsToTheValueThatItWasDeclaredFor(t *testing.T) {
	first, second := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	version := func(number authority.Version) *authority.VersionID {
		return &authority.VersionID{Incarnation: "one", Run: "run", Number: number}
	}
	for name, test := range map[string]struct {
		do       func(*Entry)
		at       time.Time
		outlived bool
	}{
		"as declared":              {func(*Entry) {}, first, false},
		"replaced":                 {func(e *Entry) { e.Current = version(2) }, first, true},
		"replaced, then declared":  {func(e *Entry) { e.Current = version(2); e.Declare(second) }, second, false},
		"declared, then replaced":  {func(e *Entry) { e.Declare(second); e.Current = version(2) }, second, false},
		"and replaced once more":   {func(e *Entry) { e.Current = version(2); e.Declare(second); e.Current = version(3) }, second, true},
		"no longer declared":       {func(e *Entry) { e.Declare(time.Time{}); e.Current = version(2) }, first, false},
		"not noted yet":            {func(e *Entry) { e.Expiry = nil; e.Current = version(2) }, first, false},
		"declared, not yet looked": {func(e *Entry) { e.Current = version(2) }, second, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &Entry{Current: version(1)}
			if !e.Declare(first) || e.Declare(first) {
				t.Error("what is declared is news once")
			}
			test.do(e)
			if got := e.Outlived(test.at); got != test.outlived {
				t.Errorf("outlived: %t, want %t (%+v)", got, test.outlived, e.Expiry)
			}
		})
	}
}
