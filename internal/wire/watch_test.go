// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
)

func TestWatchSeesWhatHappensToFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	name := filepath.Join(folder, "app.env")
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	do(os.Mkdir(folder, 0o700), os.WriteFile(name, []byte("A=1\n"), 0o600))
	consumer, err := file.New(file.Config{Name: "app", Folder: folder, Path: "app.env", Format: "env", UID: -1, GID: -1, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var s orchestrator.Secret
	s.Path, s.Consumers = "app/db", []rotation.Consumer{{Consumer: consumer}}
	seen, now := newWatch(), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	want := func(what string, want bool) {
		t.Helper()
		now = now.Add(glanceEvery)
		if got := seen.changed(s, now); got != want {
			t.Errorf("%s: changed is %v, want %v", what, got, want)
		}
	}
	want("the first glance", false)
	want("nothing happened", false)
	do(os.Remove(name))
	want("the file was removed", true)
	want("nothing more happened", false)
	do(os.RemoveAll(folder), os.Mkdir(folder, 0o700))
	want("the folder was made anew just after", false)
	now = now.Add(doubtGap)
	want("the folder was made anew a while ago", true)
	do(os.WriteFile(name, []byte("A=2\n"), 0o600))
	now = now.Add(doubtGap)
	want("the file was written", true)
	do(os.Chmod(name, 0o640))
	now = now.Add(doubtGap)
	want("its mode was changed", true)
	want("nothing happened after all that", false)
}

// Glances at ten thousand files every two seconds were most of what an idle server used.
func TestGlancesTakeAHundredthOfTheTime(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		time.Millisecond:       glanceEvery,
		50 * time.Millisecond:  5 * time.Second,
		500 * time.Millisecond: 50 * time.Second,
		time.Hour:              glanceAtLeast, // a folder hung; it answers again
	} {
		if got := glanceAfter(took); got != want {
			t.Errorf("after glances that took %s, the next come after %s, want %s", took, got, want)
		}
	}
}
