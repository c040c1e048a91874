// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable/durabletest"
	"custody.dev/custody/internal/thorough"
)

const (
	writerFolder = "EMBEDDED_TEST_WRITER_FOLDER"
	writerKey    = "EMBEDDED_TEST_WRITER_KEY"
)

// TestWriterProcess is not a test of its own: TestAcknowledgedSurvivesKill starts it as a process and kills it.
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerFolder)
	if dir == "" {
		return
	}
	key, err := hex.DecodeString(os.Getenv(writerKey))
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, configWith(t, dir, key))
	ctx := context.Background()
	for n := 0; ; n++ {
		path := authority.Path(fmt.Sprintf("path-%d", n%7))
		record, recordErr := s.Get(ctx, "journal/"+string(path))
		if recordErr != nil && !errors.Is(recordErr, authority.ErrNotFound) {
			t.Fatal(recordErr)
		}
		base := newestOf(t, s, path)
		id, err := s.Write(ctx, path, base, "run", text(t, fmt.Sprintf("%s at %d", path, base+1)))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("value %s %d\n", path, id.Number)
		revision, err := s.Put(ctx, "journal/"+string(path), record.Revision, fmt.Appendf(nil, "revision %d", record.Revision+1))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("record journal/%s %d\n", path, revision)
		if base > 2 {
			if err := s.Destroy(ctx, path, base-2); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("destroyed %s %d\n", path, base-2)
		}
	}
}

func newestOf(t *testing.T, s *Store, path authority.Path) authority.Version {
	t.Helper()
	got, err := s.Read(context.Background(), path)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		t.Fatal(err)
	}
	return got.ID.Number
}

// TestAcknowledgedSurvivesKill kills a process after a number of acknowledgements and a few milliseconds, drawn from the
// seed. It waits for each as long as the process lives, and for no time.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	key := bytes.Repeat([]byte{5}, KeyBytes)
	config := configWith(t, filepath.Join(t.TempDir(), "authority"), key)
	if err := Initialise(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	values, records := map[authority.Path]authority.Version{}, map[string]authority.Revision{}
	type place struct {
		path   authority.Path
		number authority.Version
	}
	destroyed := map[place]bool{}
	acknowledged, awaited := 0, 0
	random := thorough.Random(t, "kills")
	for round := range thorough.Of(4, 12, 100) {
		child := exec.Command(binary, "-test.run", "^TestWriterProcess$")
		child.Env = append(os.Environ(), writerFolder+"="+config.Folder, writerKey+"="+hex.EncodeToString(key))
		output, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// After some acknowledgements, at a moment that has nothing to do with them.
		after, pause := random.IntN(40), time.Duration(random.IntN(4000))*time.Microsecond
		awaited += after + 1
		lines := bufio.NewScanner(output)
		for n := 0; lines.Scan(); n++ {
			if n == after {
				time.AfterFunc(pause, func() { _ = child.Process.Kill() })
			}
			var kind, name string
			var number uint64
			if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &kind, &name, &number); err != nil {
				continue // cut off by the kill, or the end of a failing test
			}
			acknowledged++
			switch kind {
			case "value":
				values[authority.Path(name)] = authority.Version(number)
			case "record":
				records[name] = authority.Revision(number)
			case "destroyed":
				destroyed[place{authority.Path(name), authority.Version(number)}] = true
			default:
				t.Fatalf("round %d: the writer failed: %s", round, lines.Text())
			}
		}
		_ = child.Wait()
		if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: the writer ended by itself: %v", round, child.ProcessState)
		}

		s := mustOpen(t, config)
		for path, number := range values {
			got, err := s.ReadVersion(t.Context(), path, number)
			if err != nil || !got.Value.Equal(text(t, fmt.Sprintf("%s at %d", path, number))) {
				t.Fatalf("round %d: acknowledged version %d of %s: %v", round, number, path, err)
			}
			newest := newestOf(t, s, path)
			if newest < number || newest > number+1 {
				t.Fatalf("round %d: %s is at %d, acknowledged was %d", round, path, newest, number)
			}
			values[path] = newest // the next writer begins there, acknowledged or not
		}
		for name, revision := range records {
			got, err := s.Get(t.Context(), name)
			if err != nil || got.Revision < revision || string(got.Data) != fmt.Sprintf("revision %d", got.Revision) {
				t.Fatalf("round %d: acknowledged revision %d of %s: %d %q, %v", round, revision, name, got.Revision, got.Data, err)
			}
		}
		for at := range destroyed {
			if _, err := s.ReadVersion(t.Context(), at.path, at.number); !errors.Is(err, authority.ErrNotFound) {
				t.Fatalf("round %d: destroyed version %d of %s: %v", round, at.number, at.path, err)
			}
		}
		mustClose(t, s)
	}
	if acknowledged < awaited {
		t.Errorf("%d writes were acknowledged, and %d were waited for", acknowledged, awaited)
	}
}

