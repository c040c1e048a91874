// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"path/filepath"
	"testing"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/wire/kinds"
)

// A folder that defines a type and is not in the list is one that no document can name.
func TestEveryTypeIsListed(t *testing.T) {
	found, err := filepath.Glob("../../upstream/*/type.go")
	if err != nil || len(found) == 0 {
		t.Fatalf("no type was found: %v", err)
	}
	listed := map[string]bool{}
	for _, of := range kinds.Upstreams() {
		if listed[of.Name()] {
			t.Errorf("type %s is listed twice", of.Name())
		}
		listed[of.Name()] = true
	}
	for _, file := range found {
		if name := filepath.Base(filepath.Dir(file)); !listed[name] {
			t.Errorf("internal/upstream/%s defines a type, and is not in the list", name)
		}
	}
	if len(found) != len(listed) {
		t.Errorf("%d types are listed, and %d folders define one", len(listed), len(found))
	}
}

// Lint asks each type about whatever a document holds, an empty one included, and documents share what they were decoded to.
func TestTypesTakeEmptyParametersAndChangeNone(t *testing.T) {
	for _, of := range kinds.Upstreams() {
		t.Run(of.Name(), func(t *testing.T) {
			bad := func(rule string, _ upstream.Trail, reason string) {
				if rule == "" || reason == "" {
					t.Errorf("a fault lacks a part: %q %q", rule, reason)
				}
			}
			server, account := of.Defaults(of.NewServer()), of.AccountDefaults(of.NewAccount())
			of.Check(server, false, bad)
			of.CheckAccount(server, account, bad)
			of.Interrupts(server, account)
			of.Endpoints(server)
			of.Claims(server, account)
			of.Picks(server)
			of.Told(account)
			if of.AccountOptional() {
				of.CheckAccount(server, nil, bad)
				of.Claims(server, nil)
			}
			if of.Defaults(server) == server || of.AccountDefaults(account) == account {
				t.Error("defaults are filled into what was given")
			}
			for _, d := range of.Describe() {
				if err := d.Check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
