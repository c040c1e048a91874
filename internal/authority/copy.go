// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto/sha256"
	"io"

	"custody.dev/custody/internal/secret"
)

// Copy is all that an authority held at one moment, in a form that only the same type of authority reads.
type Copy struct {
	Incarnation Incarnation
	Bytes       int64
	SHA256      [sha256.Size]byte
	// Keys open the copy, whatever sealed the authority that it was made from. Whoever has both has every value.
	Keys secret.Value
	// Content is the copy, Bytes long. Closing it gives up what it takes; until then that is on the disk of the authority.
	Content io.ReadCloser
}

// Copier is an optional power of a Store.
type Copier interface {
	// Copy makes a copy of everything that was acknowledged before it was called, while other calls go on. It holds values only
	// encrypted.
	Copy(ctx context.Context) (Copy, error)
}
