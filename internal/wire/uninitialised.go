// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"iter"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
)

// uninitialised stands in for an authority and a record that were never initialised, so that a platform can say what it waits
// for before anything is made. It holds nothing and takes nothing.
type uninitialised struct{}

var errUninitialised = &server.Problem{
	Class: server.Refused, Text: "the authority of this host was never initialised", Hint: "`custody serve` makes it when it first runs",
}

var _ authority.Store = uninitialised{}

func (uninitialised) Incarnation() authority.Incarnation { return "" }

func (uninitialised) Broken() string { return "" }

func (uninitialised) Close() error { return nil }

func (uninitialised) Read(context.Context, authority.Path) (authority.Versioned, error) {
	return authority.Versioned{}, authority.ErrNotFound
}

func (uninitialised) ReadVersion(context.Context, authority.Path, authority.Version) (authority.Versioned, error) {
	return authority.Versioned{}, authority.ErrNotFound
}

func (uninitialised) Write(context.Context, authority.Path, authority.Version, authority.RunID, secret.Value) (authority.VersionID, error) {
	return authority.VersionID{}, errUninitialised
}

func (uninitialised) Destroy(context.Context, authority.Path, authority.Version) error {
	return errUninitialised
}

func (uninitialised) Get(context.Context, string) (authority.Document, error) {
	return authority.Document{}, authority.ErrNotFound
}

func (uninitialised) Put(context.Context, string, authority.Revision, []byte) (authority.Revision, error) {
	return 0, errUninitialised
}

func (uninitialised) Delete(context.Context, string, authority.Revision) error {
	return errUninitialised
}

func (uninitialised) Keys(context.Context, string) iter.Seq2[string, error] {
	return authority.Each(nil)
}

func (uninitialised) DigestKey(context.Context, authority.Path) ([]byte, error) {
	return nil, errUninitialised
}

func (uninitialised) Renew(context.Context, authority.Incarnation, func(authority.Incarnation) (authority.Renewal, error)) (authority.Incarnation, error) {
	return "", errUninitialised
}

func (uninitialised) Later(authority.Incarnation) bool { return false }

func (uninitialised) Ahead() []audit.Outside { return nil }

func (uninitialised) GiveUp(...[]byte) {}

func (uninitialised) Size() uint64 { return 0 }

func (uninitialised) Append(context.Context, audit.Event) error { return errUninitialised }

func (uninitialised) Events(context.Context, audit.Filter) iter.Seq2[audit.Event, error] {
	return func(func(audit.Event, error) bool) {}
}

func (uninitialised) Findings() []audit.Finding { return nil }
