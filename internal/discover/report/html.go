// SPDX-License-Identifier: Apache-2.0

package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"custody.dev/custody/internal/discover"
)

//go:embed page.html
var page string

// HTML writes a page that needs nothing else: no script, no font and no picture from elsewhere.
func HTML(w io.Writer, a *discover.Answer) error {
	made, err := template.New("page").Funcs(template.FuncMap{
		"short": func(text string) string { return text[:min(12, len(text))] },
		"count": func(level discover.Level) (n int) {
			for _, s := range a.Secrets {
				if s.Risk == level {
					n++
				}
			}
			return n
		},
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("reading the template of the page: %w", err)
	}
	if err := made.Execute(w, a); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}
