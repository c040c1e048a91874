// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const passing = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"pass","Package":"p","Elapsed":0.2}
`
	cases := []struct {
		name, events string
		toolOK, want bool
		last         string
		shows, hides []string
	}{
		{"passed", passing, true, true, "1 passed, 0 failed", []string{"ok   p 0.2s, 1 tests"}, []string{"quiet"}},
		{"nothing ran", `{"Action":"skip","Package":"p"}`, true, false, "0 passed, 1 failed", []string{"no test ran"}, nil},
		{"go test failed though every test passed", passing, false, false, "1 passed, 1 failed", nil, nil},
		{"measured", `{"Action":"output","Package":"m/sim","Test":"TestA","Output":"sim: 7 checks\n"}` + "\n" + passing, true, true, "1 passed, 0 failed", []string{"sim: 7 checks\n"}, nil},
		{"failed test", passing + `{"Action":"output","Package":"q","Test":"TestB","Output":"why it failed\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"fail","Package":"q"}`, false, false, "1 passed, 1 failed", []string{"why it failed", "FAIL q", "q TestB"}, nil},
		{"skipped test", passing + `{"Action":"output","Package":"q","Test":"TestB","Output":"no server\n"}
{"Action":"skip","Package":"q","Test":"TestB"}
{"Action":"pass","Package":"q"}`, true, false, "1 passed, 1 failed", []string{"no server", "1 skipped, which counts as failed"}, nil},
		{"build failure", `{"ImportPath":"p","Action":"build-output","Output":"p.go:1: wrong\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`, false, false, "0 passed, 1 failed", []string{"p.go:1: wrong", "FAIL p"}, nil},
		{"ended in the middle of a test", `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: time limit\n"}
{"Action":"fail","Package":"p"}`, false, false, "0 passed, 1 failed", []string{"panic: time limit"}, nil},
		{"not an event", "go: cannot find module\n", false, false, "0 passed, 1 failed", []string{"cannot find module"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var s summary
			var out strings.Builder
			if err := s.read(strings.NewReader(c.events), &out); err != nil {
				t.Fatal(err)
			}
			if got := s.conclude(&out, c.toolOK); got != c.want {
				t.Errorf("passed = %v, want %v", got, c.want)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if got := lines[len(lines)-1]; got != c.last {
				t.Errorf("last line %q, want %q", got, c.last)
			}
			for _, want := range c.shows {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, out.String())
				}
			}
			for _, hidden := range c.hides {
				if strings.Contains(out.String(), hidden) {
					t.Errorf("output has %q of a passing test", hidden)
				}
			}
		})
	}
}

// The slowest tests come before the closing line, without those that only hold another slow one.
func TestSlowest(t *testing.T) {
	const events = `{"Action":"pass","Package":"p","Test":"TestA/slow","Elapsed":2.5}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":2.6}
{"Action":"pass","Package":"p","Test":"TestQuick","Elapsed":0.9}
{"Action":"pass","Package":"q","Test":"TestA","Elapsed":3}
{"Action":"pass","Package":"p","Elapsed":4}
`
	var s summary
	var out strings.Builder
	if err := s.read(strings.NewReader(events), &out); err != nil {
		t.Fatal(err)
	}
	s.conclude(&out, true)
	const want = "\nslowest:\n    3.0s q TestA\n    2.5s p TestA/slow\n4 passed, 0 failed\n"
	if got := out.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end in %q", got, want)
	}
}

func TestSumOfParts(t *testing.T) {
	for _, c := range []struct {
		name  string
		parts []partTime
		want  bool
		last  string
	}{
		{"all passed", []partTime{{"lint", 30, 0, 0}, {"unit", 40.4, 700, 0}, {"sim", 80.2, 90, 0}}, true, "total                         151 s    790 tests\n790 passed, 0 failed\n"},
		{"one failed", []partTime{{"unit", 40, 700, 0}, {"sim", 80, 90, 2}}, false, "790 passed, 2 failed\n"},
		{"none ran", []partTime{{"lint", 30, 0, 0}}, false, "0 passed, 0 failed\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "times")
			for _, part := range c.parts {
				if err := note(file, part); err != nil {
					t.Fatal(err)
				}
			}
			var out strings.Builder
			got, err := sum(file, &out)
			if err != nil || got != c.want || !strings.HasSuffix(out.String(), c.last) {
				t.Errorf("got %v, %v, %q, want %v and %q at the end", got, err, out.String(), c.want, c.last)
			}
		})
	}
	if ok, err := sum(filepath.Join(t.TempDir(), "none"), io.Discard); ok || err == nil {
		t.Error("no file of times is taken for a passed run")
	}
}
