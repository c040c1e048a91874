// SPDX-License-Identifier: Apache-2.0

// Command testsummary runs `go test -json` with its own arguments and says in its last line how many tests ran.
//
// It prints each package as it finishes, and everything that a failing test or build wrote. It fails when go test
// fails, when a test was skipped (a missing part is a failure, not a pass) and when no test ran at all.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
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
	if !ok {
		return 1
	}
	return 0
}
