// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"custody.dev/custody/internal/reason"
)

// operations is the page that has the tables of reasons among what is written by hand.
const operations = "operations.md"

// What stands between these lines is generated.
const (
	beginPeople = "<!-- Generated from internal/reason: what a person should look at. Do not edit. -->\n"
	beginNormal = "<!-- Generated from internal/reason: what ends by itself. Do not edit. -->\n"
	endOfTable  = "<!-- End of what is generated. -->\n"
)

// withReasons is the page with the tables of the catalogue.
func withReasons(page []byte, rows []reason.Row) ([]byte, error) {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b reason.Row) int { return cmp.Compare(a.Code, b.Code) })
	page, err := between(page, beginPeople, reasons(rows, "what to do", reason.Person, reason.Fault))
	if err != nil {
		return nil, err
	}
	return between(page, beginNormal, reasons(rows, "it ends", reason.Normal))
}

func between(page []byte, begin string, table []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(page, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(endOfTable))
	if !found || !ended {
		return nil, fmt.Errorf("docs/%s has no lines %q and %q", operations, begin, endOfTable)
	}
	return slices.Concat(before, []byte(begin), table, []byte(endOfTable), after), nil
}

var parameter = regexp.MustCompile(`\{([a-z]+)\}`)

// reasons is the table of the rows of those classes.
func reasons(rows []reason.Row, move string, classes ...reason.Class) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n| code | it says | it means | %s |\n|---|---|---|---|\n", move)
	for _, row := range rows {
		if slices.Contains(classes, row.Class) {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", row.Code, cell(sentence(row.Says)), cell(row.Means), cell(row.Move))
		}
	}
	b.WriteString("\n")
	return b.Bytes()
}

// sentence has parameters in italics, and within code in capitals.
func sentence(says string) string {
	parts := strings.Split(says, "`")
	for i, part := range parts {
		if i%2 == 0 {
			parts[i] = parameter.ReplaceAllString(part, "*$1*")
		} else {
			parts[i] = parameter.ReplaceAllStringFunc(part, func(name string) string { return strings.ToUpper(strings.Trim(name, "{}")) })
		}
	}
	return strings.Join(parts, "`")
}

// operated is docs/operations.md with its tables made anew; as it is where it cannot be read or has no place for them, which a test says.
func operated() []byte {
	page, err := os.ReadFile("../../docs/" + operations)
	if err != nil {
		return nil
	}
	made, err := withReasons(page, reason.Catalogue())
	if err != nil {
		return page
	}
	return made
}
