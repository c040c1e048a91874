// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"path/filepath"
	"syscall"
	"testing"
)

// A file that is to belong to one user alone, or to a group, is never readable by more on the way: it begins as its owner's,
// whatever the process's mask.
func TestFileBeginsPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	f, err := Make(filepath.Join(t.TempDir(), "folder"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, alone := range []bool{false, true} {
		_, file, err := f.temporary("name", alone)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := file.Stat(); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
		}
		_ = file.Close()
	}
}
