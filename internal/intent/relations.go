// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"slices"

	"custody.dev/custody/api/v1alpha1"
)

// relations are what questions about one secret find in the documents of others. Without it each such question looks through
// all documents.
type relations struct {
	names      []string // of all secrets, in order
	opens      map[string][]string
	dependents map[string][]Dependent
	groups     map[string][]*Secret
}

// relate makes the relations of an estate whose documents are complete.
func relate(e *Estate) *relations {
	r := &relations{slices.Sorted(maps.Keys(e.Secrets)), map[string][]string{}, map[string][]Dependent{}, map[string][]*Secret{}}
	for _, name := range slices.Sorted(maps.Keys(e.Upstreams)) {
		admin := e.Upstreams[name].Spec.AdminRef
		r.opens[admin] = append(r.opens[admin], name)
	}
	for _, name := range r.names {
		s := e.Secrets[name]
		if group := groupName(s.Spec.Rotation); group != "" {
			r.groups[group] = append(r.groups[group], s)
		}
		derived := s.Spec.Origin.Derived
		if derived == nil {
			continue
		}
		for _, as := range slices.Sorted(maps.Keys(derived.Inputs)) {
			input := derived.Inputs[as]
			r.dependents[input] = append(r.dependents[input], Dependent{s, as})
		}
	}
	return r
}

// Relate finds once what the documents say of each other. An estate that was loaded has it; who makes one by hand may call it when
// all documents are in, or each question about one secret looks through all.
func (e *Estate) Relate() { e.relations = relate(e) }

// related are the estate's relations.
func (e *Estate) related() *relations {
	if e.relations != nil {
		return e.relations
	}
	return relate(e)
}

func groupName(rotation *v1alpha1.RotationSpec) string {
	if rotation == nil {
		return ""
	}
	return rotation.Group
}

// SecretNames returns the names of all secrets, in order.
func (e *Estate) SecretNames() []string { return slices.Clone(e.related().names) }

// Opens returns the names of the upstreams that the secret is the admin of, in order.
func (e *Estate) Opens(secret string) []string { return slices.Clone(e.related().opens[secret]) }

// Dependents returns the secrets that are computed from s, in the order of names.
func (e *Estate) Dependents(s *Secret) []Dependent {
	return slices.Clone(e.related().dependents[s.Name])
}

// GroupOf returns the members of the secret's group, in the order of names, of which the first leads; nil when it
// rotates alone.
func (e *Estate) GroupOf(s *Secret) []*Secret {
	return slices.Clone(e.related().groups[groupName(s.Spec.Rotation)])
}
