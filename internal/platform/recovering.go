// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

// Behind says how an authority is older than the record of what was done with it, "" when it is not. A run's last
// transition is recorded before the journal closes it, so the last run that the record closes is, in a current
// authority, either the last outcome or still live. Cost: one reading of the whole record.
func Behind(entries []*journal.Entry, events iter.Seq2[audit.Event, error]) (string, error) {
	closed := map[authority.Path]authority.RunID{}
	for event, err := range events {
		if err != nil {
			return "", fmt.Errorf("comparing the authority with the record: %w", err)
		}
		switch journal.Step(event.Step) {
		case journal.Completed, journal.Consumed, journal.Undone:
			closed[event.Path] = event.Run
		}
	}
	for _, entry := range entries {
		if entry.Fault != nil { // it says itself that it cannot be read; what it knows is not known
			delete(closed, entry.Path)
			continue
		}
		last, recorded := closed[entry.Path]
		if recorded && (entry.Live != nil && entry.Live.ID == last || entry.Last != nil && entry.Last.Run == last) {
			delete(closed, entry.Path)
		}
	}
	if len(closed) == 0 {
		return "", nil
	}
	var behind []string
	for path, run := range closed {
		behind = append(behind, fmt.Sprintf("%s (run %s)", path, run))
	}
	slices.Sort(behind)
	more := ""
	if len(behind) > 3 {
		more = fmt.Sprintf(" and %d more", len(behind)-3)
		behind = behind[:3]
	}
	return fmt.Sprintf("the authority does not know what the record says was done with %s%s: it is an older copy; "+
		"put the newest one back; until then nothing is seeded, rotated or delivered", strings.Join(behind, ", "), more), nil
}
