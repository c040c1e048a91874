// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"strings"

	"custody.dev/custody/internal/lazyregexp"
)

var others = lazyregexp.New(`[^a-z0-9]+`)

// Kebab makes a document's name of any text: DB_PASSWORD becomes db-password. It is "" when nothing is left.
func Kebab(text string) string {
	return strings.Trim(others.ReplaceAllString(strings.ToLower(text), "-"), "-")
}
