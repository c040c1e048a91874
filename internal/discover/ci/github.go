// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	expression = lazyregexp.New(`\$\{\{(.*?)\}\}`)
	secretName = lazyregexp.New(`\bsecrets(?:\.([A-Za-z_][A-Za-z0-9_-]*)|\[\s*'([^']+)'\s*\])`)
)

// GitHub reads workflows and actions of GitHub Actions.
func GitHub() clue.Reader {
	return clue.Reader{Source: "github", Wants: func(f *clue.File) bool {
		yaml := f.Ext() == ".yml" || f.Ext() == ".yaml"
		return yaml && (strings.HasSuffix(f.Dir(), ".github/workflows") || yamlNamed(f, "action") || strings.HasSuffix(f.Dir(), ".gitea/workflows") || strings.HasSuffix(f.Dir(), ".forgejo/workflows"))
	}, Read: readGitHub}
}

func readGitHub(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		r := begin(f, "github", found)
		inputs := map[string]bool{}
		doc.Get("on", "workflow_call", "secrets").Pairs(func(name string, _ *clue.Node) { inputs[name] = true })
		doc.Leaves(func(path []string, leaf *clue.Node) {
			text, last := leaf.Text(), path[len(path)-1]
			by := "workflow " + f.Base()
			if len(path) > 1 && path[0] == "jobs" {
				by = "job " + path[1]
			}
			for _, is := range path {
				if is == "permissions" || is == "on" {
					return
				}
			}
			within := expression.FindAllStringSubmatch(text, -1)
			if last == "if" && within == nil {
				within = [][]string{{text, text}}
			}
			for _, match := range within {
				for _, name := range secretName.FindAllStringSubmatch(match[1], -1) {
					r.secret(doc, path, name[1]+name[2], by, leaf.Line, inputs)
				}
			}
			switch {
			case last == "run":
				r.shell(leaf, by, false, nil, nil)
			case within == nil && leaf.IsText():
				r.hold(last, text, by, leaf.Line)
			}
		})
	}
	return true
}

// secret tells that an expression names a secret. GITHUB_TOKEN is made by GitHub for each job.
func (r *reading) secret(doc *clue.Node, path []string, name, by string, line int, inputs map[string]bool) {
	if strings.EqualFold(name, "GITHUB_TOKEN") {
		return
	}
	if inputs[name] {
		r.use(name, by, "a secret that the calling workflow passes on", line, "github-input:"+r.f.Path+"#"+name)
		return
	}
	keys := []string{"github:" + strings.ToUpper(name)}
	if len(path) == 4 && path[0] == "jobs" && path[2] == "secrets" {
		if called := doc.Get("jobs", path[1], "uses").Text(); strings.HasPrefix(called, "./") {
			keys = append(keys, "github-input:"+strings.TrimPrefix(called, "./")+"#"+path[3])
		}
	}
	r.use(name, by, "an expression names this secret of GitHub Actions", line, keys...)
}
