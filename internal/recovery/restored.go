// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

// restoredKey is where the authority keeps that it was put back from a backup, until a person accepts that state.
const restoredKey = "recovery-restored"

// Restored says that the state was put back from a backup. What happened after the backup is known to nobody here, so the platform is
// recovering, whether or not something outside tells of a newer state.
type Restored struct {
	Schema int `json:"schema"`
	// Backup is the name of its file, Made when it was begun, and Events how many its record has.
	Backup string    `json:"backup"`
	Made   time.Time `json:"made"`
	Events uint64    `json:"events"`
	// At is when it was put back.
	At time.Time `json:"at"`
}

// Document is what the authority is to keep of it.
func (r Restored) Document() (authority.Document, error) {
	r.Schema = schema
	data, err := json.Marshal(r)
	if err != nil {
		return authority.Document{}, fmt.Errorf("encoding what was restored: %w", err)
	}
	return authority.Document{Key: restoredKey, Data: data}, nil
}

// String says it for people, "" for nothing.
func (r Restored) String() string {
	if r.Schema == 0 {
		return ""
	}
	return fmt.Sprintf("the state is that of the backup %s, begun at %s and restored at %s; what happened after the backup is not known here",
		r.Backup, r.Made.UTC().Format(time.RFC3339), r.At.UTC().Format(time.RFC3339))
}

// RestoredFrom returns from which backup the state was put back, the zero one when it was not or that was accepted.
func RestoredFrom(ctx context.Context, records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
}) (Restored, error) {
	held, err := records.Get(ctx, restoredKey)
	if errors.Is(err, authority.ErrNotFound) {
		return Restored{}, nil
	}
	if err != nil {
		return Restored{}, fmt.Errorf("reading what was restored: %w", err)
	}
	var found Restored
	if err := json.Unmarshal(held.Data, &found); err != nil || found.Schema < 1 || found.Schema > schema {
		return Restored{}, fmt.Errorf("reading what was restored: %w %q: it is of a newer custody, or damaged", journal.ErrUnreadable, restoredKey)
	}
	return found, nil
}

// restored are the keys that an acceptance removes because it accepts what was put back.
func (e *Engine) restored(ctx context.Context) ([]string, error) {
	found, err := RestoredFrom(ctx, e.Authority)
	if err != nil || found.Schema == 0 {
		return nil, err
	}
	return []string{restoredKey}, nil
}
