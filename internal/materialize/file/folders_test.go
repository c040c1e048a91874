// SPDX-License-Identifier: Apache-2.0

package file

import (
	"os"
	"path/filepath"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize/materializetest"
)

// A consumer's file may lie in a folder beneath the named one, which nobody makes beforehand: until it is delivered there is
// nothing there, and that is no error.
func TestFoldersOnTheWayAreMade(t *testing.T) {
	config := config(t)
	config.Path = "team/app/app.env"
	if err := os.Chmod(config.Folder, 0o750); err != nil {
		t.Fatal(err)
	}
	c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
	if proof, err := c.Prove(t.Context(), v); err != nil || proof.Version != (authority.VersionID{}) {
		t.Errorf("before it was delivered: %+v, %v", proof, err)
	}
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if proof, err := c.Prove(t.Context(), v); err != nil || proof.Version != v.ID {
		t.Errorf("once it was delivered: %+v, %v", proof, err)
	}
	for _, folder := range []string{"team", "team/app"} {
		if info, err := os.Stat(filepath.Join(config.Folder, folder)); err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("%s: %v, %v, want the mode of the folder above", folder, info, err)
		}
	}
}
