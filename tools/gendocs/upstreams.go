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
		"An upstream is a system that honours credentials. What each kind can do; `custody upstream list` prints the same, and\n" +
		"`custody upstream explain KIND` a kind's page.\n\n" +
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
	b.WriteString("\n**overlap**: how old and new credentials live side by side. **undo**: how a run is taken back before promotion. " +
		"**lost reply**:\nwhat is done when nobody knows whether a call had effect. See [concepts](../concepts.md).\n")
	pages["upstreams/README.md"] = b.Bytes()
	return pages
}
