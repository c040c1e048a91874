// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A checkpoint's folder that was not mounted at start kept the platform from starting; one that comes later must not be
// overwritten by the record of an older state.
func TestCheckpointFolderThatComesLater(t *testing.T) {
	file := checkpointFile(filepath.Join(t.TempDir(), "mount", "checkpoint"))
	if _, err := file.Last(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := file.Put(context.Background(), []byte("one")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Dir(string(file)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := file.Put(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	if kept, err := file.Last(t.Context()); err != nil || string(kept) != "one" {
		t.Errorf("got %q, %v", kept, err)
	}
}
