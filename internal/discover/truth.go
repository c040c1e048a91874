// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"slices"
	"strings"
)

// Truth is a table made by hand of what is secret in a folder.
type Truth struct{ rows []truthRow }

// truthRow is one place, and the secret that it is about; - for a set of secrets.
type truthRow struct{ place, group, secret string }

// Score is how well a scan did on one source, or on joining places to secrets.
type Score struct {
	Source string `json:"source"`
	// Right is what was found and is in the table; Wrong is what was found and is not; Missed is what is in the table only.
	Right  int      `json:"right"`
	Wrong  []string `json:"wrong,omitempty"`
	Missed []string `json:"missed,omitempty"`
}

// Precision is the part of what was found that is right, 1 where nothing was found.
func (s Score) Precision() float64 { return part(s.Right, len(s.Wrong)) }

// Recall is the part of the table that was found, 1 where the table has nothing.
func (s Score) Recall() float64 { return part(s.Right, len(s.Missed)) }

func part(right, rest int) float64 {
	if right+rest == 0 {
		return 1
	}
	return float64(right) / float64(right+rest)
}

// ParseTruth reads a table: lines of source, role, file, name and secret, between bars. A file that ends in @history is in the
// history alone. Errors name the line.
func ParseTruth(data []byte) (Truth, error) {
	var t Truth
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "|")
		for at := range fields {
			fields[at] = strings.TrimSpace(fields[at])
		}
		if len(fields) != 5 || slices.Contains(fields, "") {
			return Truth{}, fmt.Errorf("line %d: want source | role | file | name | secret", i+1)
		}
		group := fields[0]
		if strings.HasSuffix(fields[2], "@history") {
			group = "history"
		}
		t.rows = append(t.rows, truthRow{strings.Join(fields[:4], " "), group, fields[4]})
	}
	if len(t.rows) == 0 {
		return Truth{}, fmt.Errorf("the table has no line")
	}
	return t, nil
}

// Compare measures an answer against a table, by source, then all sources together, then the joins: of each two places of the
// table that were found, whether both say that they are one secret.
func (a *Answer) Compare(t Truth) []Score {
	found := map[string]string{}       // the place, and its source
	in := map[string]map[string]bool{} // the place, and the secrets it belongs to
	for _, secret := range a.Secrets {
		for _, p := range slices.Concat(secret.Origins, secret.Holders, secret.Consumers) {
			file, group := p.File, p.Source
			if p.Commit != "" {
				file, group = file+"@history", "history"
			}
			key := strings.Join([]string{p.Source, string(p.Role), file, p.Name}, " ")
			found[key] = group
			if in[key] == nil {
				in[key] = map[string]bool{}
			}
			in[key][secret.Name] = true
		}
	}
	scores := map[string]*Score{}
	of := func(group string) *Score {
		if scores[group] == nil {
			scores[group] = &Score{Source: group}
		}
		return scores[group]
	}
	for _, row := range t.rows {
		if _, is := found[row.place]; is {
			of(row.group).Right++
			delete(found, row.place)
		} else {
			of(row.group).Missed = append(of(row.group).Missed, row.place)
		}
	}
	for _, place := range sortedKeys(found) {
		of(found[place]).Wrong = append(of(found[place]).Wrong, place)
	}
	all := Score{Source: "all"}
	var list []Score
	for _, group := range sortedKeys(scores) {
		s := *scores[group]
		all.Right += s.Right
		all.Wrong = append(all.Wrong, s.Wrong...)
		all.Missed = append(all.Missed, s.Missed...)
		list = append(list, s)
	}
	return append(list, all, joins(t.rows, in))
}

func joins(rows []truthRow, in map[string]map[string]bool) Score {
	s := Score{Source: "joins"}
	for i, a := range rows {
		for _, b := range rows[:i] {
			if a.secret == "-" || b.secret == "-" || in[a.place] == nil || in[b.place] == nil || a.place == b.place {
				continue
			}
			together := false
			for name := range in[a.place] {
				together = together || in[b.place][name]
			}
			switch pair := a.place + " = " + b.place; {
			case together && a.secret == b.secret:
				s.Right++
			case together:
				s.Wrong = append(s.Wrong, pair)
			case a.secret == b.secret:
				s.Missed = append(s.Missed, pair)
			}
		}
	}
	return s
}
