// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"context"
	"fmt"
	"slices"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// stampForm is GeneralizedTime to the second, as both attributes have it.
const stampForm = "20060102150405Z"

// maxOwn bounds how many of Custody's own sign-ins are remembered for one entry.
const maxOwn = 64

// watched is what is remembered of one entry, so that Custody's own sign-ins, which overwrite the directory's stamp, are
// neither taken for somebody's nor hide them.
type watched struct {
	// own are stamps that Custody's sign-ins made, by the directory's clock.
	own   []time.Time
	other time.Time
}

// witness is an Upstream that can tell who used a credential last: one of mode alternate whose directory keeps a stamp.
type witness struct{ *Upstream }

var _ upstream.Witness = witness{}

// Uses returns the last sign-in of old's entry that was not Custody's own.
func (w witness) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	dn := old.ExposeText(login.Username)
	if !w.account.Manages(dn) {
		return nil, &upstream.Error{Doing: "asking who signs in", Detail: fmt.Sprintf("%q is not one of this account's entries", dn)}
	}
	ctx, cancel := context.WithTimeout(ctx, w.CallDeadline)
	defer cancel()
	last, kept, err := w.lastOther(ctx, dn)
	switch {
	case err != nil:
		return nil, err
	case !kept: // Custody has signed in as this entry
		return nil, &upstream.Error{
			Doing: "asking who signs in", Detail: fmt.Sprintf("the entry %q has no %s that the admin can see", dn, w.LastUse),
			Next: "check that the directory stores it (lastbind), that the admin may read it, and that lastUse names it; or leave lastUse out of the Upstream document",
		}
	case last.IsZero(), last.Before(since.Truncate(time.Second)):
		return nil, nil
	}
	return []upstream.Use{{Who: dn, Last: last}}, nil
}

// stamp reads when the entry last signed in; zero when that is not to be seen.
func (u *Upstream) stamp(ctx context.Context, dn string) (time.Time, error) {
	const doing = "asking who signs in"
	s, err := u.admin(ctx, doing)
	if err != nil {
		return time.Time{}, err
	}
	defer s.hangUp()
	found, err := s.read(doing, dn, u.LastUse)
	if err != nil {
		return time.Time{}, err
	}
	if found == nil {
		return time.Time{}, &upstream.Error{Doing: doing, Detail: fmt.Sprintf("the entry %q is not there", dn)}
	}
	text := found.GetEqualFoldAttributeValue(u.LastUse)
	if text == "" {
		return time.Time{}, nil
	}
	stamp, err := time.Parse(stampForm, text)
	if err != nil {
		return time.Time{}, &upstream.Error{Doing: doing, Detail: u.LastUse + " is not a time"}
	}
	return stamp.Truncate(time.Second), nil
}

// lastOther returns the newest sign-in known that was not Custody's own; kept is false when the entry shows none at all.
func (u *Upstream) lastOther(ctx context.Context, dn string) (last time.Time, kept bool, err error) {
	stamp, err := u.stamp(ctx, dn)
	if err != nil {
		return time.Time{}, false, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.watch(dn)
	if stamp.After(seen.other) && !slices.ContainsFunc(seen.own, stamp.Equal) {
		seen.other = stamp
	}
	return seen.other, !stamp.IsZero(), nil
}

// watch returns what is remembered of an entry. The caller holds the lock.
func (u *Upstream) watch(dn string) *watched {
	if u.seen[dn] == nil {
		u.seen[dn] = &watched{}
	}
	return u.seen[dn]
}

// observe keeps the stamp that Custody's own sign-in is about to overwrite. What cannot be read now is not known later.
func (u *Upstream) observe(ctx context.Context, dn string) {
	if u.LastUse != "" && u.account.Manages(dn) {
		_, _, _ = u.lastOther(ctx, dn)
	}
}

// own remembers the stamp that a sign-in of Custody's has made.
func (u *Upstream) own(ctx context.Context, dn string) {
	if u.LastUse == "" || !u.account.Manages(dn) {
		return
	}
	stamp, err := u.stamp(ctx, dn)
	if err != nil {
		return // it will be taken for somebody's, which holds the old credential a little longer
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.watch(dn)
	seen.own = append(seen.own, stamp)
	seen.own = seen.own[max(0, len(seen.own)-maxOwn):]
}
