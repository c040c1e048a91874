// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/wire/kinds"
)

func fileOf(path string) string {
	return "  consumers:\n  - name: app\n    file: {folder: run, path: " + path + ", format: raw, field: value}\n"
}

func rotated(policy string) string { return "  rotation: {policyRef: " + policy + "}\n" }

// A document that was removed stays in force, with what it refers to, while something of it may be in force outside.
func TestLeaving(t *testing.T) {
	base := edited{
		"old.yaml":    secretText("old", "team/old", rotated("weekly")+fileOf("old.txt")),
		"policy.yaml": policyText("weekly", "7d"),
		"other.yaml":  secretText("other", "team/other", ""),
	}
	for name, row := range map[string]struct {
		edit     func(edited)
		gone     bool // nothing of it is in force outside
		want     []string
		leaving  []string
		policies []string
		files    []string // of what leaves
	}{
		"nothing is removed": {func(edited) {}, false, []string{"old", "other"}, nil, []string{"weekly"}, nil},
		"it is removed": {
			func(e edited) { delete(e, "old.yaml") }, false,
			[]string{"old", "other"}, []string{"old"}, []string{"weekly"}, []string{"old.txt"},
		},
		"it is removed with its policy": {
			func(e edited) { delete(e, "old.yaml"); delete(e, "policy.yaml") }, false,
			[]string{"old", "other"}, []string{"old"}, []string{"weekly"}, []string{"old.txt"},
		},
		"it was retired":                 {func(e edited) { delete(e, "old.yaml") }, true, []string{"other"}, nil, []string{"weekly"}, nil},
		"it was retired with its policy": {func(e edited) { delete(e, "old.yaml"); delete(e, "policy.yaml") }, true, []string{"other"}, nil, nil, nil},
		"it has another name": {
			func(e edited) {
				delete(e, "old.yaml")
				e["new.yaml"] = secretText("new", "team/old", "  formerNames: [old]\n")
			}, false,
			[]string{"new", "other"}, nil, []string{"weekly"}, nil,
		},
		"another has its path": {
			func(e edited) { delete(e, "old.yaml"); e["new.yaml"] = secretText("new", "team/old", "") }, false,
			[]string{"new", "other"}, nil, []string{"weekly"}, nil,
		},
		"another has its file": {
			func(e edited) {
				delete(e, "old.yaml")
				e["new.yaml"] = secretText("new", "team/new", fileOf("old.txt"))
			}, false,
			[]string{"new", "old", "other"}, []string{"old"}, []string{"weekly"}, nil,
		},
		"something else is broken": {
			func(e edited) { delete(e, "old.yaml"); e["other.yaml"] = secretText("other", "No/Where", "") }, false,
			[]string{"old", "other"}, []string{"old"}, []string{"weekly"}, []string{"old.txt"},
		},
		"it may be in a file that cannot be read": {
			func(e edited) { delete(e, "old.yaml"); e["torn.yaml"] = "kind: [" }, false,
			[]string{"old", "other"}, nil, []string{"weekly"}, nil,
		},
		"its file is torn": {func(e edited) { e["old.yaml"] = "kind: [" }, false, []string{"old", "other"}, nil, []string{"weekly"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := maps.Clone(base)
			platform(t, e)
			options := Options{Types: kinds.Upstreams(), At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
			before, faults := e.files(t).Load(options)
			if before == nil {
				t.Fatal(faults)
			}
			row.edit(e)
			newest := e.files(t)
			options.Keeps = func(_ string, path authority.Path) bool { return !row.gone && path == "team/old" }
			options.Runs = func(string, authority.Path) bool { return false }
			got, faults := newest.LoadOver(before.Files, options)
			if got == nil {
				t.Fatal(faults)
			}
			if diff := cmp.Diff(row.want, got.SecretNames()); diff != "" {
				t.Errorf("in force (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.leaving, slices.Sorted(maps.Keys(got.Leaving))); diff != "" {
				t.Errorf("leaving (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.policies, slices.Sorted(maps.Keys(got.Policies))); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
			var files []string
			for name := range got.Leaving {
				for _, c := range got.Secrets[name].Consumers {
					files = append(files, c.File.Path)
				}
			}
			if diff := cmp.Diff(row.files, files); diff != "" {
				t.Errorf("files of what leaves (-want +got):\n%s", diff)
			}
			holds(t, got, newest, options)
		})
	}
}

// A start on a folder that is not there has the copy, which says what leaves; and a document that comes back stays.
func TestLeavingIsKeptWithTheCopy(t *testing.T) {
	e := edited{"old.yaml": secretText("old", "team/old", ""), "other.yaml": secretText("other", "team/other", "")}
	platform(t, e)
	options := Options{Types: kinds.Upstreams(), Keeps: func(string, authority.Path) bool { return true }, Runs: func(string, authority.Path) bool { return false }, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	before, faults := e.files(t).Load(options)
	if before == nil {
		t.Fatal(faults)
	}
	text := e["old.yaml"]
	delete(e, "old.yaml")
	left, faults := e.files(t).LoadOver(before.Files, options)
	if left == nil || !left.Leaving["old"] || left.Same(before) {
		t.Fatalf("it does not leave: %v", faults)
	}
	copied, err := OfCopy(maps.Collect(left.Files.All()))
	if err != nil {
		t.Fatal(err)
	}
	if kept, faults := copied.LoadOver(nil, options); kept == nil || !kept.Leaving["old"] {
		t.Errorf("the copy does not say that it leaves: %v", faults)
	}
	e["torn.yaml"] = "kind: ["
	if torn, faults := e.files(t).LoadOver(copied, options); torn == nil || !torn.Leaving["old"] {
		t.Errorf("beside a file that cannot be read it does not leave: %v", faults)
	}
	delete(e, "torn.yaml")
	e["old.yaml"] = text
	back, faults := e.files(t).LoadOver(copied, options)
	if back == nil || back.Leaving["old"] || back.Same(left) {
		t.Errorf("it is declared again, and leaves: %v", faults)
	}
}

// platform adds the document that every estate has.
func platform(t *testing.T, e edited) { e["platform.yaml"] = goodText(t, newStage(t))["platform.yaml"] }
