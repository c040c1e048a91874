// SPDX-License-Identifier: Apache-2.0

// Command gendocs writes the references that are generated from the program itself: docs/cli.md from the command tree,
// docs/documents.md and the JSON schema from the document types, the tables of reasons in docs/operations.md from the
// catalogue of reasons, docs/lint.md from the lint rules, and docs/upstreams from the description of each kind of
// upstream. The same sources give the same bytes.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"custody.dev/custody/api/v1alpha1/reference"
	"custody.dev/custody/internal/cli"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

//go:generate go run . ../../docs

// schemaFile is no page, but part of the program.
const schemaFile = "../api/v1alpha1/schema/documents.json"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendocs FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1], pages()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// pages are all generated files, by their path beneath docs. It reads the source of the documents: it is run in this folder.
func pages() map[string][]byte {
	pages := map[string][]byte{
		"cli.md":       commands(cli.Command()),
		"documents.md": reference.Markdown("../..", kinds.Upstreams()),
		"lint.md":      rules(intent.Rules()),
		operations:     operated(),
		schemaFile:     reference.Schema("../..", kinds.Upstreams()),
	}
	maps.Copy(pages, upstreams(wire.Descriptions()))
	return pages
}

func write(folder string, pages map[string][]byte) error {
	for name, page := range pages {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("making the folder of %s: %w", name, err)
		}
		if err := os.WriteFile(file, page, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
