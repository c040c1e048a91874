// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

// told is a journal that tells saw of every entry that it reads or has written.
type told struct {
	journal.Listing
	saw func(*journal.Entry)
}

func (j told) Load(ctx context.Context, path authority.Path) (*journal.Entry, error) {
	entry, err := j.Listing.Load(ctx, path)
	if err == nil {
		j.saw(entry)
	}
	return entry, err
}

func (j told) Save(ctx context.Context, entry *journal.Entry) error {
	err := j.Listing.Save(ctx, entry)
	if err == nil {
		j.saw(entry)
	}
	return err
}

func (j told) All(ctx context.Context) ([]*journal.Entry, error) {
	entries, err := j.Listing.All(ctx)
	for _, entry := range entries {
		j.saw(entry)
	}
	return entries, err
}
