// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/internal/secret"
)

// filed reads the fields that come from files, each FIELD=FILE; none of them may be among others. A word of another form is
// not repeated in the error: it may be a value.
func (a *app) filed(files, others []string, exact bool) (map[string][]byte, error) {
	typed := map[string][]byte{}
	for _, named := range files {
		field, file, found := strings.Cut(named, "=")
		if !found || field == "" || file == "" {
			return nil, usage("--from-file is not FIELD=FILE", "name the field and the file with its text, for example --from-file privateKey=app.pem")
		}
		if _, twice := typed[field]; twice || slices.Contains(others, field) {
			return nil, usage("a field is given twice", "name each once, with --field or with --from-file")
		}
		text, err := readValue(file)
		if err != nil {
			return nil, fmt.Errorf("reading the field from its file: %w", err)
		}
		if text, err = a.edges(text, exact); err != nil {
			return nil, err
		}
		switch {
		case len(text) == 0:
			return nil, usage("the file of a field is empty; nothing was sent", "check the command that wrote it")
		case len(text) > secret.MaxBytes:
			return nil, usage(fmt.Sprintf("the file of a field is larger than %d bytes; nothing was sent", secret.MaxBytes), largeHint)
		}
		typed[field] = text
	}
	return typed, nil
}
