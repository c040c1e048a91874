// SPDX-License-Identifier: Apache-2.0

// Command gendocs writes the references that come from the program itself: docs/cli.md from the command tree,
// docs/documents.md from the document types, docs/lint.md from the rules. The same sources give the same bytes.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"custody.dev/custody/api/v1alpha1/reference"
	"custody.dev/custody/internal/cli"
	"custody.dev/custody/internal/intent"
)

//go:generate go run . ../../docs

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendocs FOLDER")
		os.Exit(2)
	}
	pages := map[string][]byte{
		"cli.md":       commands(cli.Command()),
		"documents.md": reference.Markdown(),
		"lint.md":      rules(intent.Rules()),
	}
	if err := write(os.Args[1], pages); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func write(folder string, pages map[string][]byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", folder, err)
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(folder, name), page, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
