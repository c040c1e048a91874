// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// want is a field that a document wants the first value of a secret to have.
type want struct {
	secret string
	upstream.Demand

	rule string
	by   *document
	at   trail
}

// unsealedRules want a sealed first value to have what its readers need. What an upstream needs of its admin credential is a
// fault of the upstream; see adminFields.
func (c *checker) unsealedRules(v *view) {
	c.wants(v, func(w want) {
		named := v.secret[w.secret]
		if w.rule == upstream.RuleFields || named == nil {
			return
		}
		spec := named.value.(*v1alpha1.ManagedSecret).Spec
		if spec.Origin.Bootstrap == nil {
			return
		}
		have := v.fieldsOf(spec)
		if len(have) == 0 || len(upstream.Unmet([]upstream.Demand{w.Demand}, have)) == 0 {
			return
		}
		m := w.by.find(w.at)
		c.faults.add(Fault{
			File: w.by.file, Line: m.line, Column: m.column, Rule: w.rule, Subject: w.by.subject(), Unsealed: true,
			Reason: fmt.Sprintf("the sealed value of %s has no field %s (it has: %s)", plaintext.Show(w.secret), plaintext.Show(w.Field[0]), listed(have)),
			Fix:    fixUnsealed(w.rule, named, w.Field),
		})
	})
}

// fixUnsealed is the fix of a rule for a sealed value, with the secret and the field in its command.
func fixUnsealed(rule string, named *document, fields upstream.OneOf) string {
	fix := fixOf(rule)
	if !strings.Contains(named.subject(), "/") { // its name is no name
		return fix
	}
	return strings.Replace(fix, sealMissing, next.Seal(named.name, fields[0]), 1)
}

// demands are what documents want of first values, by secret.
func (c *checker) demands(v *view) map[string][]upstream.Demand {
	out := map[string][]upstream.Demand{}
	c.wants(v, func(w want) {
		if named := v.secret[w.secret]; named != nil && named.value.(*v1alpha1.ManagedSecret).Spec.Origin.Bootstrap == nil {
			return // nothing to hand over
		}
		if !slices.ContainsFunc(out[w.secret], w.Demand.Equal) {
			out[w.secret] = append(out[w.secret], w.Demand)
		}
	})
	for _, demands := range out {
		slices.SortFunc(demands, upstream.Demand.Compare)
	}
	return out
}

// wants visits each field that a document wants the first value of a secret to have.
func (c *checker) wants(v *view, visit func(want)) {
	for _, d := range v.upstreams {
		c.adminWants(d, visit)
	}
	for _, d := range v.secrets {
		spec := d.value.(*v1alpha1.ManagedSecret).Spec
		for i, consumer := range spec.Consumers {
			consumerWants(d, at("spec", "consumers", i, "file"), consumer, visit)
		}
		if spec.Origin.Derived != nil {
			derivedWants(d, *spec.Origin.Derived, visit)
		}
	}
}

func (c *checker) adminWants(d *document, visit func(want)) {
	spec := d.value.(*v1alpha1.Upstream).Spec
	given := c.types.Given(spec.Server)
	if spec.AdminRef == "" || len(given) != 1 {
		return
	}
	for _, field := range given[0].AdminFields(given[0].Defaults(spec.Server[given[0].Name()])) {
		visit(want{spec.AdminRef, upstream.Demand{Field: field, By: "upstream " + d.name}, upstream.RuleFields, d, at("spec", "adminRef")})
	}
}

func consumerWants(d *document, t trail, consumer v1alpha1.ConsumerSpec, visit func(want)) {
	if consumer.File == nil {
		return
	}
	named := func(field string, t trail) {
		if fieldForm.MatchString(field) {
			visit(want{d.name, upstream.Demand{Field: upstream.OneOf{field}, By: "consumer " + consumer.Name}, "consumer-field", d, t})
		}
	}
	switch consumer.File.Format {
	case "raw":
		field := consumer.File.Field
		if field == "" {
			field = secret.SingleField
		}
		named(field, t.to("field"))
	case "env", "json", "properties":
		for _, field := range slices.Sorted(maps.Keys(consumer.File.Keys)) {
			named(field, t.to("keys", field))
		}
	}
}

func derivedWants(d *document, derived v1alpha1.DerivedOrigin, visit func(want)) {
	compiled, err := formula.Compile(derived.Fields, slices.Collect(maps.Keys(derived.Inputs)))
	if err != nil {
		return // reported by its rule
	}
	for _, input := range slices.Sorted(maps.Keys(derived.Inputs)) {
		for _, field := range compiled.Reads(input) {
			visit(want{
				derived.Inputs[input], upstream.Demand{Field: upstream.OneOf{field}, By: "secret " + d.name + ", which is computed from it"},
				"derived-field", d, at("spec", "origin", "derived", "fields"),
			})
		}
	}
}

// want adds to what is demanded of first values.
func (e *Estate) want(more map[string][]upstream.Demand) {
	for name, demands := range more {
		all := append(slices.Clone(e.Demands[name]), demands...)
		slices.SortFunc(all, upstream.Demand.Compare)
		e.Demands[name] = slices.CompactFunc(all, upstream.Demand.Equal)
	}
}

// want adds what the newest forms demand that are not in force, as far as they could be decoded: what they read may be half
// sealed. While a file cannot be read, what was in it still wants what it did.
func (m *mixture) want(e *Estate, before *Files, unread []Fault) {
	quiet := &reader{faults: newFaults(), types: m.shapes.types, shapes: m.shapes.shapes, documents: m.shapes.documents}
	c := newChecker(quiet, m.options)
	more := c.demands(c.view(m.options.Environment))
	if len(unread) > 0 {
		for name, demands := range before.demands {
			more[name] = append(more[name], demands...)
		}
	}
	e.Files.demands = map[string][]upstream.Demand{}
	for name, demands := range more {
		left := slices.DeleteFunc(demands, func(d upstream.Demand) bool { return slices.ContainsFunc(e.Demands[name], d.Equal) })
		if len(left) > 0 {
			e.Files.demands[name] = left
		}
	}
	e.want(e.Files.demands)
}
