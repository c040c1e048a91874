// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
)

func sprintf(verb string, of any) string { return fmt.Sprintf(verb, of) }

func openWith(t *testing.T, dir string, sinks ...audit.Sink) *audit.Log {
	t.Helper()
	cfg := config(t, dir)
	cfg.Sinks = sinks
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestSinkGetsTheNewestCheckpointAndGuardsTheLog(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	sink := audit.FileSink{Folder: folder(t, elsewhere), As: "custody.checkpoint"}
	log := openWith(t, dir, sink)
	for i := range 5 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	kept := contents(t, elsewhere)["custody.checkpoint"]
	if !bytes.Equal(kept, log.Checkpoint()) {
		t.Errorf("the sink holds %q, want %q", kept, log.Checkpoint())
	}
	// The tail and the checkpoint are cut; the sink remembers.
	lines := linesOf(contents(t, dir))[:3]
	cfg := config(t, rewrite(t, lines, sign(t, lines)))
	cfg.Sinks = []audit.Sink{sink}
	older, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if ahead := older.Ahead(); len(ahead) != 1 || ahead[0].Size != 5 || !bytes.Equal(ahead[0].Data, kept) {
		t.Errorf("older than its sink, the log says %+v, want the checkpoint of 5 events", ahead)
	}
	if err := older.Append(t.Context(), audittest.Event(9)); !errors.Is(err, audit.ErrBehind) {
		t.Errorf("got %v from appending to a log that is older than its sink", err)
	}
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, elsewhere)["custody.checkpoint"], kept) {
		t.Error("a log that is older than its sink has changed it")
	}
	givenUp(t, cfg, kept, sink)
	write(t, elsewhere, "custody.checkpoint", kept)
	// Whoever can write the sink cannot stop the log with it.
	write(t, elsewhere, "custody.checkpoint", []byte("rubbish"))
	again := openWith(t, dir, sink)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, elsewhere)["custody.checkpoint"], kept) {
		t.Error("the sink was not put right")
	}
}

// givenUp shows that a log which is older than what its sink keeps goes on once a person gave that up, and that the sink
// then follows it, after a restart too.
func givenUp(t *testing.T, cfg audit.Config, kept []byte, sink audit.FileSink) {
	t.Helper()
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	log.GiveUp(kept)
	if err := log.Append(t.Context(), audittest.Event(9)); err != nil {
		t.Errorf("got %v from appending once the checkpoint was given up", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := sink.Last(t.Context()); err != nil || !bytes.Equal(got, log.Checkpoint()) {
		t.Errorf("the sink holds %q, %v, want the log's own checkpoint", got, err)
	}
	if err := sink.Put(t.Context(), kept); err != nil { // as a crash before the sink was written leaves it
		t.Fatal(err)
	}
	cfg.GivenUp = [][]byte{kept}
	if log, err = audit.Open(cfg); err != nil {
		t.Fatal(err)
	}
	if ahead := log.Ahead(); len(ahead) != 0 {
		t.Errorf("got %+v ahead, which was given up", ahead)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := sink.Last(t.Context()); err != nil || !bytes.Equal(got, log.Checkpoint()) {
		t.Errorf("after a restart the sink holds %q, %v, want the log's own checkpoint", got, err)
	}
}

type double struct {
	put func(ctx context.Context, checkpoint []byte) error
}

func (double) Name() string                                       { return "double" }
func (d double) Put(ctx context.Context, checkpoint []byte) error { return d.put(ctx, checkpoint) }

func TestFailingSinkIsAFinding(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Bool
		fails.Store(true)
		log := openWith(t, dir, double{func(context.Context, []byte) error {
			if fails.Load() {
				return errors.New("the mount is gone")
			}
			return nil
		}})
		defer log.Close()
		if err := log.Append(t.Context(), audittest.Event(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := log.Findings(); len(got) != 1 || got[0].Kind != audit.Unsent || got[0].Where != "double" {
			t.Errorf("findings %v, want one of the sink", got)
		}
		fails.Store(false)
		if err := log.Append(t.Context(), audittest.Event(2)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := log.Findings(); len(got) != 0 {
			t.Errorf("findings %v, want none once the sink takes", got)
		}
	})
}

func TestHangingSinkHoldsNothingUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		log := openWith(t, dir, double{func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() }})
		for i := range 10 {
			if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("appending waited %v for the sink", took)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("closing waited %v", took)
		}
	})
}

