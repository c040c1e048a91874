// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize/materializetest"
)

// TestWithdrawOnlyWhatWasDelivered: a file that somebody else made or changed is theirs; a reader that holds on to it by other
// means would keep the value.
func TestWithdrawOnlyWhatWasDelivered(t *testing.T) {
	nothing := func(*testing.T, Config) {}
	set := func(text string) func(*testing.T, Config) {
		return func(t *testing.T, c Config) { write(c.Path, text)(t, c) }
	}
	at := func(c Config) string { return filepath.Join(c.Folder, c.Path) }
	setBack := func(t *testing.T, c Config) { // as a copy does that keeps times
		t.Helper()
		set("theirs")(t, c)
		old := time.Unix(1, 0)
		if err := os.Chtimes(at(c), old, old); err != nil {
			t.Fatal(err)
		}
	}
	moved := func(t *testing.T, c Config) { // made before the delivery, moved there after it
		t.Helper()
		if err := os.Rename(filepath.Join(c.Folder, "older"), at(c)); err != nil {
			t.Fatal(err)
		}
	}
	linked := func(t *testing.T, c Config) {
		t.Helper()
		if err := os.Link(at(c), filepath.Join(c.Folder, "another")); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		gone   bool // the authority has destroyed the value
		change func(*testing.T, Config)
		want   error
	}{
		"Delivered":            {false, nothing, nil},
		"DeliveredGone":        {true, nothing, nil},
		"Changed":              {false, set("theirs"), ErrChanged},
		"ChangedGone":          {true, set("theirs"), ErrChanged},
		"ChangedAndSetBack":    {true, setBack, ErrChanged},
		"AnotherMovedThere":    {true, moved, ErrChanged},
		"AnotherHardLink":      {false, linked, ErrHeld},
		"AnotherHardLinkGone":  {true, linked, ErrChanged}, // a link is a change
		"CutOffDeliveryOfGone": {true, func(t *testing.T, c Config) { cutOff(t, c) }, ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			config := config(t)
			write("older", "older")(t, config)
			v := materializetest.Version(t, "a", "r", 1)
			if err := open(t, config).Deliver(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			tick(t, config.Folder)
			test.change(t, config)
			left, err := LeftoverAt(config.Folder, config.Path)
			if err != nil {
				t.Fatal(err)
			}
			known := &v
			if test.gone {
				known = nil
			}
			if err := left.Check(known); !errors.Is(err, test.want) {
				t.Errorf("check says %v, want %v", err, test.want)
			}
			if err := left.Withdraw(t.Context(), known); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			for _, name := range []string{left.File, left.Stamp} {
				if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) != (test.want == nil) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// tick waits until the file system's clock, whose steps are a few milliseconds, has moved.
func tick(t *testing.T, folder string) {
	t.Helper()
	name := filepath.Join(folder, "tick")
	var first time.Time
	for range 10_000 {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = changed(info)
		}
		if changed(info).After(first) {
			return
		}
	}
	t.Fatal("the file system's clock stands still")
}

// cutOff has a delivery of another version end before the file is written.
func cutOff(t *testing.T, config Config) {
	t.Helper()
	c := open(t, config)
	c.effect = func(what string) error {
		if what == "replace the file" {
			return unix.EIO
		}
		return nil
	}
	if err := c.Deliver(t.Context(), materializetest.Version(t, "a", "s", 2)); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
}

// TestWithdrawAfterAnotherDelivery: what was looked at is what is removed.
func TestWithdrawAfterAnotherDelivery(t *testing.T) {
	config := config(t)
	deliver := func(run authority.RunID, number authority.Version) authority.Versioned {
		v := materializetest.Version(t, "a", run, number)
		if err := open(t, config).Deliver(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := deliver("r", 1)
	left, err := LeftoverAt(config.Folder, config.Path)
	if err != nil {
		t.Fatal(err)
	}
	deliver("s", 2)
	if err := left.Withdraw(t.Context(), &first); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
}

// TestNothingToWithdraw: no stamp, no file, no way out of the folder.
func TestNothingToWithdraw(t *testing.T) {
	config := config(t)
	write("theirs", "theirs")(t, config)
	for path, want := range map[string]error{"theirs": ErrNotDelivered, "absent": fs.ErrNotExist} {
		if _, err := LeftoverAt(config.Folder, path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
	if _, err := LeftoverAt(config.Folder, "../theirs"); err == nil {
		t.Error("got a file outside the folder")
	}
}
