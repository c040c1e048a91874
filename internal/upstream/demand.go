// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"slices"
)

// OneOf are fields of which a credential needs one.
type OneOf []string

// in reports whether one of the fields is among have.
func (o OneOf) in(have []string) bool {
	return slices.ContainsFunc(o, func(field string) bool { return slices.Contains(have, field) })
}

// Missing returns those of needs for which there is no field among have.
func Missing(needs []OneOf, have []string) []OneOf {
	return slices.DeleteFunc(slices.Clone(needs), func(one OneOf) bool { return one.in(have) })
}

// Demand is a field that somebody wants a value to have.
type Demand struct {
	Field OneOf `json:"field"`
	// By is who wants it, for people: "upstream objects".
	By string `json:"by"`
}

// Compare orders demands by who has them, and then by field.
func (d Demand) Compare(other Demand) int {
	return cmp.Or(cmp.Compare(d.By, other.By), slices.Compare(d.Field, other.Field))
}

// Equal reports whether both are the same.
func (d Demand) Equal(other Demand) bool { return d.Compare(other) == 0 }

// Unmet returns those of demands for which there is no field among have.
func Unmet(demands []Demand, have []string) []Demand {
	return slices.DeleteFunc(slices.Clone(demands), func(d Demand) bool { return d.Field.in(have) })
}
