// SPDX-License-Identifier: Apache-2.0

package materialize_test

import (
	"encoding/json"
	"testing"

	"custody.dev/custody/internal/materialize"
)

func TestLevels(t *testing.T) {
	for level := materialize.None; level <= materialize.UpstreamSeen; level++ {
		encoded, err := json.Marshal(level)
		if err != nil {
			t.Fatal(err)
		}
		var got materialize.Level
		if err := json.Unmarshal(encoded, &got); err != nil || got != level {
			t.Errorf("got %s, %v from %s, want %s", got, err, encoded, level)
		}
		parsed, err := materialize.ParseLevel(level.String())
		if documented := level != materialize.None; (err == nil) != documented || (documented && parsed != level) {
			t.Errorf("got %s, %v from parsing %q", parsed, err, level)
		}
	}
	for _, text := range []string{"", "Rolled", "level(9)"} {
		if _, err := materialize.ParseLevel(text); err == nil {
			t.Errorf("got no error from parsing %q", text)
		}
	}
	if got := materialize.Level(9).String(); got != "level(9)" {
		t.Errorf("got %q for an unknown level", got)
	}
}
