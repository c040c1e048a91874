// SPDX-License-Identifier: Apache-2.0

package authoritytest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"custody.dev/custody/internal/authority"
)

// Renewable is a Store that can begin another incarnation.
type Renewable interface {
	authority.Store
	authority.Renewer
}

// RunRenewer shows that the stores which open returns begin another incarnation together with its changes, or not at all.
func RunRenewer(t *testing.T, open func(t *testing.T) Renewable) {
	t.Run("RenewChangesEverythingAtOnce", func(t *testing.T) { renewAtOnce(t, open(t)) })
	t.Run("RenewOfACopyIsLater", func(t *testing.T) { renewOfACopy(t, open(t)) })
	t.Run("RenewChangesNothingWhenOnePartLoses", func(t *testing.T) { renewLoses(t, open(t)) })
}

// renewOfACopy: the same older copy is put back twice. What began with the first time tells, until another begins.
func renewOfACopy(t *testing.T, s Renewable) {
	was, other, cutOff := s.Incarnation(), authority.Incarnation(""), errors.New("cut off")
	_, err := s.Renew(t.Context(), was, func(next authority.Incarnation) (authority.Renewal, error) {
		other = next // as the copy that was accepted first began it
		return authority.Renewal{}, cutOff
	})
	wantErr(t, "Renew that was cut off", err, cutOff)
	if !s.Later(other) {
		t.Errorf("%s did not begin after %s", other, was)
	}
	next, err := s.Renew(t.Context(), was, func(authority.Incarnation) (authority.Renewal, error) { return authority.Renewal{}, nil })
	if err != nil || s.Later(other) {
		t.Errorf("%s began after %s, which began after it: %v", other, next, err)
	}
}

func renewAtOnce(t *testing.T, s Renewable) {
	was, digest := s.Incarnation(), digestKey(t, s, path)
	old := write(t, s, path, 0, "run-1", value(t, "one"))
	put(t, s, "journal/a", 0, "one")
	put(t, s, "request/a", 0, "one")
	next, err := s.Renew(t.Context(), was, func(next authority.Incarnation) (authority.Renewal, error) {
		return authority.Renewal{
			Values:    []authority.NewVersion{{Path: path, Base: 1, Run: "accepted", Value: value(t, "one")}},
			Documents: []authority.Document{{Key: "journal/a", Revision: 1, Data: []byte(next)}, {Key: "accepted", Data: []byte("yes")}},
			Gone:      []string{"request/a", "request/none"},
		}, nil
	})
	if err != nil || next == was || s.Incarnation() != next {
		t.Fatalf("Renew = %q, %v, and then Incarnation = %q; want another than %q", next, err, s.Incarnation(), was)
	}
	wantVersion(t, s, path, authority.VersionID{Incarnation: next, Run: "accepted", Number: 2}, value(t, "one"), true)
	wantVersion(t, s, path, old, value(t, "one"), false)
	if !bytes.Equal(digest, digestKey(t, s, path)) {
		t.Error("the digest key changed with the incarnation")
	}
	if got, err := s.Get(t.Context(), "journal/a"); err != nil || got.Revision != 2 || string(got.Data) != string(next) {
		t.Errorf("Get = %+v, %v, want the record of the renewal", got, err)
	}
	_, err = s.Get(t.Context(), "request/a")
	wantErr(t, "Get of what the renewal removed", err, authority.ErrNotFound)
	if third := write(t, s, path, 2, "run-3", value(t, "three")); third.Incarnation != next {
		t.Errorf("after the renewal, Write = %s, want incarnation %s", third, next)
	}
	if s.Later(was) || s.Later(next) || s.Later("0123456789abcdef0123456789abcdef") {
		t.Error("an incarnation that is over, the present one or that of another authority began later")
	}
	_, err = s.Renew(t.Context(), was, func(authority.Incarnation) (authority.Renewal, error) { return authority.Renewal{}, nil })
	wantErr(t, "Renew of an incarnation that is over", err, authority.ErrConflict)
}

func renewLoses(t *testing.T, s Renewable) {
	was := s.Incarnation()
	first := write(t, s, path, 0, "run-1", value(t, "one"))
	put(t, s, "journal/a", 0, "one")
	good := authority.Renewal{
		Values:    []authority.NewVersion{{Path: path, Base: 1, Run: "accepted", Value: value(t, "two")}},
		Documents: []authority.Document{{Key: "journal/a", Revision: 1, Data: []byte("two")}},
		Gone:      []string{"journal/a"},
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	mine := errors.New("the plan failed")
	for _, test := range []struct {
		name   string
		ctx    context.Context
		change func(*authority.Renewal) error
		want   error
	}{
		{"a value has another base", t.Context(), func(r *authority.Renewal) error {
			r.Values = append(r.Values, authority.NewVersion{Path: other, Base: 3, Run: "accepted", Value: value(t, "x")})
			return nil
		}, authority.ErrConflict},
		{"a record has another base", t.Context(), func(r *authority.Renewal) error {
			r.Documents = append(r.Documents, authority.Document{Key: "journal/b", Revision: 7, Data: []byte("x")})
			return nil
		}, authority.ErrConflict},
		{"the plan fails", t.Context(), func(*authority.Renewal) error { return mine }, mine},
		{"the context has ended", ended, func(*authority.Renewal) error { return nil }, context.Canceled},
	} {
		_, err := s.Renew(test.ctx, was, func(authority.Incarnation) (authority.Renewal, error) {
			changed := good
			err := test.change(&changed)
			return changed, err
		})
		wantErr(t, test.name, err, test.want)
		if s.Incarnation() != was {
			t.Fatalf("%s: the incarnation is another", test.name)
		}
		wantVersion(t, s, path, first, value(t, "one"), true)
		if got, err := s.Get(t.Context(), "journal/a"); err != nil || got.Revision != 1 {
			t.Errorf("%s: Get = %+v, %v, want the record as it was", test.name, got, err)
		}
	}
	put(t, s, "journal/a", 1, "still writable")
}
