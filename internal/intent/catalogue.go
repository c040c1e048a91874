// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"slices"
)

// Rule is one entry of the catalogue: what an estate is held to.
type Rule struct {
	// ID is stable: it is never reused for another meaning.
	ID string `json:"id"`
	// Group is the heading it stands under.
	Group string `json:"group"`
	// Checks says what must hold.
	Checks string `json:"checks"`
	// Why says what would go wrong.
	Why string `json:"why"`
	// Fix says what to do.
	Fix string `json:"fix"`
}

// Rules returns the catalogue, group by group.
func Rules() []Rule {
	return slices.Concat(filesCatalogue(), documentsCatalogue(), platformCatalogue(), secretsCatalogue(), rotationCatalogue(), upstreamsCatalogue(), consumersCatalogue(), bootstrapDocumentsCatalogue(), hostConfigurationCatalogue())
}

// RuleUnservable is the rule that only whoever holds the adapters can check; see wire.CheckEstate.
const RuleUnservable = "unservable"

// FixUnservable is what to do about it.
func FixUnservable() string { return fixOf(RuleUnservable) }

// FindRule returns the rule with the id.
func FindRule(id string) (Rule, bool) {
	rules := Rules()
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// fixOf returns a rule's fix. An unknown id is a mistake in this package, which its tests find.
func fixOf(id string) string {
	rule, _ := FindRule(id)
	return rule.Fix
}

func grouped(group string, rules []Rule) []Rule {
	for i := range rules {
		rules[i].Group = group
	}
	return rules
}
