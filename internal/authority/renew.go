// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"

	"custody.dev/custody/internal/secret"
)

// Renewal is everything that changes together with the incarnation. Each part but Gone is a compare-and-set.
type Renewal struct {
	Values []NewVersion
	// Documents are stored over the Revision that each carries.
	Documents []Document
	// Gone are the keys of documents that are removed, whatever their revision.
	Gone []string
}

// NewVersion is a version that is written over Base.
type NewVersion struct {
	Path  Path
	Base  Version
	Run   RunID
	Value secret.Value
}

// Renewer is an optional power of a Store: after an older state was put back, version numbers are given a second time, and
// only another incarnation tells the versions apart.
type Renewer interface {
	// Renew begins the incarnation after from and makes the changes that plan returns for it, durably, all of them or none.
	// plan calls nothing of the store. ErrConflict when from is not the present incarnation, or when one of the parts has
	// another base: nothing was changed then. After ErrUnavailable only opening the store again tells whether it was.
	//
	// The incarnations of one authority are akin, whichever copy of it began them; see Later.
	Renew(ctx context.Context, from Incarnation, plan func(next Incarnation) (Renewal, error)) (Incarnation, error)
	// Later reports whether i is an incarnation of this authority that began after the present one: this is then an older copy,
	// put back a second time. Those of another authority are not, nor are those that were given up when this one began.
	Later(i Incarnation) bool
}
