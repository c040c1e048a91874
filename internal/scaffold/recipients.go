// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/root"
)

// recipients are whom the document is encrypted to: the root, and the environments asked for. Where it is known what the
// operator granted, the estate's recipients must all be granted, and none of the root's may be missing: whoever can write to
// the estate would otherwise name themselves, or have a value sealed that a rebuild cannot read.
func (s Sealing) recipients(platform *sketch) ([]grant.Grant, error) {
	declared := platform.Spec.BootstrapRecipients
	known := slices.Sorted(maps.Keys(declared))
	environments := s.Environments
	if len(environments) == 0 {
		environments = known
	}
	var all, chosen []grant.Grant
	for _, key := range platform.Spec.RootRecipients {
		all = append(all, grant.Grant{Kind: grant.Recipient, Of: grant.Root, To: key})
	}
	chosen = slices.Clone(all)
	for _, environment := range known {
		all = append(all, grant.Grant{Kind: grant.Recipient, Of: environment, To: declared[environment]})
	}
	for _, environment := range slices.Compact(slices.Sorted(slices.Values(environments))) {
		key, ok := declared[environment]
		switch {
		case ok:
			chosen = append(chosen, grant.Grant{Kind: grant.Recipient, Of: environment, To: key})
		case len(known) > 0:
			return nil, &root.Error{Doing: "sealing " + s.Secret, Class: ErrInput, Detail: "the estate names no recipient for environment " + environment,
				Next: "choose among " + strings.Join(known, ", ") + " with --environment"}
		}
	}
	if len(s.Environments) == 0 && len(known) > 1 {
		return nil, &root.Error{Doing: "sealing " + s.Secret, Class: ErrInput, Detail: "the estate has several environments, and whose machines may read the value was not said",
			Next: "say so with --environment: " + strings.Join(known, ", ")}
	}
	if s.Granted == nil {
		return chosen, nil
	}
	for _, g := range all {
		if !s.Granted[g] {
			return nil, s.differ("the estate names a recipient for "+g.Of+" that nobody has granted: "+g.To,
				"take it out of the Platform document. If it is right, the operator grants it: "+grant.How(s.NeverRan))
		}
	}
	for _, key := range s.Granted.To(grant.Recipient, grant.Root) {
		if !slices.Contains(platform.Spec.RootRecipients, key) {
			return nil, s.differ("the root recipient "+key+" is granted, and the estate does not name it",
				"write it into the Platform document again; if it is no longer the root's, the operator revokes it: `custody grant revoke recipient root "+key+" --reason TEXT`")
		}
	}
	return chosen, nil
}

func (s Sealing) differ(detail, next string) error {
	return &root.Error{Doing: "sealing " + s.Secret, Class: ErrNotGranted, Detail: detail, Next: next}
}
