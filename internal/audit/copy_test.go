// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
)

// read returns the bytes of a copy's files, by name and one after another.
func readCopy(t *testing.T, c audit.Copy) (files map[string][]byte, whole []byte) {
	t.Helper()
	files = map[string][]byte{}
	for i, file := range c.Files {
		from, err := c.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(from)
		if err := errors.Join(err, from.Close()); err != nil {
			t.Fatal(err)
		}
		if !audit.IsFile(file.Name, i+1) || int64(len(data)) != file.Bytes {
			t.Errorf("file %d is %s with %d bytes, want %d", i+1, file.Name, len(data), file.Bytes)
		}
		files[file.Name], whole = data, append(whole, data...)
	}
	return files, whole
}

func verdict(t *testing.T, c audit.Copy, whole []byte, piece int) error {
	t.Helper()
	check, err := audit.NewCheck(c.Verifier, c.Checkpoint)
	if err != nil {
		return err
	}
	for len(whole) > 0 {
		n := min(piece, len(whole))
		if _, err := check.Write(whole[:n]); err != nil {
			return err
		}
		whole = whole[n:]
	}
	return check.Verdict()
}

// A copy that is taken while others append is a whole log: its files opened in another folder are what its checkpoint covers.
func TestCopyWhileOthersAppend(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	var appending sync.WaitGroup
	began := make(chan struct{})
	appending.Go(func() {
		for i := range 200 {
			if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
				t.Error(err)
			}
			if i == 50 {
				close(began)
			}
		}
	})
	<-began
	for range 5 {
		c := log.Copy()
		files, whole := readCopy(t, c)
		if err := verdict(t, c, whole, 100); err != nil {
			t.Fatal(err)
		}
		back := filepath.Join(t.TempDir(), "audit")
		if err := os.Mkdir(back, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			write(t, back, name, data)
		}
		write(t, back, audit.CheckpointFile, c.Checkpoint)
		if report := verify(t, back, c.Checkpoint); !report.Sound() || report.Size != c.Events || c.Events < 50 {
			t.Errorf("%d events, want %d: %v", report.Size, c.Events, report.Findings)
		}
		opened := open(t, back)
		if opened.Size() != c.Events {
			t.Errorf("opened, it has %d events, want %d", opened.Size(), c.Events)
		}
	}
	appending.Wait()
}

func TestCheckFindsEveryChange(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir)
	empty := log.Copy()
	if _, whole := readCopy(t, empty); len(whole) != 0 || verdict(t, empty, nil, 1) != nil {
		t.Error("a log without events is not the copy of one")
	}
	for i := range 60 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	c := log.Copy()
	if len(c.Files) < 2 {
		t.Fatalf("the log has %d segments", len(c.Files))
	}
	_, whole := readCopy(t, c)
	for _, piece := range []int{1, 7, len(whole)} {
		if err := verdict(t, c, whole, piece); err != nil {
			t.Errorf("in pieces of %d: %v", piece, err)
		}
	}
	for at := 0; at < len(whole); at += 97 {
		changed := bytes.Clone(whole)
		changed[at] ^= 1
		if err := verdict(t, c, changed, 4096); !errors.Is(err, audit.ErrTampered) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if err := verdict(t, c, whole[:at], 4096); !errors.Is(err, audit.ErrTampered) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if err := verdict(t, c, append(bytes.Clone(whole), whole[:bytes.IndexByte(whole, '\n')+1]...), 4096); !errors.Is(err, audit.ErrTampered) {
		t.Errorf("a line more: %v", err)
	}
	forged := c
	forged.Checkpoint = bytes.Replace(c.Checkpoint, []byte("\n60\n"), []byte("\n61\n"), 1)
	if err := verdict(t, forged, whole, 4096); !errors.Is(err, audit.ErrTampered) {
		t.Errorf("a checkpoint that was changed: %v", err)
	}
	// A file that was cut since is not taken for the copy.
	last := c.Files[len(c.Files)-1]
	if err := os.Truncate(filepath.Join(dir, last.Name), last.Bytes-1); err != nil {
		t.Fatal(err)
	}
	from, err := c.Open(last)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := io.ReadAll(from); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reading a file that was cut: %v", err)
	}
}
