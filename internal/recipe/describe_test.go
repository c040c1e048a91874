// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"strings"
	"testing"
)

// A reader finds on a recipe's page which fields to seal, and what the host must have.
func TestPagesNameEveryField(t *testing.T) {
	pages := map[string]string{}
	for _, d := range Describe() {
		pages[d.Type] = d.Markdown()
	}
	if !strings.Contains(pages["http"], "\n### On the host\n") {
		t.Error("the page of HTTP does not say what the host must have")
	}
	for _, name := range Names() {
		compiled, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		wanted := []string{"](http.md#on-the-host)"}
		for field := range compiled.Source.Fields {
			wanted = append(wanted, "\n| `"+field+"` | ")
		}
		if compiled.Source.Admin != nil {
			for field := range compiled.Source.Admin.Fields {
				wanted = append(wanted, "\n| `"+field+"` | ")
			}
		}
		if told, used := strings.Contains(pages[name], "\nThe policy `monthly` is there"), strings.Contains(pages[name], "policyRef: monthly"); told != used {
			t.Errorf("the page of %s uses the policy monthly: %t, and says where it is: %t", name, used, told)
		}
		for _, want := range wanted {
			if !strings.Contains(pages[name], want) {
				t.Errorf("the page of %s lacks %q", name, want)
			}
		}
	}
}
