// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
)

// TestCheckpointThatAnotherKeySigned: what a place keeps that another key signed was written over, the only evidence of another
// platform's record, or of this one's before its state folder was gone. An empty log takes it for evidence; no other is stopped.
func TestCheckpointThatAnotherKeySigned(t *testing.T) {
	another := func(origin string) []byte {
		seed, err := audit.NewSeed(strings.NewReader(strings.Repeat("8", audit.SeedSize)))
		if err != nil {
			t.Fatal(err)
		}
		key, err := audit.NewSigner(origin, seed)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := audit.SignLines(key, [][]byte{[]byte("one"), []byte("two")})
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	for name, c := range map[string]struct {
		kept   []byte
		events int
		ahead  bool
	}{
		"another platform's":                {another("custody.dev/other/prod"), 0, false},
		"another platform's, a log in use":  {another("custody.dev/other/prod"), 3, false},
		"of this name":                      {another(origin), 0, true},
		"of this name, a log in use":        {another(origin), 3, false},
		"the log's own, with a letter lost": {bytes.Replace(fill(t, t.TempDir(), 5), []byte("— "+origin+" "), []byte("— "+origin+" A"), 1), 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			fill(t, dir, c.events)
			write(t, elsewhere, "checkpoint", c.kept)
			log := openWith(t, dir, audit.FileSink{Folder: folder(t, elsewhere), As: "checkpoint"})
			ahead := log.Ahead()
			if c.ahead != (len(ahead) == 1 && ahead[0].Former && bytes.Equal(ahead[0].Data, c.kept)) {
				t.Errorf("evidence %v, want some: %t", ahead, c.ahead)
			}
			if err := log.Append(t.Context(), audittest.Event(8)); errors.Is(err, audit.ErrBehind) != c.ahead || err != nil && !c.ahead {
				t.Errorf("appending says %v", err)
			}
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			if got := log.Findings(); len(got) != 1 || got[0].Kind != audit.Unsent || !strings.Contains(got[0].What, "not signed by the key of this record") {
				t.Errorf("findings %v, want that it was left as it is", got)
			}
			if !bytes.Equal(contents(t, elsewhere)["checkpoint"], c.kept) {
				t.Error("it was written over")
			}
			if c.ahead {
				sink := audit.FileSink{Folder: folder(t, elsewhere), As: "checkpoint"}
				cfg := config(t, dir)
				cfg.Sinks = []audit.Sink{sink}
				givenUp(t, cfg, c.kept, sink)
			}
		})
	}
}
