// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"path/filepath"
	"slices"
	"testing"

	"custody.dev/custody/internal/wire"
)

func TestDescriptionsAreWhole(t *testing.T) {
	var types []string
	for _, d := range wire.Descriptions() {
		if err := d.Check(); err != nil {
			t.Errorf("%s: %v", d.Type, err)
		}
		if slices.Contains(types, d.Type) {
			t.Errorf("%s is described twice", d.Type)
		}
		types = append(types, d.Type)
	}
	// An adapter that describes itself is listed, by the name of its folder.
	files, err := filepath.Glob("../upstream/*/describe.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no adapter describes itself: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		if !slices.Contains(types, name) {
			t.Errorf("internal/upstream/%s describes itself, and nobody is told", name)
		}
	}
}
