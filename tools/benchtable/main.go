// SPDX-License-Identifier: Apache-2.0

// Command benchtable prints the output of `go test -bench` and then the table of costs: one row for each kind of work,
// with the measurement, the aim, and the ratio to the cheapest part that does the same work. A row that was not
// measured says so. It only reports figures and judges nothing.
//
//	go test -run '^$' -bench . ./... | benchtable
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

func main() {
	if err := run(os.Stdin, os.Stdout, thisMachine()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, machine string) error {
	figures, err := read(in, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\n\n%s", machine, table(figures))
	return nil
}

// thisMachine names cores, processor, kernel and Go. What the system does not tell is left out.
func thisMachine() string {
	parts := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				parts = append(parts, strings.TrimSpace(value))
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(text)))
	}
	return strings.Join(append(parts, runtime.Version()), ", ")
}
