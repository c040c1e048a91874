// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

// CircleCI reads definitions of CircleCI.
func CircleCI() clue.Reader {
	return clue.Reader{Source: "circleci", Wants: func(f *clue.File) bool {
		return strings.HasSuffix(f.Dir(), ".circleci") && (f.Ext() == ".yml" || f.Ext() == ".yaml")
	}, Read: readCircleCI}
}

func readCircleCI(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		r := begin(f, "circleci", found)
		set := map[string]bool{}
		doc.Leaves(func(path []string, _ *clue.Node) {
			if len(path) > 1 && path[len(path)-2] == "environment" {
				set[path[len(path)-1]] = true
			}
		})
		isSet := func(name string) bool { return set[name] || strings.HasPrefix(name, "CIRCLE_") }
		key := func(name string) string { return "circleci:" + name }
		doc.Leaves(func(path []string, leaf *clue.Node) {
			by, last := "pipeline", path[len(path)-1]
			if len(path) > 1 && (path[0] == "jobs" || path[0] == "commands") {
				by = "job " + path[1]
			}
			switch {
			case last == "command" || last == "run":
				r.shell(leaf, by, true, isSet, key)
			case last == "context" || len(path) > 1 && path[len(path)-2] == "context":
				if name := leaf.Text(); !r.seen["context "+name] {
					r.seen["context "+name] = true
					found(clue.Clue{Source: "circleci", Role: clue.Uses, Name: name + "/*", Line: leaf.Line, By: by, Set: "circleci-context:" + name,
						Why: "a context: variables that exist only in the settings of CircleCI"})
				}
			case len(path) > 1 && path[len(path)-2] == "auth" || last == "environment" || len(path) > 1 && path[len(path)-2] == "environment":
				for _, match := range simple.FindAllStringSubmatch(leaf.Text(), -1) {
					if !isSet(match[1]) && (clue.SecretName(match[1]) || clue.SecretName(last)) {
						r.use(match[1], by, "nothing in this file sets the variable", leaf.Line, key(match[1]))
					}
				}
				r.hold(last, leaf.Text(), by, leaf.Line)
			}
		})
	}
	return true
}
