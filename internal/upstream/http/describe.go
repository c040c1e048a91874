// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	_ "embed"
	"fmt"

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// Describe tells people of this kind of upstream, and then of each recipe that is built in.
func Describe() []upstream.Description {
	out := []upstream.Description{{
		Type: "http", Title: "HTTP by recipe",
		Summary: "Any HTTP interface, by a recipe that says which requests create, verify, list and revoke a credential.",
		Modes: []upstream.Mode{{
			Kind: upstream.Kind{
				Name: "http", Capability: upstream.Dual, Issues: true, Undo: upstream.Discard, LostReply: upstream.Reissue,
				Verifies: true, CallDeadline: defaultDeadline,
			},
			Means: "As the recipe says; this is what most do: the upstream issues a second credential beside the first.",
		}},
		Tried: "The language: servers of its own tests. Each recipe says for itself against what it was run.",
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
			Type: name, Title: compiled.Title, Summary: compiled.Summary, Tried: compiled.Tried, Page: string(text),
			Modes: []upstream.Mode{{Kind: compiled.kind, Means: means(compiled.kind)}},
		})
	}
	return out
}

func means(k upstream.Kind) string {
	switch k.Capability {
	case upstream.Dual:
		return "Old and new are honoured at once, until the old one is revoked."
	case upstream.Alternate:
		return "Two accounts take turns."
	}
	return "The new one ends the old one: sign-ins are refused between applying and delivery."
}
