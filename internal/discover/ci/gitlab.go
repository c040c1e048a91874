// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

// gitlabOwn are the variables with secrets that GitLab sets by itself for each job.
var gitlabOwn = map[string]bool{
	"CI_JOB_TOKEN": true, "CI_REGISTRY_PASSWORD": true, "CI_DEPLOY_PASSWORD": true, "CI_DEPENDENCY_PROXY_PASSWORD": true,
	"CI_JOB_JWT": true, "CI_JOB_JWT_V1": true, "CI_JOB_JWT_V2": true, "CI_BUILD_TOKEN": true,
}

// GitLab reads definitions of GitLab CI.
func GitLab() clue.Reader {
	return clue.Reader{Source: "gitlab", Wants: func(f *clue.File) bool {
		return strings.HasSuffix(f.Base(), ".gitlab-ci.yml") || strings.HasSuffix(f.Base(), ".gitlab-ci.yaml") || strings.Contains(f.Path, ".gitlab/ci/") && f.Ext() == ".yml"
	}, Read: readGitLab}
}

func readGitLab(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		r := begin(f, "gitlab", found)
		set := map[string]bool{}
		each := func(visit func(job string, n *clue.Node)) {
			visit("", doc)
			doc.Pairs(func(job string, n *clue.Node) {
				if n.IsMap() && job != "variables" {
					visit(job, n)
				}
			})
		}
		each(func(_ string, n *clue.Node) {
			n.Get("variables").Pairs(func(name string, _ *clue.Node) { set[name] = true })
			n.Get("secrets").Pairs(func(name string, _ *clue.Node) { set[name] = true })
		})
		isSet := func(name string) bool {
			return set[name] || gitlabOwn[name] || strings.HasPrefix(name, "CI_") && !clue.SecretName(name)
		}
		key := func(name string) string { return "gitlab:" + name }
		each(func(job string, n *clue.Node) {
			by := "pipeline"
			if job != "" {
				by = "job " + job
			}
			n.Get("variables").Pairs(func(name string, v *clue.Node) {
				if v.IsMap() {
					v = v.Get("value")
				}
				text := v.Text()
				for _, match := range simple.FindAllStringSubmatch(text, -1) {
					if !isSet(match[1]) && clue.SecretName(match[1]) {
						r.use(match[1], by, "nothing in this file sets the variable", v.At(), key(match[1]))
					}
				}
				r.hold(name, text, by, v.At())
			})
			n.Get("secrets").Pairs(func(name string, v *clue.Node) { r.gitlabSecret(name, by, v) })
			for _, part := range []string{"before_script", "script", "after_script"} {
				for _, command := range commands(n.Get(part)) {
					r.shell(command, by, true, isSet, key)
				}
			}
		})
	}
	return true
}

// gitlabSecret is one that GitLab fetches for a job.
func (r *reading) gitlabSecret(name, by string, v *clue.Node) {
	key := clue.FileKey(r.f.Path, name)
	if text := v.Get("vault").Text(); text != "" {
		path, engine, _ := strings.Cut(text, "@")
		if at := strings.LastIndex(path, "/"); at > 0 {
			key = "vault:" + or(engine, "kv-v2") + "/" + path[:at] + "#" + path[at+1:]
		}
	}
	r.use(name, by, "GitLab fetches it from a store for this job", v.At(), key)
}

func or(text, none string) string {
	if text == "" {
		return none
	}
	return text
}
