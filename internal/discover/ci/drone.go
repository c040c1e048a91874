// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"slices"
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

// Drone reads pipelines of Drone and Woodpecker.
func Drone() clue.Reader {
	return clue.Reader{Source: "drone", Wants: func(f *clue.File) bool {
		return yamlNamed(f, ".drone", ".woodpecker") || strings.HasSuffix(f.Dir(), ".woodpecker") && (f.Ext() == ".yml" || f.Ext() == ".yaml")
	}, Read: readDrone}
}

func readDrone(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		r := begin(f, "drone", found)
		switch doc.Get("kind").Text() {
		case "secret":
			name := doc.Get("name").Text()
			c := clue.Clue{Source: "drone", Role: clue.Names, Name: name, Line: doc.At(), Keys: []string{"drone:" + name}, Why: "a secret of Drone, from a store"}
			if doc.Get("data") != nil {
				c.Role, c.Why = clue.Sealed, "a secret that is encrypted for this repository"
			}
			found(c)
			continue
		case "signature":
			continue
		}
		pipeline := doc.Get("name").Text()
		doc.Leaves(func(path []string, leaf *clue.Node) {
			last, by := path[len(path)-1], "pipeline "+pipeline
			if len(path) > 1 && path[0] == "steps" {
				by = "step " + step(doc, path[1])
			}
			switch {
			case last == "from_secret":
				r.use(leaf.Text(), by, "a secret of Drone", leaf.Line, "drone:"+leaf.Text())
			case len(path) > 1 && path[len(path)-2] == "secrets":
				r.use(leaf.Text(), by, "a secret of Drone", leaf.Line, "drone:"+leaf.Text())
			case slices.Contains(path, "commands"):
				r.shell(leaf, by, false, nil, nil)
			case leaf.IsText():
				r.hold(last, leaf.Text(), by, leaf.Line)
			}
		})
	}
	return true
}

// step is the name of the step at a place in the list.
func step(doc *clue.Node, at string) string {
	for i, item := range doc.Get("steps").Items() {
		if at == itoa(i) {
			return or(item.Get("name").Text(), at)
		}
	}
	return at
}
