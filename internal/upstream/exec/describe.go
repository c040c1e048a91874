// SPDX-License-Identifier: Apache-2.0

package exec

import (
	_ "embed" // the page

	"custody.dev/custody/internal/upstream"
)

//go:embed page.md
var page string

// describe tells people what this kind can do. What a program can do beyond its mode only the program can say; the facts
// here are those of one that says no more than it must.
func describe() []upstream.Description {
	kind := func(c upstream.Capability, u upstream.Undo) upstream.Kind {
		return upstream.Kind{
			Name: typeName, Capability: c, Undo: u, LostReply: upstream.Recover, Verifies: true, CallDeadline: DefaultTimeout,
		}
	}
	return []upstream.Description{{
		Type: typeName, Title: "Programs",
		Summary: "Rotates credentials of any system through a program of your own. The host file names the program; it reads and writes JSON.",
		Modes: []upstream.Mode{
			{Name: "dual", Kind: kind(upstream.Dual, upstream.Discard), Means: "The system accepts two credentials of one account at the same time. The program can also let the system create them."},
			{Name: "alternate", Kind: kind(upstream.Alternate, upstream.Discard), Means: "Two accounts take turns; the program chooses which one is next."},
			{Name: "overwrite", Kind: kind(upstream.Overwrite, upstream.Reapply), Means: "The account has one credential, so sign-ins are refused from the change until the new one is delivered. The document must say `allowInterruption: true`."},
		},
		Tried: "the example on this page. Test your own program with `custody upstream check`.",
		Page:  page,
	}}
}