func TestSinkFolderThatIsGone(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "mount")
	sink := audit.FileSink{Folder: folder(t, elsewhere), As: "checkpoint"}
	if err := os.RemoveAll(elsewhere); err != nil {
		t.Fatal(err)
	}
	log := openWith(t, t.TempDir(), sink)
	if err := log.Append(t.Context(), audittest.Event(1)); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := log.Findings(); len(got) != 1 || got[0].Kind != audit.Unsent {
		t.Errorf("findings %v, want one of the sink", got)
	}
}

// hung is a place whose calls end when release is closed, whatever their deadline says, as reads and writes below a mount
// whose server is gone.
type hung struct{ release chan struct{} }

func (hung) Name() string { return "hung" }

func (h hung) Put(context.Context, []byte) error { <-h.release; return nil }

func (h hung) Last(context.Context) ([]byte, error) { <-h.release; return nil, nil }

// A mount that hung kept the log from opening, and said nothing of checkpoints that it did not take.
func TestHungMountIsAFindingAndBlocksNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		place := hung{make(chan struct{})}
		begin := time.Now()
		log := openWith(t, dir, place) // in the bubble: it would be a deadlock
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("opening took %s", took)
		}
		if err := log.Append(t.Context(), audittest.Event(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		kinds := map[audit.FindingKind]string{}
		for _, finding := range log.Findings() {
			kinds[finding.Kind] = finding.What
		}
		if len(kinds) != 2 || kinds[audit.Unread] == "" || !strings.Contains(kinds[audit.Unsent], "has not answered") {
			t.Errorf("findings %v, want that it was not compared and that it takes nothing", kinds)
		}
		close(place.release)
		synctest.Wait()
		if got := log.Findings(); len(got) != 1 || got[0].Kind != audit.Unread {
			t.Errorf("findings %v, want only that it was not compared, once it answers", got)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// away is a place that is not there until it is.
type away struct {
	audit.FileSink
	there *atomic.Bool
}

var errAway = errors.New("not mounted")

func (a away) Put(ctx context.Context, checkpoint []byte) error {
	if !a.there.Load() {
		return errAway
	}
	return a.FileSink.Put(ctx, checkpoint)
}

func (a away) Last(ctx context.Context) ([]byte, error) {
	if !a.there.Load() {
		return nil, errAway
	}
	return a.FileSink.Last(ctx)
}

// TestPlaceThatComesLateIsComparedByWhatItCovers: an older log that was put back while the place was away, and that had grown
// past what the place keeps, replaced the evidence. What the log does hold is replaced as ever.
func TestPlaceThatComesLateIsComparedByWhatItCovers(t *testing.T) {
	for name, grows := range map[string][]int{"another history": {8, 9, 10}, "its own": {3, 4, 5}} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			there := new(atomic.Bool)
			there.Store(true)
			sink := away{audit.FileSink{Folder: folder(t, elsewhere), As: "checkpoint"}, there}
			log := openWith(t, dir, sink)
			for i := range 5 {
				if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			kept := contents(t, elsewhere)["checkpoint"]
			lines := linesOf(contents(t, dir))[:3]
			cfg := config(t, rewrite(t, lines, sign(t, lines)))
			cfg.Sinks = []audit.Sink{sink}
			there.Store(false)
			synctest.Test(t, func(t *testing.T) {
				older, err := audit.Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				for i, n := range grows {
					synctest.Wait() // what was appended so far was offered
					there.Store(i == len(grows)-1)
					if err := older.Append(t.Context(), audittest.Event(n)); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait() // the last was held against what the place keeps
				own := grows[0] == 3
				err = older.Append(t.Context(), audittest.Event(20))
				if behind := errors.Is(err, audit.ErrBehind); behind == own || own && err != nil {
					t.Errorf("appending says %v, with a log that holds what the place keeps: %t", err, own)
				}
				if ahead := older.Ahead(); !own && (len(ahead) != 1 || !ahead[0].Other || !strings.Contains(ahead[0].String(), "events that the record does not have")) {
					t.Errorf("evidence %v, want that of other events", ahead)
				}
				synctest.Wait()
				if replaced := !bytes.Equal(contents(t, elsewhere)["checkpoint"], kept); replaced != own {
					t.Errorf("the checkpoint was replaced: %t", replaced)
				}
				older.GiveUp(kept)
				if err := older.Append(t.Context(), audittest.Event(21)); err != nil {
					t.Errorf("got %v from appending once the checkpoint was given up", err)
				}
				if err := older.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestLogThatWentOnOpensAgain: an older log that was put back and had grown past what a place keeps did not open at the next start,
// though a running process could be told to go on. What the authority itself keeps is no older state.
func TestLogThatWentOnOpensAgain(t *testing.T) {
	for name, grows := range map[string][]int{"longer": {8, 9, 10}, "as long": {8, 9}} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			sink := audit.FileSink{Folder: folder(t, elsewhere), As: "checkpoint"}
			log := openWith(t, dir, sink)
			for i := range 5 {
				if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			kept := contents(t, elsewhere)["checkpoint"]
			lines := linesOf(contents(t, dir))[:3]
			cfg := config(t, rewrite(t, lines, sign(t, lines)))
			older, err := audit.Open(cfg) // the place is away
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range grows {
				if err := older.Append(t.Context(), audittest.Event(n)); err != nil {
					t.Fatal(err)
				}
			}
			if err := older.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.Sinks = []audit.Sink{sink}
			for range 2 { // a restart gives nothing up
				again, err := audit.Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				if ahead := again.Ahead(); len(ahead) != 1 || !ahead[0].Other || !bytes.Equal(ahead[0].Data, kept) {
					t.Errorf("evidence %v, want that of other events", ahead)
				}
				if err := again.Append(t.Context(), audittest.Event(20)); !errors.Is(err, audit.ErrBehind) {
					t.Errorf("got %v from appending", err)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(contents(t, elsewhere)["checkpoint"], kept) {
					t.Fatal("the evidence was replaced")
				}
			}
			cfg.Anchor = kept
			if log, err := audit.Open(cfg); !errors.Is(err, audit.ErrTampered) {
				t.Errorf("got %v, %v where the authority keeps what does not fit", log, err)
			}
			cfg.Anchor = nil
			givenUp(t, cfg, kept, sink)
		})
	}
}

// An older log that was put back while the place was away must not replace the evidence of that, and takes no event once the
// evidence is read.
func TestPlaceThatComesLateKeepsItsNewerCheckpoint(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	there := new(atomic.Bool)
	there.Store(true)
	sink := away{audit.FileSink{Folder: folder(t, elsewhere), As: "checkpoint"}, there}
	log := openWith(t, dir, sink)
	for i := range 5 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	kept := contents(t, elsewhere)["checkpoint"]
	lines := linesOf(contents(t, dir))[:3]
	cfg := config(t, rewrite(t, lines, sign(t, lines)))
	cfg.Sinks = []audit.Sink{sink}
	there.Store(false)
	synctest.Test(t, func(t *testing.T) {
		older, err := audit.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the first offer has failed
		there.Store(true)
		if err := older.Append(t.Context(), audittest.Event(9)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the second was held against what the place keeps
		if err := older.Append(t.Context(), audittest.Event(10)); !errors.Is(err, audit.ErrBehind) {
			t.Errorf("error %v, want %v", err, audit.ErrBehind)
		}
		if err := older.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, elsewhere)["checkpoint"], kept) {
			t.Error("the newer checkpoint was replaced")
		}
		if got := older.Findings(); len(got) != 2 || got[0].Kind != audit.Unread || got[1].Kind != audit.Unsent {
			t.Errorf("findings %v, want that the place was not compared, and that it was left as it is", got)
		}
	})
}
