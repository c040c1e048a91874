// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"strconv"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

func itoa(n int) string { return strconv.Itoa(n) }

var macro = lazyregexp.New(`\$\(([A-Za-z][A-Za-z0-9_.-]*)\)`)

// Azure reads definitions of Azure Pipelines.
func Azure() clue.Reader {
	return clue.Reader{Source: "azure", Wants: func(f *clue.File) bool {
		yaml := f.Ext() == ".yml" || f.Ext() == ".yaml"
		return yaml && (strings.HasPrefix(f.Base(), "azure-pipelines") || strings.Contains("/"+f.Path, "/.azure-pipelines/") || strings.Contains("/"+f.Path, "/.pipelines/"))
	}, Read: readAzure}
}

func readAzure(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		r := begin(f, "azure", found)
		set := map[string]bool{}
		doc.Leaves(func(path []string, leaf *clue.Node) {
			for i, part := range path {
				if part == "variables" && i+1 < len(path) {
					set[path[i+1]] = true
					if path[len(path)-1] == "name" {
						set[leaf.Text()] = true
					}
				}
			}
		})
		doc.Leaves(func(path []string, leaf *clue.Node) {
			text, last, by := leaf.Text(), path[len(path)-1], "pipeline "+f.Base()
			for i, part := range path {
				if part == "jobs" && i+1 < len(path) {
					by = "job " + path[i+1]
				}
			}
			for _, match := range macro.FindAllStringSubmatch(text, -1) {
				name := match[1]
				if !set[name] && !strings.Contains(name, ".") && (clue.SecretName(name) || clue.SecretName(last)) {
					r.use(name, by, "nothing in this file sets the variable", leaf.Line, "azure:"+name)
				}
			}
			switch last {
			case "group":
				found(clue.Clue{Source: "azure", Role: clue.Uses, Name: text + "/*", Line: leaf.Line, By: by, Set: "azure-group:" + text,
					Why: "a variable group: it exists only in the settings of Azure Pipelines"})
			case "SecretsFilter":
				for name := range strings.SplitSeq(text, ",") {
					if name = strings.TrimSpace(name); name != "" && name != "*" {
						found(clue.Clue{Source: "azure", Role: clue.Names, Name: name, Line: leaf.Line, By: by, Keys: []string{"azure:" + name}, Why: "fetched from a key vault"})
					}
				}
			case "script", "bash":
				r.shell(leaf, by, false, nil, nil)
			default:
				r.hold(last, text, by, leaf.Line)
			}
		})
	}
	return true
}
