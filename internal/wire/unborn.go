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

// unborn stands in for an authority and a record that were never initialised, so that a platform can say what it waits
// for before anything is made. It holds nothing and takes nothing.
type unborn struct{}

var errUnborn = &server.Problem{
	Class: server.Refused, Text: "the authority of this host was never initialised", Hint: "`custody serve` makes it when it first runs",
}

var _ authority.Store = unborn{}

func (unborn) Incarnation() authority.Incarnation { return "" }

func (unborn) Broken() string { return "" }

func (unborn) Close() error { return nil }

func (unborn) Read(context.Context, authority.Path) (authority.Versioned, error) {
	return authority.Versioned{}, authority.ErrNotFound
}

func (unborn) ReadVersion(context.Context, authority.Path, authority.Version) (authority.Versioned, error) {
	return authority.Versioned{}, authority.ErrNotFound
}

func (unborn) Write(context.Context, authority.Path, authority.Version, authority.RunID, secret.Value) (authority.VersionID, error) {
	return authority.VersionID{}, errUnborn
}

func (unborn) Destroy(context.Context, authority.Path, authority.Version) error { return errUnborn }

func (unborn) Get(context.Context, string) (authority.Document, error) {
	return authority.Document{}, authority.ErrNotFound
}

func (unborn) Put(context.Context, string, authority.Revision, []byte) (authority.Revision, error) {
	return 0, errUnborn
}

func (unborn) Delete(context.Context, string, authority.Revision) error { return errUnborn }

func (unborn) Keys(context.Context, string) iter.Seq2[string, error] { return authority.Each(nil) }

func (unborn) DigestKey(context.Context, authority.Path) ([]byte, error) { return nil, errUnborn }

func (unborn) Renew(context.Context, authority.Incarnation, func(authority.Incarnation) (authority.Renewal, error)) (authority.Incarnation, error) {
	return "", errUnborn
}

func (unborn) Later(authority.Incarnation) bool { return false }

func (unborn) Ahead() []audit.Outside { return nil }

func (unborn) GiveUp(...[]byte) {}

func (unborn) Size() uint64 { return 0 }

func (unborn) Append(context.Context, audit.Event) error { return errUnborn }

func (unborn) Events(context.Context, audit.Filter) iter.Seq2[audit.Event, error] {
	return func(func(audit.Event, error) bool) {}
}

func (unborn) Findings() []audit.Finding { return nil }
