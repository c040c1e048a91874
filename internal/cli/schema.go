// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/api/v1alpha1/schema"
	"custody.dev/custody/internal/server"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [KIND]",
		Short: "print the JSON schema of the documents, for editors",
		Long: `Prints the JSON schema (draft 7) of all kinds of documents, or of one. With it, an editor completes fields, shows what each means and
marks unknown ones. The schema describes only the form of documents; custody lint checks the rest.

For an editor with the YAML language server, add this line at the top of a document:
  # yaml-language-server: $schema=../custody.schema.json`,
		Example: `  custody schema > custody.schema.json
  custody schema ManagedSecret`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(_ context.Context, args []string) error {
			text := schema.Documents
			if len(args) == 1 {
				var err error
				if text, err = schemaOf(args[0]); err != nil {
					return err
				}
			}
			_, err := a.out.Write(text)
			return err
		}),
	}
}

// schemaOf is the schema of one kind.
func schemaOf(kind string) ([]byte, error) {
	var all map[string]any
	if err := json.Unmarshal(schema.Documents, &all); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	kinds, _ := all["oneOf"].([]any)
	var known []string
	for _, one := range kinds {
		reference, _ := one.(map[string]any)
		name, _ := reference["$ref"].(string)
		known = append(known, strings.TrimPrefix(name, schema.Definitions))
	}
	if !slices.Contains(known, kind) {
		return nil, &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("there is no kind %q", visible(kind)), Hint: "there are " + strings.Join(known, ", ")}
	}
	one := maps.Clone(all)
	delete(one, "oneOf")
	one["$ref"] = schema.Definitions + kind
	text, err := json.MarshalIndent(one, "", "  ")
	return append(text, '\n'), errors.Join(err)
}
