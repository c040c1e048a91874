// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/upstream"
)

func TestDecide(t *testing.T) {
	kind := func(c upstream.Capability) *upstream.Kind { return &upstream.Kind{Capability: c, Verifies: true} }
	const newer = "db: consumer app was given version 3, and the authority knows of 2"
	for name, test := range map[string]struct {
		of     Situation
		action Action
		next   string
	}{
		"accepted":                       {Situation{HasValue: true, Kind: kind(upstream.Alternate), Record: upstream.Accepted, Newer: newer}, Keeps, ""},
		"candidate accepted":             {Situation{HasValue: true, Kind: kind(upstream.Alternate), Record: upstream.Refused, Candidate: upstream.Accepted}, KeepsCandidate, ""},
		"refused, candidate not asked":   {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Refused, HasCandidate: true}, Person, "custody recover accept --reason TEXT"},
		"refused, candidate unknown":     {Situation{HasValue: true, Kind: kind(upstream.Overwrite), Record: upstream.Refused, HasCandidate: true, Candidate: upstream.Unknown}, Person, "custody recover accept --reason TEXT"},
		"both refused":                   {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Refused, HasCandidate: true, Candidate: upstream.Refused}, Rotates, ""},
		"refused, of a dual kind":        {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Refused}, Rotates, ""},
		"refused, one of a pair":         {Situation{HasValue: true, Kind: kind(upstream.Alternate), Record: upstream.Refused}, Person, "custody rotate db --reason TEXT"},
		"refused, may interrupt":         {Situation{HasValue: true, Kind: kind(upstream.Overwrite), Record: upstream.Refused, AllowInterruption: true}, Rotates, ""},
		"refused, may not interrupt":     {Situation{HasValue: true, Kind: kind(upstream.Overwrite), Record: upstream.Refused}, Person, "custody supply db --reason TEXT"},
		"refused, an admin's":            {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Refused, Admin: true, Fields: []string{"password", "username"}}, Person, "custody supply db --field password --field username --reason TEXT"},
		"refused, another run came":      {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Refused, Stranger: "run-9"}, Rotates, ""},
		"accepted, another run came":     {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Accepted, Stranger: "run-9"}, Keeps, ""},
		"unknown":                        {Situation{HasValue: true, Kind: kind(upstream.Dual), Record: upstream.Unknown, Doubt: "it is away"}, Person, "custody recover accept --reason TEXT"},
		"not asked":                      {Situation{HasValue: true, Kind: kind(upstream.Dual)}, Person, "custody recover accept --reason TEXT"},
		"nobody to ask":                  {Situation{HasValue: true}, Keeps, ""},
		"nobody to ask, newer outside":   {Situation{HasValue: true, Newer: newer, Fields: []string{"value"}}, Person, "custody supply db --reason TEXT"},
		"generated":                      {Situation{HasValue: true, Kind: &upstream.Kind{Capability: upstream.Dual}}, Keeps, ""},
		"generated, newer outside":       {Situation{HasValue: true, Kind: &upstream.Kind{Capability: upstream.Dual}, Newer: newer}, Person, "custody rotate db --reason TEXT"},
		"not handed over, can be asked":  {Situation{Seeded: true, Kind: kind(upstream.Dual)}, Begins, ""},
		"not handed over, nobody to ask": {Situation{Seeded: true}, Person, "custody supply db --reason TEXT"},
		"not handed over, newer outside": {Situation{Seeded: true, Kind: kind(upstream.Dual), Newer: newer}, Person, "custody supply db --reason TEXT"},
		"never issued":                   {Situation{Kind: kind(upstream.Dual)}, Begins, ""},
		"no value, used outside":         {Situation{Kind: kind(upstream.Dual), Newer: newer}, Person, "custody supply db --reason TEXT"},
		"no value, nobody checks it":     {Situation{Kind: &upstream.Kind{}, Newer: newer}, Person, "custody rotate db --reason TEXT"},
		"held, nothing can be asked":     {Situation{HasValue: true, Held: "a grant"}, Person, "custody recover accept --reason TEXT"},
		"held, derived":                  {Situation{Derived: true, HasValue: true, Held: "a grant"}, Person, "custody recover accept --reason TEXT"},
		"derived":                        {Situation{Derived: true, HasValue: true}, Keeps, ""},
		"derived, input in doubt":        {Situation{Derived: true, HasValue: true, Blocked: "password"}, Rotates, ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.of.Secret, test.of.Declared = "db", true
			got := Decide(test.of)
			if got.Action != test.action || got.Next() != test.next || got.Why == "" {
				t.Errorf("got %+v, want %q with %q, and why", got, test.action, test.next)
			}
			if test.of.Newer != "" && got.Action == Person && !strings.Contains(got.Why, newer) {
				t.Errorf("%q does not say what is newer", got.Why)
			}
			if test.of.Stranger != "" && !strings.Contains(got.Why, test.of.Stranger) {
				t.Errorf("%q does not say which run came", got.Why)
			}
		})
	}
	if got := Decide(Situation{Secret: "gone", HasValue: true}); got.Action != Keeps || got.Next() != "" {
		t.Errorf("not declared: got %+v", got)
	}
}
