// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/next"
)

// Needed is everything that an estate asks for, in order.
func Needed(estate *intent.Estate) []Need {
	needs := collected{}
	for _, key := range estate.Platform.Spec.RootRecipients {
		needs.add(Grant{Recipient, Root, key})
	}
	for environment, key := range estate.Platform.Spec.BootstrapRecipients {
		needs.add(Grant{Recipient, environment, key})
	}
	for _, name := range estate.SecretNames() {
		declared := estate.Secrets[name]
		needs.upstream(estate, declared)
		needs.inputs(estate, declared)
		needs.files(declared)
	}
	return needs.list()
}

// upstream adds where the secret's upstream is, and which admin credential opens it. That is granted by whomever the documents
// say that they are: whoever edits an upstream to take another admin's credential can edit owners too.
func (c collected) upstream(estate *intent.Estate, declared *intent.Secret) {
	server, ok := estate.UpstreamOf(declared)
	if !ok {
		return
	}
	for _, address := range estate.Endpoints(server.Spec) {
		c.add(Grant{Endpoint, server.Metadata.Name, address}, declared.Name)
	}
	if told := estate.Told(declared.Spec.Rotation); told != "" {
		c.add(Grant{Endpoint, server.Metadata.Name, "account of " + declared.Name + told}, declared.Name)
	}
	if admin, ok := estate.AdminOf(server); ok {
		c.add(ToUpstream(admin.Name, server.Metadata.Name), declared.Name)
	}
}

// inputs adds what the secret is computed from, where that is another owner's.
func (c collected) inputs(estate *intent.Estate, declared *intent.Secret) {
	for _, input := range inputsOf(estate, declared) {
		if crosses(input, declared) {
			c.add(Grant{Reader, input.Name, toSecret(declared)}, declared.Name)
		}
	}
}

// crosses reports whether reader is another owner's than the secret that it reads.
func crosses(read, reader *intent.Secret) bool {
	return read.Spec.Owner.Team != reader.Spec.Owner.Team || read.Namespace != reader.Namespace
}

// Held are the needs that are not granted, by the secret that waits for them; those of one consumer alone are left out.
func Held(missing []Need) map[string]Need {
	held := map[string]Need{}
	for _, need := range missing {
		for _, name := range need.Holds {
			if _, first := held[name]; !first && need.Consumer == "" {
				held[name] = need
			}
		}
	}
	return held
}

// collected are needs by what they are.
type collected map[Grant]*Need

func (c collected) add(g Grant, holds ...string) *Need {
	if c[g] == nil {
		c[g] = &Need{Grant: g}
	}
	c[g].Holds = append(c[g].Holds, holds...)
	return c[g]
}

func (c collected) list() []Need {
	needs := make([]Need, 0, len(c))
	for _, g := range slices.SortedFunc(maps.Keys(c), Compare) {
		slices.Sort(c[g].Holds)
		c[g].Holds = slices.Compact(c[g].Holds)
		needs = append(needs, *c[g])
	}
	return needs
}

// Recipients are the age public keys that a bootstrap document can be read with, as its plain part says.
func Recipients(document v1alpha1.BootstrapSecret) []string {
	var keys []string
	listed, _ := document.Sops["age"].([]any)
	for _, one := range listed {
		if entry, ok := one.(map[string]any); ok {
			if key, ok := entry["recipient"].(string); ok {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Stranger says which recipient of a document nobody granted, in words that complete "SECRET waits for"; "" when all are.
func (s Set) Stranger(secretName string, document v1alpha1.BootstrapSecret) string {
	for _, key := range Recipients(document) {
		if !s.Reads(key) {
			return fmt.Sprintf("a document that only the platform can read: %s can be read with %s too, which nobody has granted. "+
				"Seal it again with `custody seal %s --replace`, and change the value where it came from; or grant the recipient: %s",
				strconv.Quote(document.Metadata.Name), key, secretName, next.Grant())
		}
	}
	return ""
}