func TestFullDisk(t *testing.T) {
	durabletest.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		config := newConfig(t, filepath.Join(dir, "authority"))
		if err := Initialise(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, config)
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 256<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		content := func(n authority.Version) string { return string(bytes.Repeat(fmt.Appendf(nil, "%d ", n), 4000)) }
		var held authority.Version
		grow := func() error {
			for {
				if _, err := s.Write(t.Context(), "a/b", held, "run", text(t, content(held+1))); err != nil {
					return err
				}
				held++
			}
		}
		check := func(when string) {
			t.Helper()
			for number := authority.Version(1); number <= held; number++ {
				got, err := s.ReadVersion(t.Context(), "a/b", number)
				if err != nil || !got.Value.Equal(text(t, content(number))) {
					t.Fatalf("%s: version %d of %d: %v", when, number, held, err)
				}
			}
			if newest := newestOf(t, s, "a/b"); newest != held {
				t.Fatalf("%s: the newest is %d, acknowledged is %d", when, newest, held)
			}
		}
		full := func(when string) {
			t.Helper()
			for range 3 { // a refusal leaves no harm for the next
				err := grow()
				wantErr(t, err, syscall.ENOSPC)
				wantErr(t, err, authority.ErrUnavailable)
				if hintOf(err) == "" {
					t.Errorf("%s: no hint", when)
				}
				check(when)
			}
		}
		full("first time full")
		before := held
		mustClose(t, s)
		durabletest.Fill(t, filepath.Join(dir, "rest"))
		s = mustOpen(t, config) // reading must not need space
		check("reopened while full")
		full("reopened while full")
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		full("full again, after space was freed")
		if held <= before {
			t.Errorf("nothing was written after space was freed: %d versions, before %d", held, before)
		}
		mustClose(t, s)
		s = mustOpen(t, config)
		check("at last")
		if held < 5 {
			t.Errorf("only %d versions were written", held)
		}
	})
}

// TestCommitThatFailedHalfWay has the commit fail once its meta page may be on disk: no call may be answered from then
// on, since memory and disk may disagree, and reopening settles it.
func TestCommitThatFailedHalfWay(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a", 0, text(t, "x"))
	var newest int
	if err := s.db.View(func(tx *bolt.Tx) error { newest = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the disk is gone")
	err := s.uncommitted(newest+1, lost)
	wantErr(t, err, authority.ErrUnavailable, "the disk is gone")
	mustWrite(t, s, "a", 1, text(t, "nothing of it was visible, so writing goes on"))
	err = s.uncommitted(newest+1, lost)
	wantErr(t, err, authority.ErrUnavailable, "the disk is gone")
	_, err = s.Read(t.Context(), "a")
	wantErr(t, err, authority.ErrUnavailable)
	_, err = s.Write(t.Context(), "a", 2, "run", text(t, "y"))
	wantErr(t, err, authority.ErrUnavailable)
	mustClose(t, s)
	if got, err := mustOpen(t, config).Read(t.Context(), "a"); err != nil || got.ID.Number != 2 {
		t.Errorf("Read after reopening: version %d, %v", got.ID.Number, err)
	}
}
