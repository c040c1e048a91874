// SPDX-License-Identifier: Apache-2.0

package ci

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	credentialID = lazyregexp.New(`\bcredentialsId\s*:\s*(?:'([^']+)'|"([^"$]+)")`)
	credentials  = lazyregexp.New(`\bcredentials\s*\(\s*(?:'([^']+)'|"([^"$]+)")\s*\)`)
	agents       = lazyregexp.New(`\bsshagent\s*\(?\s*(?:credentials\s*:\s*)?\[?([^\])]*)`)
	quoted       = lazyregexp.New(`'([^']+)'|"([^"$]+)"`)
	assigned     = lazyregexp.New(`^\s*(?:def\s+|env\.)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?:'([^']*)'|"([^"]*)")\s*;?\s*$`)
)

// Jenkins reads Jenkinsfiles.
func Jenkins() clue.Reader {
	return clue.Reader{Source: "jenkins", Wants: func(f *clue.File) bool {
		return strings.HasPrefix(f.Base(), "Jenkinsfile") || strings.HasSuffix(f.Base(), ".jenkinsfile")
	}, Read: readJenkins}
}

func readJenkins(f *clue.File, found clue.Found) bool {
	r := begin(f, "jenkins", found)
	for i, line := range strings.Split(uncommented(string(f.Data)), "\n") {
		use := func(matches [][]string, why string) {
			for _, match := range matches {
				id := match[1] + match[2]
				r.use(id, "pipeline "+f.Base(), why, i+1, "jenkins:"+id)
			}
		}
		use(credentialID.FindAllStringSubmatch(line, -1), "credentials of Jenkins, by their ID")
		use(credentials.FindAllStringSubmatch(line, -1), "credentials of Jenkins, in a variable")
		for _, match := range agents.FindAllStringSubmatch(line, -1) {
			use(quoted.FindAllStringSubmatch(match[1], -1), "an SSH key of Jenkins")
		}
		if match := assigned.FindStringSubmatch(line); match != nil {
			r.hold(match[1], match[2]+match[3], "pipeline "+f.Base(), i+1)
		}
	}
	return true
}

// uncommented is Groovy without its comments, with all its lines.
func uncommented(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "//") && (i == 0 || text[i-1] != ':'):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				return b.String()
			}
			i += end - 1
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				return b.String()
			}
			b.WriteString(strings.Repeat("\n", strings.Count(rest[:end], "\n")))
			i += end + 1
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
