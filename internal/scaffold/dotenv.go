// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/materialize/format" //nolint:depguard // pure: it says beforehand whether a value can be delivered at all
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

const (
	maxDotenv    = 64 << 10
	maxVariables = 500
	// maxFaults are told one by one.
	maxFaults = 100
)

// Variable is one variable of a dotenv file.
type Variable struct {
	// Name is the variable's, Secret the name of the secret that it becomes.
	Name, Secret string
	// Line is where it is set.
	Line  int
	Value secret.Value
}

var variableForm = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// Variables reads a dotenv file and checks that each variable can become a secret, all but those in skip. What readers of
// dotenv files disagree about is refused rather than guessed, everything at once. Errors name lines and variables, never
// values.
func Variables(data []byte, skip []string) ([]Variable, error) {
	if len(data) > maxDotenv || bytes.IndexByte(data, 0) >= 0 {
		return nil, bad(fmt.Sprintf("not text of at most %d bytes", maxDotenv), "give the dotenv file itself")
	}
	entries, faults := format.ReadDotenv(data)
	set := map[string]bool{}
	for _, e := range entries {
		set[e.Key] = true
	}
	for _, f := range faults {
		set[f.Key] = true
	}
	delete(set, "")
	for _, name := range skip {
		if !set[name] {
			return nil, bad(fmt.Sprintf("there is no variable %s to skip", name), "correct --skip")
		}
	}
	faults = slices.DeleteFunc(faults, func(f format.Fault) bool { return slices.Contains(skip, f.Key) })
	var variables []Variable
	first, named := map[string]int{}, map[string]Variable{}
	for _, e := range entries {
		if slices.Contains(skip, e.Key) {
			continue
		}
		if line, twice := first[e.Key]; twice {
			faults = append(faults, format.Fault{Line: e.Line, Key: e.Key, Reason: fmt.Sprintf("%s is set on line %d and again here", e.Key, line),
				Fix: "keep the one that holds; readers differ in which they take"})
			continue
		}
		first[e.Key] = e.Line
		v, fault := variable(e)
		if fault == nil {
			if other, taken := named[v.Secret]; taken {
				fault = &format.Fault{Reason: fmt.Sprintf("%s on line %d and %s would both be called %s", other.Name, other.Line, v.Name, v.Secret),
					Fix: "rename one of them, or leave it out with --skip " + v.Name}
			}
		}
		if fault != nil {
			fault.Line, fault.Key = e.Line, e.Key
			faults = append(faults, *fault)
			continue
		}
		named[v.Secret] = v
		variables = append(variables, v)
	}
	if n := len(set) - len(skip); len(faults) == 0 && (n <= 0 || n > maxVariables) {
		return nil, bad(fmt.Sprintf("it sets %d variables", max(n, 0)), fmt.Sprintf("give a file that sets 1 to %d", maxVariables))
	}
	if len(faults) > 0 {
		return nil, refused(faults)
	}
	return variables, nil
}

// refused tells all faults, a line each.
func refused(faults []format.Fault) error {
	slices.SortStableFunc(faults, func(a, b format.Fault) int { return a.Line - b.Line })
	var told strings.Builder
	for i, f := range faults {
		if i == maxFaults {
			fmt.Fprintf(&told, "\n  and %d more", len(faults)-i)
			break
		}
		where := fmt.Sprintf("line %d", f.Line)
		if f.Key != "" {
			where += ", " + f.Key
		}
		fmt.Fprintf(&told, "\n  %s: %s; %s", where, f.Reason, f.Fix)
	}
	what := "1 line is not read alike by all programs, or cannot be taken:"
	if len(faults) > 1 {
		what = fmt.Sprintf("%d places are not read alike by all programs, or cannot be taken:", len(faults))
	}
	return bad(what+told.String(), "correct them in the file, or leave variables out with --skip NAME,NAME")
}

// variable says whether an entry can be named, stored and delivered.
func variable(e format.Entry) (Variable, *format.Fault) {
	v := Variable{Name: e.Key, Secret: Kebab(e.Key), Line: e.Line}
	fault := func(reason, fix string) (Variable, *format.Fault) { return v, &format.Fault{Reason: reason, Fix: fix} }
	out := "leave it out with --skip " + v.Name
	_, failed := authority.ParsePath("imported/" + v.Secret)
	switch {
	case !variableForm.MatchString(v.Name):
		return fault("it is not a name that every shell takes", "rename it to letters, digits and underscores")
	case !v1alpha1.WellNamed(v.Secret) || failed != nil:
		return fault("it gives no usable name for a secret", "rename it, or "+out)
	case e.Value == "":
		return fault("it has no value", "give it one, or "+out)
	}
	var err error
	if v.Value, err = secret.Text(map[string]string{secret.SingleField: e.Value}); err == nil {
		err = v.Value.Fits()
	}
	if err != nil {
		return fault("it is larger than a secret may be", out)
	}
	layout := format.Layout{Format: format.Env, Keys: map[string]string{secret.SingleField: v.Name}}
	if _, err := layout.Render(v.Value, ""); err != nil {
		return fault("it could not be delivered as it is: "+err.Error(), out)
	}
	return v, nil
}

func named(variables []Variable, name string) bool {
	return slices.ContainsFunc(variables, func(v Variable) bool { return v.Secret == name })
}

func bad(detail, next string) error {
	return &root.Error{Doing: "reading the dotenv file", Class: ErrInput, Detail: detail, Next: next}
}
