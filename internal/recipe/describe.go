// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe tells people of this kind of upstream, and then of each recipe that is built in.
func Describe() []upstream.Description {
	out := []upstream.Description{{
		Type: "http", Title: "HTTP by recipe",
		Summary: "Rotates credentials of any HTTP API. A recipe says which requests create, verify, list and revoke a credential.",
		Modes: []upstream.Mode{{
			Kind: upstream.Kind{
				Name: "http", Capability: upstream.Dual, Issues: true, Undo: upstream.Discard, LostReply: upstream.Reissue,
				Verifies: true, CallDeadline: defaultDeadline,
			},
			Means: "The recipe decides. Most recipes work like this: the upstream creates a second credential beside the first.",
		}},
		Tried: "The language was tested against servers written for its tests. The page of each recipe says what that recipe was tested against.",
		Page:  page,
	}}
	for _, name := range Names() {
		compiled, err := Builtin(name)
		if err != nil {
			panic("recipe: a built-in recipe does not compile, which its test shows: " + err.Error())
		}
		text, err := files.ReadFile("recipes/" + name + ".md")
		if err != nil {
			panic(fmt.Sprintf("recipe: %s has no page, which its test shows", name))
		}
		out = append(out, upstream.Description{
			Type: name, Title: compiled.Source.Title, Summary: compiled.Source.Summary, Tried: compiled.Source.Tried, Page: whole(string(text), compiled),
			Modes: []upstream.Mode{{Kind: compiled.kind, Means: means(compiled.kind)}},
		})
	}
	return out
}

func means(k upstream.Kind) string {
	switch k.Capability {
	case upstream.Dual:
		return "The old and the new credential are both valid until the old one is revoked."
	case upstream.Alternate:
		return "Two accounts take turns."
	}
	return "The new credential ends the old one: sign-ins are refused until the new one is delivered."
}

// whenItFails begins the part of a page before which its recipe's own words stand.
const whenItFails = "\n## When it fails\n"

// leastPermissions begins the part of a page before which stand its documents and the fields of its values.
const leastPermissions = "\n## Least permissions\n"

// whole is a recipe's page with what the recipe itself says of fields, claims and lock-outs.
func whole(page string, c *Compiled) string {
	documents, rest, found := strings.Cut(page, leastPermissions)
	if !found {
		panic("recipe: the page of " + c.Source.Name + " does not say which permissions it needs, which its test shows")
	}
	page = documents + "\n" + hostWords(documents) + "\n\n## Fields\n\n" + fieldWords(c) + leastPermissions + rest
	before, after, found := strings.Cut(page, whenItFails)
	if !found {
		panic("recipe: the page of " + c.Source.Name + " does not say what happens when it fails, which its test shows")
	}
	return before + "\n## Claims\n\n" + accountWords(c) + "\n\n## Lock-out\n\n" + lockOut(c) + "\n" + whenItFails + after
}

// hostWords say what documents refer to that is not in them.
func hostWords(documents string) string {
	words := "The host file `custody.yaml` must define the folder, reload and check that the consumer names: see [on the host](http.md#on-the-host)."
	if strings.Contains(documents, "policyRef: monthly") {
		return "The policy `monthly` is there after `custody init`.\n" + words
	}
	return words
}

// fieldWords are what a value and the admin credential consist of.
func fieldWords(c *Compiled) string {
	var b strings.Builder
	b.WriteString("| field of the value | is | |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(c.Source.Fields)) {
		field, note := c.Source.Fields[name], "secret"
		if field.Public {
			note = "not secret"
		}
		if field.Optional {
			note += "; optional in a value that you create by hand"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, field.Means, note)
	}
	if c.Source.Admin == nil {
		return b.String()
	}
	b.WriteString("\n| field of the admin credential | is |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(c.Source.Admin.Fields)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, c.Source.Admin.Fields[name])
	}
	return b.String()
}

func accountWords(c *Compiled) string {
	words := "Any number of secrets may share the account: a run removes only the credential that its value names and those with its own run id."
	if c.exclusive {
		same := "parameters are all the same"
		switch names := c.identity(); len(names) {
		case 0:
		case 1:
			same = "`" + names[0] + "` is the same"
		default:
			same = "`" + strings.Join(names, "` and `") + "` are the same"
		}
		words = "The account can belong to one secret only: rotating another one there would end this one's credential, or find no room.\n" +
			"`custody lint` rejects two secrets with one `url` whose " + same + "."
	}
	if c.Source.Tag == nil {
		return words + "\n\nThe server stores nothing that names the owner. Custody cannot detect that another platform rotates the same account."
	}
	return words + "\n\nThe owner of a credential is stored in " + c.Source.Tag.Where + ": a digest of platform, environment and secret, and the id of the run."
}

func lockOut(c *Compiled) string {
	switch {
	case c.Source.Verify.Listed:
		return "Custody never signs in with the credential, so it cannot lock the account."
	case c.kind.WrongEvery > 0:
		return fmt.Sprintf("At most one sign-in of Custody is refused every %s, so that the server does not lock the account.", c.kind.WrongEvery)
	}
	return "Wrong sign-ins are not limited: this server is not known to lock accounts. Custody makes few of them: with a made-up credential,\n" +
		"to see that the server rejects it, and with a revoked credential until the server refuses it."
}
