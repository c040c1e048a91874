// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

const output = `goos: linux
pkg: custody.dev/custody/internal/platform
BenchmarkQuestion/inventory_of_10000-2         	      30	  41234567 ns/op	   5000000 answer-B	12345678 B/op	   10 allocs/op
BenchmarkQuestion/inventory_of_100000-2        	       3	 412345678 ns/op	12345678 B/op	   10 allocs/op
BenchmarkDestroy 	     500	   2345678 ns/op	   1234567 ours-ns	    411522 raw-ns	         3.000 x-bbolt
BenchmarkRotationWrites/dual 1 9 writes
BenchmarkFirstIssue/of_1000-2 1 5000000000 ns/op 198.7654 secrets/s 4.5000 CPU-ms/secret
ok  	custody.dev/custody/internal/platform	3.4s
`

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(output), &out, "2 cores, a processor"); err != nil {
		t.Fatal(err)
	}
	passed, printed, _ := strings.Cut(out.String(), "\n2 cores, a processor\n")
	if passed != output {
		t.Errorf("passed through:\n%s", passed)
	}
	blanks := regexp.MustCompile(`  +`)
	got := blanks.ReplaceAllString(printed, " ")
	for _, want := range []string{
		"| inventory, within the server | 10,000 secrets | 41.2ms, 12.3 MB allocated | < 0.5 s; of 100,000 < 3 s | |",
		"| inventory, within the server | 100,000 secrets | 412ms, 12.3 MB allocated | < 0.5 s; of 100,000 < 3 s | |",
		"| destroying a version | 2,000 free pages | 1.23ms | what it freed | 3 × bbolt |",
		"| first issue and delivery | 1,000 secrets | 199 secrets/s, 4.5 CPU ms/secret | ≥ 200/s, ≤ 5 ms CPU | |",
		"| writes of a rotation that was asked for | | 9 writes | ≤ 6, ≤ 2 for the request, and the anchor's, once a second | |",
		"| lint | 10,000 documents | not measured | < 2 s, < 150 MB | |",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no row\n%s\nin\n%s", want, got)
		}
	}
}

// What go test says of a benchmark in a form that this program does not know must not be left out in silence.
func TestUnreadableFigure(t *testing.T) {
	err := run(strings.NewReader("BenchmarkLint-2 1 many ns/op\n"), &strings.Builder{}, "")
	if err == nil || !strings.Contains(err.Error(), "BenchmarkLint") {
		t.Errorf("error %v, want one that shows the line", err)
	}
}

func TestSignificant(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 0.01234: "0.0123", 1: "1", 9.999: "10", 123.4: "123", 12345: "12345"} {
		if got := significant(value); got != want {
			t.Errorf("%v is shown as %s, want %s", value, got, want)
		}
	}
}
