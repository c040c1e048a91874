// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
)

// The earliest end counts, whoever says it, and somebody is warned ahead of it, unless a rotation comes before and nothing holds that.
func TestWhoIsWarnedOfAnEnd(t *testing.T) {
	const day = 24 * time.Hour
	in := func(days int) time.Time { return epoch.Add(time.Duration(days) * day) }
	one, two := authority.VersionID{Number: 1}, authority.VersionID{Number: 2}
	monthly := v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "30d", RotateBefore: "5d"}
	quiet := v1alpha1.RotationPolicySpec{RotationType: "static", WarnBefore: "0s"}
	early := v1alpha1.RotationPolicySpec{RotationType: "static", WarnBefore: "60d"}
	for name, test := range map[string]struct {
		policy   *v1alpha1.RotationPolicySpec
		declared time.Time
		read     *journal.Ends
		age      int
		waiting  reason.Reason
		suspend  bool
		class    string
		ends     time.Time
		by       string
		warned   bool
	}{
		"nothing ends":                        {},
		"a certificate, far off":              {read: &journal.Ends{Version: one, At: in(15), By: "certificate"}, ends: in(15), by: "certificate"},
		"a certificate, near":                 {read: &journal.Ends{Version: one, At: in(13), By: "certificate"}, ends: in(13), by: "certificate", warned: true},
		"a certificate of the version before": {read: &journal.Ends{Version: two, At: in(13), By: "certificate"}},
		"declared earlier than read":          {declared: in(9), read: &journal.Ends{Version: one, At: in(13), By: "token"}, ends: in(9), by: "issuer", warned: true},
		"declared later than read":            {declared: in(99), read: &journal.Ends{Version: one, At: in(13), By: "token"}, ends: in(13), by: "token", warned: true},
		"warned of two months ahead":          {policy: &early, declared: in(59), ends: in(59), by: "issuer", warned: true},
		"not to be warned of":                 {policy: &quiet, declared: in(1), ends: in(1), by: "issuer"},
		"over already":                        {declared: in(-1), ends: in(-1), by: "issuer"},
		"rotated in time":                     {policy: &monthly, age: 20, ends: in(10), by: "policy"},
		"about to be rotated":                 {policy: &monthly, age: 27, ends: in(3), by: "policy"},
		"in its window, in time":              {policy: &monthly, age: 27, waiting: reason.New(reason.MaintenanceWindow, nil).Till(in(2)), ends: in(3), by: "policy"},
		"in its window, too late":             {policy: &monthly, age: 27, waiting: reason.New(reason.MaintenanceWindow, nil).Till(in(4)), ends: in(3), by: "policy", warned: true},
		"held":                                {policy: &monthly, age: 27, waiting: reason.New(reason.RetryHeld, nil), ends: in(3), by: "policy", warned: true},
		"suspended":                           {policy: &monthly, age: 20, suspend: true, ends: in(10), by: "policy", warned: true},
		"computed from what ends":             {class: "derived", read: &journal.Ends{Version: one, At: in(2), By: "token"}, ends: in(2), by: "token"},
		"computed, and declared to end":       {class: "derived", declared: in(2), ends: in(2), by: "issuer", warned: true},
		"a token that ends before":            {policy: &monthly, age: 1, read: &journal.Ends{Version: one, At: in(2), By: "token"}, ends: in(2), by: "token", warned: true},
	} {
		estate := &intent.Estate{Secrets: map[string]*intent.Secret{}, Policies: map[string]intent.Policy{}}
		declare(estate, "tls", v1alpha1.Origin{Generated: &v1alpha1.GenerateRule{Type: "token"}})
		s := estate.Secrets["tls"]
		s.ExpiresAt, s.Spec.Suspend = test.declared, test.suspend
		if test.class != "" {
			s.Spec.Class = test.class
		}
		if test.policy != nil {
			policy, err := intent.ParsePolicy("p", *test.policy)
			if err != nil {
				t.Fatal(err)
			}
			estate.Policies["p"], s.Spec.Rotation = policy, &v1alpha1.RotationSpec{PolicyRef: "p"}
		}
		entry := &journal.Entry{Path: s.Path, Secret: "tls", Current: &one, Rotated: in(-test.age), Ends: test.read}
		states := map[authority.Path]orchestrator.State{s.Path: {Waiting: test.waiting}}
		row := rows(inventory.Sources{Estate: estate, Entries: []*journal.Entry{entry}, States: states, Now: epoch})["tls"]
		if !row.Expires.Equal(test.ends) || row.ExpiresBy != test.by || row.Ending != test.warned {
			t.Errorf("%s: ends %s by %q, warned %t; want %s by %q, %t", name, row.Expires, row.ExpiresBy, row.Ending, test.ends, test.by, test.warned)
		}
	}
}
