// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/lazyregexp"
)

// A backup's name is custody.PLATFORM.ENVIRONMENT.FAMILY.TIME.age: the names of one family sort by time. The family is that of the
// authority's incarnations, so that an authority that was made anew under the same names, as after a mistake, never has the backups of
// the one before it removed.
const (
	stampForm     = "20060102T150405Z"
	ending        = ".age"
	checkpointEnd = ".checkpoint"
	familyDigits  = 16
)

var nameForm = lazyregexp.New(`^custody\.([a-z0-9-]+)\.([a-z0-9-]+)\.([0-9a-f]{16})\.([0-9]{8}T[0-9]{6}Z)\.age$`)

// Entry is a backup in a folder, as its name and its checkpoint tell: it was not opened.
type Entry struct {
	Name        string `json:"name"`
	Platform    string `json:"platform"`
	Environment string `json:"environment"`
	// Family is that of the authority.
	Family string    `json:"family"`
	Made   time.Time `json:"made"`
	Bytes  int64     `json:"bytes"`
	// Events is how many its record has, 0 where its checkpoint is not beside it.
	Events uint64 `json:"events,omitempty"`
}

// List returns the complete backups in a folder, the newest first.
func List(folder *durable.Folder) ([]Entry, error) {
	names, err := folder.Names()
	if err != nil {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	entries := []Entry{}
	for _, name := range names {
		entry, is := entryOf(name)
		if !is {
			continue
		}
		info, err := folder.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("listing backups: %w", err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		entry.Bytes = info.Size()
		if signed, err := folder.Read(checkpointOf(name)); err == nil {
			entry.Events = audit.Covers(signed)
		}
		entries = append(entries, entry)
	}
	Newest(entries)
	return entries, nil
}

func entryOf(name string) (Entry, bool) {
	parts := nameForm.FindStringSubmatch(name)
	if parts == nil {
		return Entry{}, false
	}
	made, err := time.Parse(stampForm, parts[4])
	return Entry{Name: name, Platform: parts[1], Environment: parts[2], Family: parts[3], Made: made}, err == nil
}

// FamilyOf is what all incarnations of one authority have in common.
func FamilyOf(i authority.Incarnation) string { return string(i)[:min(familyDigits, len(i))] }

func prefixOf(m Manifest) string {
	return strings.Join([]string{"custody", m.Platform, m.Environment, FamilyOf(m.Incarnation), ""}, ".")
}

func checkpointOf(name string) string { return strings.TrimSuffix(name, ending) + checkpointEnd }

// free is the name of a backup: that of the second in which it was begun, or of the next for which there is none.
func free(folder *durable.Folder, m Manifest) (string, error) {
	for at := m.Made; ; at = at.Add(time.Second) {
		name := prefixOf(m) + at.Format(stampForm) + ending
		if _, is := entryOf(name); !is {
			return "", fmt.Errorf("%s is no name of a backup", name)
		}
		switch _, err := folder.Stat(name); {
		case errors.Is(err, fs.ErrNotExist):
			return name, nil
		case err != nil:
			return "", err
		}
	}
}

// Retain removes the oldest complete backups that are of the same platform and family as last, so that as many are left as are kept,
// and returns their names. last stays, whatever the clock said when it was made.
func Retain(folder *durable.Folder, last string, keep int) (removed []string, err error) {
	own, is := entryOf(last)
	if !is || keep < 1 {
		return nil, fmt.Errorf("removing old backups: %q is no backup, or none is to be kept", last)
	}
	entries, err := List(folder)
	if err != nil {
		return nil, err
	}
	left := keep - 1 // beside last
	for _, entry := range entries {
		if entry.Name == last || entry.Platform != own.Platform || entry.Environment != own.Environment || entry.Family != own.Family {
			continue
		}
		if left > 0 {
			left--
			continue
		}
		if err := errors.Join(folder.Remove(entry.Name), folder.Remove(checkpointOf(entry.Name))); err != nil {
			return removed, fmt.Errorf("removing old backups: %w", err)
		}
		removed = append(removed, entry.Name)
	}
	return removed, nil
}

// InPlace reports why a folder is not the one in which a backup was made, nil when the backup is there: mostly nothing is mounted there.
func InPlace(folder *durable.Folder, name string, bytes int64) error {
	info, err := folder.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrElsewhere, name)
	}
	if err != nil {
		return err
	}
	if info.Size() != bytes {
		return fmt.Errorf("%w: %s has %d bytes, and had %d when it was made", ErrElsewhere, name, info.Size(), bytes)
	}
	return nil
}
