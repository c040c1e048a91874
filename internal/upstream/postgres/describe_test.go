// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/upstream"
)

func TestDescriptionIsComplete(t *testing.T) {
	d := describe()[0]
	if d.Type != "postgres" || d.Title == "" || d.Summary == "" || d.Tried == "" || !strings.HasPrefix(d.Page, "## Documents") {
		t.Errorf("got %+v", d)
	}
	for _, mode := range d.Modes {
		if mode.Means == "" || mode.Kind.Name != d.Type || string(mode.Kind.Capability) != mode.Name || mode.Kind.CallDeadline <= 0 {
			t.Errorf("mode %s: got %+v", mode.Name, mode)
		}
		if (mode.Kind.Evidence != nil) != (mode.Kind.Capability == upstream.Alternate) {
			t.Errorf("mode %s: got evidence %+v", mode.Name, mode.Kind.Evidence)
		}
	}
}
