// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
)

// anchor keeps the newest checkpoint in the authority, so that a tail cut off together with its checkpoint shows, unless it is of
// less than anchorPause before a crash. Once the
// authority was found to know what the record says was done with it, it also notes now and then how far the record went: a
// later start compares only what came after that.
type anchor struct {
	store authority.Documents
	// settled: this process compared the authority with the whole record, and what was revoked is revoked. From then on the
	// authority learns of each change before the record closes it.
	settled atomic.Bool
	noted   uint64
}

const (
	// comparedKey is where the number of events is kept that the authority is known to know of.
	comparedKey = "audit/compared"
	// anchorPause is how long the anchor is behind the record at most: all events of that time cost one write together.
	anchorPause = time.Second
	// notedEvery bounds how many events a start compares, and how often a write is spent on it.
	notedEvery = 10_000
)

// Name tells this place from others.
func (a *anchor) Name() string { return "authority" }

var (
	_ audit.Rememberer = (*anchor)(nil)
	_ audit.Paced      = (*anchor)(nil)
)

// Pause implements audit.Paced.
func (a *anchor) Pause() time.Duration { return anchorPause }

// Last returns the checkpoint kept last.
func (a *anchor) Last(ctx context.Context) ([]byte, error) {
	held, err := a.store.Get(ctx, anchorKey)
	if errors.Is(err, authority.ErrNotFound) {
		return nil, nil
	}
	return held.Data, err
}

// Put keeps a checkpoint.
func (a *anchor) Put(ctx context.Context, checkpoint []byte) error {
	held, err := a.store.Get(ctx, anchorKey)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	events := audit.Covers(checkpoint)
	if events < audit.Covers(held.Data) { // a record that was cut goes on
		if err := a.lower(ctx, events); err != nil {
			return err
		}
	}
	if _, err = a.store.Put(ctx, anchorKey, held.Revision, checkpoint); err != nil {
		return err
	}
	return a.note(ctx, events)
}

// lower takes back what was noted of events that the record no longer has: others come in their place.
func (a *anchor) lower(ctx context.Context, events uint64) error {
	held, err := a.store.Get(ctx, comparedKey)
	if errors.Is(err, authority.ErrNotFound) || err == nil && comparedOf(held.Data) <= events {
		return nil
	}
	if err != nil {
		return err
	}
	a.noted = events
	_, err = a.store.Put(ctx, comparedKey, held.Revision, strconv.AppendUint(nil, events, 10))
	return err
}

// note says that the authority knows of so many events. The anchor says so of at least as many: a record that lacks them does
// not open.
func (a *anchor) note(ctx context.Context, events uint64) error {
	if !a.settled.Load() || events < a.noted+notedEvery {
		return nil
	}
	held, err := a.store.Get(ctx, comparedKey)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	if a.noted = comparedOf(held.Data); events < a.noted+notedEvery {
		return nil
	}
	if _, err := a.store.Put(ctx, comparedKey, held.Revision, strconv.AppendUint(nil, events, 10)); err != nil {
		return err
	}
	a.noted = events
	return nil
}

// comparedOf reads what note wrote; what is not that compares everything.
func comparedOf(data []byte) uint64 {
	events, err := strconv.ParseUint(string(data), 10, 64)
	if err != nil {
		return 0
	}
	return events
}

// compared is how many of the record's first events the authority is known to know of.
func (p *parts) compared(ctx context.Context) (uint64, error) {
	held, err := p.store.Get(ctx, comparedKey)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return 0, err
	}
	return comparedOf(held.Data), nil
}
