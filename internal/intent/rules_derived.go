// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/plaintext"
)

// derivedRules check what is computed from other secrets.
func (c *checker) derivedRules(v *view, d *document, spec v1alpha1.ManagedSecretSpec) {
	derived := spec.Origin.Derived
	if (derived != nil) != (spec.Class == classDerived) && spec.Class != "" {
		c.fault(d, "class-origin", at("spec", "class"), "class derived and origin derived go together", "")
	}
	if derived == nil {
		return
	}
	t := at("spec", "origin", "derived")
	if spec.Rotation != nil {
		c.fault(d, "derived-form", at("spec", "rotation"), "a derived secret is rebuilt when an input changes, and has no rotation of its own", "")
	}
	for _, name := range slices.Sorted(maps.Keys(derived.Inputs)) {
		switch from := derived.Inputs[name]; {
		case !inputForm(name):
			c.fault(d, "derived-form", t.to("inputs", name), "the input's name is not letters and digits that begin with a letter", "")
		case from == d.name:
			c.fault(d, "derived-cycle", t.to("inputs", name), "the secret is computed from itself", "")
		case v.secret[from] == nil:
			c.missing(d, "derived-input", t.to("inputs", name), "there is no ManagedSecret "+plaintext.Show(from))
		}
	}
	if len(derived.Inputs) == 0 || len(derived.Fields) == 0 {
		return // missing fields, reported as such
	}
	for _, name := range slices.Sorted(maps.Keys(derived.Fields)) {
		if !fieldForm.MatchString(name) {
			c.fault(d, "derived-form", t.to("fields", name), "the field name is not well-formed", "")
		}
	}
	compiled, err := formula.Compile(derived.Fields, slices.Collect(maps.Keys(derived.Inputs)))
	if err != nil {
		c.fault(d, "derived-formula", t.to("fields"), strings.TrimPrefix(err.Error(), "compiling formula: "), "")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(derived.Inputs)) {
		if !slices.Contains(compiled.Uses(), name) {
			c.fault(d, "derived-form", t.to("inputs", name), "no field uses the input "+plaintext.Show(name), "")
		}
	}
}

func inputForm(name string) bool {
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// derivedCycles finds secrets that are computed from each other.
func (c *checker) derivedCycles(v *view) {
	inputs := func(name string) []string {
		d := v.secret[name]
		if d == nil || d.value.(*v1alpha1.ManagedSecret).Spec.Origin.Derived == nil {
			return nil
		}
		return slices.Sorted(maps.Values(d.value.(*v1alpha1.ManagedSecret).Spec.Origin.Derived.Inputs))
	}
	var reaches func(from, to string, seen map[string]bool) bool
	reaches = func(from, to string, seen map[string]bool) bool {
		for _, next := range inputs(from) {
			if next == to {
				return true
			}
			if !seen[next] {
				seen[next] = true
				if reaches(next, to, seen) {
					return true
				}
			}
		}
		return false
	}
	for _, d := range v.secrets {
		if own := inputs(d.name); !slices.Contains(own, d.name) && reaches(d.name, d.name, map[string]bool{}) {
			c.fault(d, "derived-cycle", at("spec", "origin", "derived", "inputs"), "the secret is computed from itself through other secrets", "")
		}
	}
}

// Dependent is a derived secret as one of its inputs sees it.
type Dependent struct {
	*Secret
	// Input is the name that its formula gives to the input.
	Input string
}
