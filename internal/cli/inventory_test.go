// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"custody.dev/custody/internal/inventory"
)

// What breaks when a secret ends is also what uses a secret that is computed from it.
func TestDependantsThroughDerivedSecrets(t *testing.T) {
	row := inventory.Row{
		Consumers: []string{"backup"}, Opens: []string{"main"},
		Dependents: []inventory.Dependent{{Secret: "url", Consumers: []string{"web", "worker"}, Opens: []string{"pool"}}, {Secret: "unused"}},
	}
	if got, want := dependants(row), "backup, upstream main, secret url (web, worker, upstream pool), secret unused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
