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
		Summary: "Rotates credentials of any system through a program of yours, which this host names and which speaks JSON.",
		Modes: []upstream.Mode{
			{Name: "dual", Kind: kind(upstream.Dual, upstream.Discard), Means: "The system honours two credentials of one account at once. The program may also have the system issue them."},
			{Name: "alternate", Kind: kind(upstream.Alternate, upstream.Discard), Means: "Two accounts take turns, which the program chooses between."},
			{Name: "overwrite", Kind: kind(upstream.Overwrite, upstream.Reapply), Means: "The account has one credential, so sign-ins are refused between applying and delivery. The document must say `allowInterruption: true`."},
		},
		Tried: "the example on this page. Hold your own program to `custody upstream check`.",
		Page:  page,
	}}
}
