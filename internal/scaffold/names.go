// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"strings"

	"custody.dev/custody/internal/lazyregexp"
)

const maxName = 63

var nameForm = lazyregexp.New(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func wellNamed(name string) bool { return len(name) <= maxName && nameForm.MatchString(name) }

var others = lazyregexp.New(`[^a-z0-9]+`)

// Kebab makes a document's name of any text: DB_PASSWORD becomes db-password. It is "" when nothing is left.
func Kebab(text string) string {
	return strings.Trim(others.ReplaceAllString(strings.ToLower(text), "-"), "-")
}
