// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/server"
)

// looksEnd is when a look at a folder that hangs is given up at the latest.
const looksEnd = estateLimit + outward.Grace

// wantHangs wants an error that names the folder, and that came within a bound.
func wantHangs(t *testing.T, err error, folder string, began time.Time, within time.Duration) {
	t.Helper()
	if server.Problems(err).Class != server.Unavailable || !strings.Contains(err.Error(), folder) {
		t.Errorf("got %v, want it to name %s", err, folder)
	}
	if took := time.Since(began); took > within {
		t.Errorf("after %s, want %s at most", took, within)
	}
}

// TestAStartOnAnEstateFolderThatHangs: a start waited for a network mount that was away, and so did every command.
func TestAStartOnAnEstateFolderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCheckout(t)
		c.declare("a")
		estate, err := c.load(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.save(estate); err != nil {
			t.Fatal(err)
		}
		c.declare("b")

		p := c.parts
		p.log = slog.New(slog.DiscardHandler)
		p.estates = newEstates(p) // as after a restart
		p.estates.pause = func() {}
		back, looks := make(chan struct{}), new(atomic.Int32)
		p.estates.folder.read = func(name string) (*intent.Files, error) {
			looks.Add(1)
			<-back
			return intent.Read(name)
		}
		began := time.Now()
		_, err = p.estates.load(nil)
		wantHangs(t, err, p.host.Estate, began, looksEnd)
		began = time.Now()
		_, err = p.estates.load(nil)
		wantHangs(t, err, p.host.Estate, began, 0)
		if begun := looks.Load(); begun != 1 {
			t.Errorf("%d looks were begun while the first hung", begun)
		}
		kept, err := p.estates.saved()
		if got := names(t, kept, err); got != "a" {
			t.Errorf("kept are %q", got)
		}
		_, _, err = readGrants(filepath.Join(p.host.State, keptEstate, keptDigest), p.estates.folder) // any file
		wantHangs(t, err, p.host.Estate, began, 0)
		close(back)
		synctest.Wait()
		if estate, err = p.estates.load(nil); names(t, estate, err) != "a b" {
			t.Errorf("once it answers, in force are %v", estate.SecretNames())
		}
	})
}
