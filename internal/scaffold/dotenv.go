// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize/format" //nolint:depguard // pure: it says beforehand whether a value can be delivered at all
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

const (
	maxDotenv    = 64 << 10
	maxVariables = 500
)

// Variable is one variable of a dotenv file.
type Variable struct {
	// Name is the variable's, Secret the name of the secret that it becomes.
	Name, Secret string
	// Line is where it is set.
	Line  int
	Value secret.Value
}

var (
	setting      = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?([\pL\pN_.]+)[ \t]*[=:]`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
)

const (
	probe = "CUSTODY_PROBE_OF_A_NAME"
	// dollar stands in for $ so that nothing is expanded; it is a noncharacter, which no dotenv file holds.
	dollar = "\ufdd0"
)

// Variables reads a dotenv file and checks that each variable can become a secret, all but those in skip. What readers of
// dotenv files disagree about is refused rather than guessed. Errors name lines and variables, never values.
func Variables(data []byte, skip []string) ([]Variable, error) {
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	if len(data) > maxDotenv || bytes.Contains(data, []byte(dollar)) || bytes.IndexByte(data, 0) >= 0 {
		return nil, bad(fmt.Sprintf("not text of at most %d bytes", maxDotenv), "give the dotenv file itself")
	}
	values, err := godotenv.UnmarshalBytes(data)
	if err != nil { // which quotes the line
		return nil, bad(fmt.Sprintf("line %d, or what begins there, is not NAME=value", brokenLine(data)), "correct the line; put values with spaces in single quotes")
	}
	literal, err := godotenv.UnmarshalBytes(bytes.ReplaceAll(data, []byte("$"), []byte(dollar)))
	if err != nil {
		return nil, bad("it cannot be read without expanding variables", "put values that hold a $ in single quotes")
	}
	for _, name := range skip {
		if _, ok := values[name]; !ok {
			return nil, bad(fmt.Sprintf("there is no variable %s to skip", name), "correct --skip")
		}
		delete(values, name)
	}
	if len(values) == 0 || len(values) > maxVariables {
		return nil, bad(fmt.Sprintf("it sets %d variables", len(values)), fmt.Sprintf("give a file that sets 1 to %d", maxVariables))
	}
	variables := make([]Variable, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		line, twice := lineOf(data, name)
		v := Variable{Name: name, Secret: Kebab(name), Line: line}
		switch {
		case line == 0:
			return nil, bad("two variables stand on one line", "give every variable a line of its own")
		case twice:
			return nil, bad(fmt.Sprintf("%s is set on line %d and again", name, line), "keep the one that holds; readers differ in which they take")
		case strings.ReplaceAll(literal[name], dollar, "$") != values[name]:
			return nil, bad(fmt.Sprintf("the value of %s on line %d holds a $ that some readers expand", name, line), "put the value in single quotes")
		case values[name] == "":
			return nil, bad(fmt.Sprintf("%s on line %d has no value", name, line), "give it one, or leave it out with --skip "+name)
		}
		if v.Value, err = secret.Text(map[string]string{secret.SingleField: values[name]}); err != nil {
			return nil, bad(fmt.Sprintf("the value of %s on line %d: %v", name, line, err), "leave it out with --skip "+name)
		}
		if err := v.check(); err != nil {
			return nil, err
		}
		variables = append(variables, v)
	}
	slices.SortFunc(variables, func(a, b Variable) int { return a.Line - b.Line })
	taken := map[string]Variable{}
	for _, v := range variables {
		if first, ok := taken[v.Secret]; ok {
			return nil, bad(fmt.Sprintf("%s on line %d and %s on line %d would both be called %s", first.Name, first.Line, v.Name, v.Line, v.Secret),
				"rename one of them, or leave it out with --skip "+v.Name)
		}
		taken[v.Secret] = v
	}
	return variables, nil
}

// check says whether the variable can be named, stored and delivered.
func (v Variable) check() error {
	where, out := fmt.Sprintf("%s on line %d", v.Name, v.Line), "leave it out with --skip "+v.Name
	_, err := authority.ParsePath("imported/" + v.Secret)
	switch {
	case !variableForm.MatchString(v.Name):
		return bad(fmt.Sprintf("the variable on line %d is not a name that every shell takes", v.Line), "rename it to letters, digits and underscores")
	case !wellNamed(v.Secret) || err != nil:
		return bad(where+" gives no usable name for a secret", "rename it, or "+out)
	}
	if err := v.Value.Fits(); err != nil {
		return bad(where+" is larger than a secret may be", out)
	}
	layout := format.Layout{Format: format.Env, Keys: map[string]string{secret.SingleField: v.Name}}
	if _, err := layout.Render(v.Value, ""); err != nil {
		return bad(where+" could not be delivered as it is: "+err.Error(), out)
	}
	return nil
}

func named(variables []Variable, name string) bool {
	return slices.ContainsFunc(variables, func(v Variable) bool { return v.Secret == name })
}

// lineOf finds the line that sets a variable, and whether it is set again. A line within a value that spans lines looks
// the same; renaming the variable there shows which it is.
func lineOf(data []byte, name string) (line int, twice bool) {
	for _, at := range setting.FindAllSubmatchIndex(data, -1) {
		if string(data[at[2]:at[3]]) != name {
			continue
		}
		renamed := slices.Concat(data[:at[2]], []byte(probe), data[at[3]:])
		values, err := godotenv.UnmarshalBytes(renamed)
		if _, found := values[probe]; err != nil || !found {
			continue
		}
		_, again := values[name]
		return 1 + bytes.Count(data[:at[2]], []byte("\n")), again
	}
	return 0, false
}

// brokenLine finds the line after the longest beginning that can be read.
func brokenLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := godotenv.UnmarshalBytes(bytes.Join(lines[:n], nil)); err == nil {
			return n + 1
		}
	}
	return 1
}

func bad(detail, next string) error {
	return &root.Error{Doing: "reading the dotenv file", Class: ErrInput, Detail: detail, Next: next}
}
