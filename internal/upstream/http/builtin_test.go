// SPDX-License-Identifier: Apache-2.0

package recipe

import "testing"

func TestBuiltinRecipesCompile(t *testing.T) {
	names := Names()
	if len(names) < 4 {
		t.Fatalf("got %d recipes, want at least 4", len(names))
	}
	for _, name := range names {
		if _, err := Builtin(name); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

func TestDescriptionsAreWhole(t *testing.T) {
	described := Describe()
	if got, want := len(described), len(Names())+1; got != want {
		t.Errorf("got %d descriptions, want %d", got, want)
	}
	for _, d := range described {
		if err := d.Check(); err != nil {
			t.Errorf("%s: %v", d.Type, err)
		}
	}
}
