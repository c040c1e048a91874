// SPDX-License-Identifier: Apache-2.0

package shapes

import (
	"regexp"
	"strings"
	"testing"

	"custody.dev/custody/internal/discover/clue"
)

// Every rule compiles, and has keywords in lower case, without which it would never be tried.
func TestEveryRuleIsTried(t *testing.T) {
	b, err := rules()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.rules) < 200 {
		t.Errorf("only %d rules", len(b.rules))
	}
	for _, r := range b.rules {
		texts := []string{r.Regex, r.Path}
		for _, a := range r.Allow {
			texts = append(texts, a.Regex)
		}
		for _, text := range texts {
			if _, err := regexp.Compile(text); err != nil {
				t.Errorf("%s: %v", r.ID, err)
			}
		}
		if len(r.Keywords) == 0 {
			t.Errorf("%s has no keyword", r.ID)
		}
		for _, k := range r.Keywords {
			if k != strings.ToLower(k) {
				t.Errorf("%s: keyword %q is not in lower case", r.ID, k)
			}
		}
	}
}

// A credential is found wherever it is in a long text, once, and not where a line says that it is allowed.
func TestFindAnywhere(t *testing.T) {
	token := "ghp" + "_" + strings.Repeat("a1B2c3D4e5F6g7H8i9", 2)
	filler := strings.Repeat("some text with a key, a token and an api, and nothing in it\n", 200)
	for name, test := range map[string]struct {
		text string
		want int
	}{
		"at the beginning": {token + "\n" + filler, 1},
		"at the end":       {filler + "x = '" + token + "'", 1},
		"on a long line":   {strings.ReplaceAll(filler, "\n", " ") + " '" + token + "' " + strings.ReplaceAll(filler, "\n", " "), 1},
		"twice":            {filler + token + "\n" + token + "\n", 2},
		"allowed":          {filler + token + " # gitleaks:allow\n", 0},
		"not there":        {filler, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := 0
			err := Find(&clue.File{Path: "a.txt", Data: []byte(test.text)}, false, func(int) bool { return false }, func(c clue.Clue) {
				if c.Name == "github-pat" {
					got++
				}
			})
			if err != nil || got != test.want {
				t.Errorf("found %d, want %d: %v", got, test.want, err)
			}
		})
	}
}
