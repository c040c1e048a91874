// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/wire/kinds"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzDecode holds decoding to two things: nothing makes it panic, and a document that is accepted survives being written
// as JSON and read again.
func FuzzDecode(f *testing.F) {
	s := newStage(f)
	seeds := 0
	err := filepath.WalkDir("testdata", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".yaml") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil || strings.Contains(string(data), "{{BIG}}") {
			return err
		}
		f.Add([]byte(s.fill(string(data))))
		seeds++
		return nil
	})
	if err != nil || seeds < 40 {
		f.Fatalf("testdata holds %d seeds, want 40 or more (%v)", seeds, err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first := newReader(kinds.Upstreams())
		first.read("a.yaml", data)
		newChecker(first, Options{Types: kinds.Upstreams()}).run()
		for _, fault := range first.faults.sorted() {
			if fault.Rule == "" || fault.Fix == "" || fault.Reason == "" {
				t.Errorf("fault lacks a part: %+v", fault)
			}
		}
		alone := newReader(kinds.Upstreams())
		alone.read("a.yaml", data)
		if len(alone.faults.list) > 0 {
			return
		}
		for _, d := range alone.documents {
			encoded, err := json.Marshal(d.value)
			if err != nil {
				t.Fatalf("encoding %s: %v", d.kind, err)
			}
			again := newReader(kinds.Upstreams())
			again.read("b.yaml", encoded)
			if len(again.faults.list) > 0 || len(again.documents) != 1 {
				t.Fatalf("%s was accepted, and not once written: %v\n%s", d.kind, again.faults.list, encoded)
			}
			if diff := cmp.Diff(d.value, again.documents[0].value, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s changed (-first +again):\n%s", d.kind, diff)
			}
		}
	})
}
