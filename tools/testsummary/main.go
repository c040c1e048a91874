// SPDX-License-Identifier: Apache-2.0

// Command testsummary runs `go test -json` with its own arguments, and says in its last line how many tests ran.
//
// It prints each package as it finishes, everything that a failing test or build wrote, the lines that begin with the
// package's name and a colon (such as "sim: "), and the slowest tests. It fails if go test fails, if a test was skipped
// (a missing part is a failure, not a pass), or if no test ran.
//
//	testsummary [-part NAME] ARG...   with CUSTODY_TIMES=FILE, appends the part's time and counts to FILE
//	testsummary -sum FILE             prints the parts in FILE and then their sum; fails if a test failed
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var part string
	switch {
	case len(args) == 2 && args[0] == "-sum":
		ok, err := sum(args[1], stdout)
		if err != nil {
			fmt.Fprintln(stderr, "error:", err)
		}
		if !ok {
			return 1
		}
		return 0
	case len(args) > 2 && args[0] == "-part":
		part, args = args[1], args[2:]
	}
	began := time.Now()
	tool := os.Getenv("GO")
	if tool == "" {
		tool = "go"
	}
	cmd := exec.Command(tool, append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		fmt.Fprintln(stderr, "error: reading the output of go test:", err)
		return 1
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(stderr, "error: starting go test:", err)
		return 1
	}
	var s summary
	readErr := s.read(pipe, stdout)
	waitErr := cmd.Wait()
	ok := s.conclude(stdout, waitErr == nil && readErr == nil)
	if readErr != nil {
		fmt.Fprintln(stderr, "error:", readErr)
	}
	if times := os.Getenv("CUSTODY_TIMES"); times != "" && part != "" {
		if err := note(times, partTime{part, time.Since(began).Seconds(), s.passed, s.counted}); err != nil {
			fmt.Fprintln(stderr, "error:", err)
			ok = false
		}
	}
	if !ok {
		return 1
	}
	return 0
}
