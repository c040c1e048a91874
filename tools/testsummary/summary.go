// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// event is one line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64
}

type summary struct {
	passed, failed, skipped int
	packages                int
	counted                 int // as failed, in the closing line
	failures                []string
	// output is what was written and not yet shown, by package and test ("" for the package itself).
	output map[string]map[string]*strings.Builder
	ran    map[string]int
	slow   []slowTest
}

// slowTest took a second or more.
type slowTest struct {
	pkg, test string
	seconds   float64
}

// read shows events as they come. It ends with the stream, and errors only when the stream does.
func (s *summary) read(events io.Reader, out io.Writer) error {
	s.output = map[string]map[string]*strings.Builder{}
	s.ran = map[string]int{}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				_, _ = out.Write(line) // not an event: the tool itself speaks
			} else {
				s.take(e, out)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the output of go test: %w", err)
		}
	}
}

func (s *summary) take(e event, out io.Writer) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(out, e.Output)
	case e.Action == "output" && strings.HasPrefix(e.Output, path.Base(e.Package)+": "): // what a test measured
		fmt.Fprint(out, e.Output)
	case e.Action == "output":
		s.keep(e)
	case e.Test != "":
		s.test(e, out)
	case e.Action == "pass" || e.Action == "fail":
		s.finish(e, out)
	case e.Action == "skip": // no test files
		delete(s.output, e.Package)
	}
}

func (s *summary) keep(e event) {
	tests := s.output[e.Package]
	if tests == nil {
		tests = map[string]*strings.Builder{}
		s.output[e.Package] = tests
	}
	if tests[e.Test] == nil {
		tests[e.Test] = &strings.Builder{}
	}
	tests[e.Test].WriteString(e.Output)
}

func (s *summary) test(e event, out io.Writer) {
	name := e.Package + " " + e.Test
	if e.Elapsed >= 1 {
		s.slow = append(s.slow, slowTest{e.Package, e.Test, e.Elapsed})
	}
	switch e.Action {
	case "pass":
		s.passed++
		s.ran[e.Package]++
		delete(s.output[e.Package], e.Test)
	case "fail", "skip":
		s.ran[e.Package]++
		if e.Action == "fail" {
			s.failed++
		} else {
			s.skipped++
			name += " (skipped)"
		}
		s.failures = append(s.failures, name)
		s.show(e.Package, e.Test, out)
	}
}

// finish prints the package's line; what a failing package holds that no finished test has shown comes first, such as
// a panic or a time limit that ended the process in the middle of a test.
func (s *summary) finish(e event, out io.Writer) {
	s.packages++
	word := "ok  "
	if e.Action == "fail" {
		word = "FAIL"
		names := make([]string, 0, len(s.output[e.Package]))
		for name := range s.output[e.Package] {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			s.show(e.Package, name, out)
		}
		s.failures = append(s.failures, e.Package)
	}
	delete(s.output, e.Package)
	fmt.Fprintf(out, "%s %s %.1fs, %d tests\n", word, e.Package, e.Elapsed, s.ran[e.Package])
}

func (s *summary) show(pkg, test string, out io.Writer) {
	if kept := s.output[pkg][test]; kept != nil {
		fmt.Fprint(out, kept.String())
		delete(s.output[pkg], test)
	}
}

// slowest prints up to ten tests that took a second or more. One that has a slow test in it is not among them.
func (s *summary) slowest(out io.Writer) {
	var leaves []slowTest
	for _, one := range s.slow {
		inner := func(other slowTest) bool { return other.pkg == one.pkg && strings.HasPrefix(other.test, one.test+"/") }
		if !slices.ContainsFunc(s.slow, inner) {
			leaves = append(leaves, one)
		}
	}
	if len(leaves) == 0 {
		return
	}
	slices.SortStableFunc(leaves, func(a, b slowTest) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintln(out, "\nslowest:")
	for _, one := range leaves[:min(10, len(leaves))] {
		fmt.Fprintf(out, "%7.1fs %s %s\n", one.seconds, one.pkg, one.test)
	}
}

// conclude prints the closing line and says whether the run counts as passed.
func (s *summary) conclude(out io.Writer, toolOK bool) bool {
	s.slowest(out)
	if len(s.failures) > 0 {
		fmt.Fprintln(out, "\nnot passed:")
		for _, name := range s.failures {
			fmt.Fprintln(out, "  "+name)
		}
	}
	failed := s.failed + s.skipped
	ok := toolOK && len(s.failures) == 0 && s.passed > 0
	switch {
	case s.passed == 0 && failed == 0:
		fmt.Fprintln(out, "no test ran, which is a failure")
	case s.skipped > 0:
		fmt.Fprintf(out, "%d skipped, which counts as failed\n", s.skipped)
	}
	if !ok && failed == 0 {
		failed = 1 // a build, a panic outside a test, or the tool itself
	}
	s.counted = failed
	fmt.Fprintf(out, "%d passed, %d failed\n", s.passed, failed)
	return ok
}
