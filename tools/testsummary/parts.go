// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// partTime is one line of a file of times: name, seconds, tests passed, tests failed. A name has no blanks.
type partTime struct {
	name           string
	seconds        float64
	passed, failed int
}

// note appends a part to a file of times. Parts that run side by side may do so at once.
func note(file string, p partTime) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // times are no secret
	if err != nil {
		return fmt.Errorf("noting the time of a part: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %.1f %d %d\n", p.name, p.seconds, p.passed, p.failed)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("noting the time of a part: %w", err)
	}
	return nil
}

// sum prints a file of times, with the sums in its last line, and says whether tests ran and none failed.
func sum(file string, out io.Writer) (bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(out, "0 passed, 1 failed")
		return false, fmt.Errorf("reading the times of parts: %w", err)
	}
	total := partTime{name: "total"}
	line := func(p partTime) { fmt.Fprintf(out, "%-24s %8.0f s %6d tests\n", p.name, p.seconds, p.passed+p.failed) }
	fmt.Fprintln(out)
	for row := range strings.Lines(string(text)) {
		var p partTime
		if _, err := fmt.Sscanf(row, "%s %f %d %d\n", &p.name, &p.seconds, &p.passed, &p.failed); err != nil {
			fmt.Fprintln(out, "0 passed, 1 failed")
			return false, fmt.Errorf("reading %q in %s: %w", strings.TrimSpace(row), file, err)
		}
		line(p)
		total.seconds += p.seconds
		total.passed += p.passed
		total.failed += p.failed
	}
	line(total)
	fmt.Fprintf(out, "%d passed, %d failed\n", total.passed, total.failed)
	return total.failed == 0 && total.passed > 0, nil
}
