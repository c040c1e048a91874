// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// owners guesses whose a file is: what CODEOWNERS says of it, else who last changed it.
type owners struct {
	file    string
	rules   []codeowner
	authors map[string]author
}

type codeowner struct {
	form  *regexp.Regexp
	names string
	line  int
}

// maxOwners bounds the file of owners: that of GitHub is ignored beyond 3 MB.
const maxOwners = 3 << 20

func (s *scan) owners() (*owners, error) {
	o := &owners{authors: s.authors}
	for _, file := range []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"} {
		info, err := os.Lstat(filepath.Join(s.Folder, file))
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxOwners {
			continue
		}
		data, err := os.ReadFile(filepath.Join(s.Folder, file))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		o.file = file
		for i, line := range strings.Split(string(data), "\n") {
			line, _, _ = strings.Cut(line, "#")
			fields := strings.Fields(line)
			if len(fields) == 0 || strings.HasPrefix(fields[0], "[") || strings.HasPrefix(fields[0], "^") {
				continue // sections of GitLab
			}
			form, err := regexp.Compile(pattern(fields[0]))
			if err != nil {
				continue // a name that is not UTF-8
			}
			o.rules = append(o.rules, codeowner{form, strings.Join(fields[1:], " "), i + 1})
		}
		break
	}
	return o, nil
}

// pattern is the expression of a pattern of CODEOWNERS: a name matches at any depth, one with a slash from the root.
func pattern(text string) string {
	rooted := strings.Contains(strings.TrimSuffix(text, "/"), "/")
	text = strings.TrimPrefix(text, "/")
	folder := strings.HasSuffix(text, "/")
	text = strings.TrimSuffix(text, "/")
	var b strings.Builder
	b.WriteString("^")
	if !rooted {
		b.WriteString("(?:.*/)?")
	}
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(text[i:], "**"):
			b.WriteString(".*")
			i++
		case text[i] == '*':
			b.WriteString("[^/]*")
		case text[i] == '?':
			b.WriteString("[^/]")
		default:
			b.WriteString(quote(text[i : i+1]))
		}
	}
	switch {
	case folder:
		b.WriteString("/.*$")
	case strings.HasSuffix(text, "/*"):
		b.WriteString("$") // the files of one folder, not those beneath
	default:
		b.WriteString("(?:/.*)?$")
	}
	return b.String()
}

func quote(char string) string {
	if strings.ContainsAny(char, `\.+*?()|[]{}^$`) {
		return `\` + char
	}
	return char
}

// of guesses the owner of a secret from the file that holds, makes or uses it.
func (o *owners) of(one Secret) Owner {
	places := append(append(append([]Place{}, one.Holders...), one.Origins...), one.Consumers...)
	for _, p := range places {
		for i := len(o.rules) - 1; i >= 0; i-- {
			if !o.rules[i].form.MatchString(p.File) {
				continue
			}
			if o.rules[i].names == "" {
				break // the line says that nobody owns it
			}
			return Owner{Name: o.rules[i].names, Why: fmt.Sprintf("%s:%d, for %s", o.file, o.rules[i].line, p.File)}
		}
	}
	for _, p := range places {
		if a, known := o.authors[p.File]; known {
			return Owner{Name: a.name, Why: "last changed " + p.File + ", on " + a.when.Format("2006-01-02")}
		}
	}
	return Owner{}
}
