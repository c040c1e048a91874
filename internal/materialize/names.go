// SPDX-License-Identifier: Apache-2.0

package materialize

import (
	"io/fs"
	"strings"
)

// What Custody puts beside a file: a stamp and a lock, and the file's next content until it takes the name.
const (
	StampSuffix     = ".custody"
	LockSuffix      = StampSuffix + ".lock"
	TemporarySuffix = ".tmp"
)

// Reserved reports whether a file's name is one that Custody keeps for itself.
func Reserved(base string) bool {
	return strings.HasPrefix(base, ".") &&
		(strings.HasSuffix(base, StampSuffix) || strings.HasSuffix(base, LockSuffix) || strings.HasSuffix(base, TemporarySuffix))
}

// ForbiddenMode are the bits that a secret's file never has: nobody but its owner writes to it, and nobody runs it.
const ForbiddenMode fs.FileMode = 0o133
