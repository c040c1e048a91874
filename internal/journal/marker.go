// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"slices"

	"custody.dev/custody/internal/authority"
)

// maxChanging bounds how many runs are remembered that may have changed the account, and how many strangers: as many as an
// account's marker remembers.
const maxChanging = 16

// Changes notes that a run may change the account from now on.
func (e *Entry) Changes(run authority.RunID) { e.Changing = remember(e.Changing, run) }

// Takes notes that the account may be changed though its marker names the run, which is not one of this history.
func (e *Entry) Takes(stranger string) { e.Taken = remember(e.Taken, stranger) }

func remember[T comparable](list []T, one T) []T {
	if slices.Contains(list, one) {
		return list
	}
	list = append(slices.Clone(list), one)
	return list[max(0, len(list)-maxChanging):]
}

// Runs are those of this history that the account's marker may name.
func (e *Entry) Runs() []authority.RunID {
	runs := slices.Clone(e.Changing)
	if e.Live != nil {
		runs = append(runs, e.Live.ID)
	}
	if e.Last != nil {
		runs = append(runs, e.Last.Run)
	}
	if e.Current != nil {
		runs = append(runs, e.Current.Run)
	}
	return runs
}
