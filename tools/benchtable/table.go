// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures are what one benchmark reported, by unit; the name is without "Benchmark" and the number of processors.
type figures struct {
	name string
	of   map[string]float64
}

var line = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// read passes everything through and returns what benchmarks reported, in their order.
func read(in io.Reader, out io.Writer) ([]figures, error) {
	var all []figures
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(out, lines.Text())
		match := line.FindStringSubmatch(lines.Text())
		if match == nil {
			continue
		}
		one := figures{match[1], map[string]float64{}}
		fields := strings.Fields(match[2])
		for i := 0; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", lines.Text(), err)
			}
			one.of[fields[i+1]] = value
		}
		all = append(all, one)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the output of go test: %w", err)
	}
	return all, nil
}

// table renders the rows, as Markdown that reads well as it is.
func table(all []figures) string {
	cells := [][]string{{"work", "size", "figure", "aim", "against the part beneath"}}
	for _, r := range rows {
		cells = append(cells, r.cells(all)...)
	}
	widths := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}
	var out strings.Builder
	for _, row := range slices.Insert(cells, 1, rule) {
		for i, cell := range row {
			out.WriteString("| " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))) + " ")
		}
		out.WriteString("|\n")
	}
	return out.String()
}

// cells are a row for each size that was measured, or one that says that none was.
func (r row) cells(all []figures) [][]string {
	var out [][]string
	name := regexp.MustCompile("^" + r.benchmark + "$")
	for _, one := range all {
		match := name.FindStringSubmatch(one.name)
		if match == nil {
			continue
		}
		size := r.size
		if len(match) > 1 {
			size = thousands(match[1]) + " " + r.size
		}
		out = append(out, []string{r.work, size, one.figure(r.units), r.aim, one.ratios()})
	}
	if out == nil {
		return [][]string{{r.work, r.size, "not measured", r.aim, ""}}
	}
	return out
}

func (f figures) figure(units []string) string {
	var parts []string
	for _, unit := range units {
		if value, there := f.of[unit]; there {
			parts = append(parts, worded(value, unit))
		}
	}
	if parts == nil {
		return "not measured"
	}
	return strings.Join(parts, ", ")
}

// ratios are the figures whose unit is x-PART.
func (f figures) ratios() string {
	var parts []string
	for unit, value := range f.of {
		if part, is := strings.CutPrefix(unit, "x-"); is {
			parts = append(parts, significant(value)+" × "+part)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// worded gives a figure of a benchmark the unit that people read.
func worded(value float64, unit string) string {
	switch unit {
	case "ns/op", "ours-ns":
		took := time.Duration(value)
		digits := math.Pow10(max(0, int(math.Log10(max(value, 1)))-2))
		return took.Round(time.Duration(digits)).String()
	case "B/op":
		return significant(value/1e6) + " MB allocated"
	}
	return significant(value) + " " + strings.ReplaceAll(unit, "-", " ")
}

// significant has three digits, and never an exponent.
func significant(value float64) string {
	if value == 0 {
		return "0"
	}
	decimals := max(0, 2-int(math.Floor(math.Log10(math.Abs(value)))))
	text := strconv.FormatFloat(value, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// thousands separates the digits of a whole number.
func thousands(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
