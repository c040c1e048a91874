// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Check reports everything that contradicts itself in k, nil when nothing does. Powers are not looked at: they belong to
// the upstream, not to its kind.
func (k Kind) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if k.Name == "" {
		bad("the kind has no name")
	}
	if !slices.Contains([]Capability{Dual, Alternate, Overwrite}, k.Capability) {
		bad("there is no capability %q: want dual, alternate or overwrite", k.Capability)
	}
	if !slices.Contains([]Undo{Discard, Reapply, Impossible}, k.Undo) {
		bad("there is no undo %q: want discard, reapply or impossible", k.Undo)
	}
	if !slices.Contains([]LostReply{Recover, Reissue, Person}, k.LostReply) {
		bad("there is no answer %q to a lost reply: want recover, reissue or person", k.LostReply)
	}
	if k.CallDeadline <= 0 {
		bad("the call deadline is %s, want more than nothing", k.CallDeadline)
	}
	for name, d := range map[string]time.Duration{"settle time": k.Settle, "pause after a wrong sign-in": k.WrongEvery} {
		if d < 0 {
			bad("the %s is %s, want nothing or more", name, d)
		}
	}
	if k.Capability == Overwrite && k.Undo == Discard {
		bad("an overwrite kind cannot discard: the current credential was replaced")
	}
	if k.Issues && k.Undo == Reapply {
		bad("a kind that issues cannot reapply: it takes no credential")
	}
	if !k.Issues && k.LostReply == Reissue {
		bad("a kind that does not issue has nothing to reissue: want recover or person")
	}
	if e := k.Evidence; e != nil && (e.Source == "" || e.Late < 0 || e.Fine < 0) {
		bad("evidence of use needs a source, and no negative times")
	}
	return errors.Join(errs...)
}
