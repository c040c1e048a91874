// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"

	"custody.dev/custody/internal/upstream"
)

// upstreams renders the page of each kind of upstream, and the list of all.
func upstreams(list []upstream.Description) map[string][]byte {
	pages := map[string][]byte{}
	var b bytes.Buffer
	b.WriteString("<!-- Generated from internal/upstream. Do not edit. -->\n\n# Upstreams\n\n" +
		"An upstream is a system that accepts credentials, such as a database server. The table shows what each kind can do. `custody upstream\n" +
		"list` prints the same table, and `custody upstream explain KIND` prints the page of a kind.\n\n" +
		"| kind | mode | overlap | made by | undo | lost reply | evidence of use | tried |\n|---|---|---|---|---|---|---|---|\n")
	for _, d := range list {
		pages["upstreams/"+d.Type+".md"] = []byte("<!-- Generated from internal/upstream. Do not edit. -->\n\n" + d.Markdown())
		for i, mode := range d.Modes {
			name, tried, maker, evidence := "", "", "Custody", "none"
			if i == 0 {
				name, tried = fmt.Sprintf("[%s](%s.md)", d.Title, d.Type), d.Tried
			}
			if mode.Kind.Issues {
				maker = "upstream"
			}
			if e := mode.Kind.Evidence; e != nil {
				evidence = e.Source
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, mode.Name, mode.Kind.Capability, maker,
				mode.Kind.Undo, mode.Kind.LostReply, cell(evidence), cell(tried))
		}
	}
	b.WriteString("\n**overlap**: whether the old and the new credential are valid at the same time. **made by**: who creates the new credential. " +
		"**undo**: how\na run is rolled back before promotion. **lost reply**: what happens when the reply to a call is lost, so that nobody " +
		"knows whether\nthe call took effect. **evidence of use**: how the upstream reports who still signs in with the old credential. **tried**: what the kind was\n" +
		"tested against. See [concepts](../concepts.md).\n")
	pages["upstreams/README.md"] = b.Bytes()
	return pages
}
