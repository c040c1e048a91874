// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/materialize/materializetest"
	"custody.dev/custody/internal/secret"
)

// A failing reload showed neither its name nor what it said.
func TestFailingReloadSaysWhatItSaid(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "reload")
	script := "#!/bin/sh\necho 'no such unit: shop.service' >&2\ncat \"$CUSTODY_FILE\" >&2\nexit 5\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	reload, err := NewCommand(CommandConfig{Argv: []string{"/bin/sh", program}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Name: "app", Folder: dir, Path: "app.json", Format: format.JSON, UID: -1, GID: -1, Reload: reload, ReloadName: "shop", Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	v := materializetest.Version(t, "a", "r", 1)
	if v.Value, err = secret.Text(map[string]string{"password": "hunter two", "token": "abc123def456ghi"}); err != nil {
		t.Fatal(err)
	}
	err = c.Deliver(t.Context(), v)
	if err == nil || !strings.Contains(err.Error(), "reloading with shop: ") || !strings.Contains(err.Error(), "it said: no such unit: shop.service") {
		t.Errorf("got %v", err)
	}
	if text := fmt.Sprint(err); strings.Contains(text, "hunter") || strings.Contains(text, "abc123") {
		t.Errorf("the error holds a value: %v", err)
	}
}

func TestSaidTakesValuesOut(t *testing.T) {
	v, err := secret.Text(map[string]string{"password": "pass word"})
	if err != nil {
		t.Fatal(err)
	}
	for printed, want := range map[string]string{
		"":                                    "",
		"connection refused\n":                "; it said: connection refused",
		"bad: cGFzcyB3b3Jk":                   "; it said: bad: " + taken,
		"key pass word rejected":              "; it said: key " + taken + " rejected",
		"old one Zx81mNq0pLw2 is gone":        "; it said: old one " + taken + " is gone",
		"/run/shop/pid2024 is not there":      "; it said: /run/shop/pid2024 is not there",
		strings.Repeat("y", 512):              "",
		strings.Repeat("y", 600) + "\nat end": "; it said: at end",
	} {
		got := said(&Failed{Err: errors.New("exit status 1"), Stderr: []byte(printed[max(0, len(printed)-stderrLimit):])}, v)
		if got != want {
			t.Errorf("%q: got %q, want %q", printed, got, want)
		}
	}
	if got := said(errors.New("other"), v); got != "" {
		t.Errorf("got %q", got)
	}
}
