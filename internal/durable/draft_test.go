// SPDX-License-Identifier: Apache-2.0

package durable_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

func TestDraftHasItsNameOnceItIsPublished(t *testing.T) {
	f, dir := open(t)
	d, err := f.Draft("copy")
	must(t, err)
	_, err = d.Write([]byte("half"))
	must(t, err)
	wantNames(t, dir, ".copy.custody.tmp")

	// What a crash left is replaced by the next draft.
	again, err := f.Draft("copy")
	must(t, err)
	_, err = again.Write([]byte("whole"))
	must(t, err)
	read, err := again.Synced()
	must(t, err)
	got, err := io.ReadAll(read)
	must(t, err, read.Close())
	if string(got) != "whole" {
		t.Errorf("read back %q", got)
	}
	must(t, again.Publish("one"))
	again.Discard()
	wantNames(t, dir, "one")
	wantContent(t, filepath.Join(dir, "one"), "whole")

	third, err := f.Draft("copy")
	must(t, err)
	if err := third.Publish("one"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("publishing over a file: %v", err)
	}
	third.Discard()
	wantNames(t, dir, "one")
}

func TestStreamWritesOnce(t *testing.T) {
	f, dir := open(t)
	n, err := f.Stream("file", bytes.NewReader([]byte("content")))
	must(t, err)
	if n != 7 {
		t.Errorf("%d bytes were written", n)
	}
	wantContent(t, filepath.Join(dir, "file"), "content")
	if _, err := f.Stream("file", strings.NewReader("other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing over a file: %v", err)
	}
	wantContent(t, filepath.Join(dir, "file"), "content")
}
