// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"context"
	"iter"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
)

// journals is the real journal, except that a record which has not changed is not decoded again.
type journals struct {
	*journal.Journal
	w *World
}

// Load reads the record through the door, as the real journal does.
func (j journals) Load(ctx context.Context, path authority.Path) (*journal.Entry, error) {
	held, err := j.LoadHeld(ctx, path)
	if err != nil {
		return nil, err
	}
	return &held.Entry, nil
}

// LoadHeld is Load with the values.
func (j journals) LoadHeld(ctx context.Context, path authority.Path) (*journal.Held, error) {
	outside, _ := j.w.outside()
	document, err := outside.Get(ctx, "secret/"+string(path))
	j.w.enter()
	defer j.w.leave()
	held, err := j.w.decode(ctx, path, document, err)
	if err != nil {
		return nil, err
	}
	own := *held // engines change the entry and its live run in place, everything else is replaced
	if own.Live != nil {
		run := *own.Live
		own.Live = &run
	}
	return &own, nil
}

// Save saves through the door and shows what was saved to whoever watches.
func (j journals) Save(ctx context.Context, entry *journal.Entry) error {
	if err := j.Journal.Save(ctx, entry); err != nil {
		return err
	}
	j.shown(entry)
	return nil
}

// SaveHeld is Save with the values.
func (j journals) SaveHeld(ctx context.Context, held *journal.Held) error {
	if err := j.Journal.SaveHeld(ctx, held); err != nil {
		return err
	}
	j.shown(&held.Entry)
	return nil
}

func (j journals) shown(entry *journal.Entry) {
	j.w.enter()
	defer j.w.leave()
	j.w.closing(entry)
	if j.w.saved != nil {
		j.w.saved(entry)
	}
}

// entry reads a secret's journal entry past the faults. Callers must not change it.
func (w *World) entry(path authority.Path) *journal.Entry { return &w.held(path).Entry }

// held is entry with the values.
func (w *World) held(path authority.Path) *journal.Held {
	document, err := w.store.Get(context.Background(), "secret/"+string(path))
	held, err := w.decode(context.Background(), path, document, err)
	if err != nil {
		panic("sim: reading the double's journal: " + err.Error())
	}
	return held
}

// version is a journal record as it was stored.
type version struct {
	revision authority.Revision
	data     string
}

func (w *World) decode(ctx context.Context, path authority.Path, held authority.Document, err error) (*journal.Held, error) {
	if err != nil {
		return journal.New(answer{held, err}).LoadHeld(ctx, path)
	}
	if last := w.entries[path]; last != nil && last.record.Revision == held.Revision && bytes.Equal(last.record.Data, held.Data) {
		return last.entry, nil
	}
	key := version{held.Revision, string(held.Data)}
	entry := w.decoded[key]
	if entry == nil {
		if entry, err = journal.New(answer{held, nil}).LoadHeld(ctx, path); err != nil {
			return nil, err
		}
		w.decoded[key] = entry
	}
	w.entries[path] = &cachedEntry{held, entry}
	return entry, nil
}

// answer is the reply that was had to reading one record.
type answer struct {
	record authority.Document
	err    error
}

func (a answer) Get(context.Context, string) (authority.Document, error) { return a.record, a.err }

func (a answer) Put(context.Context, string, authority.Revision, []byte) (authority.Revision, error) {
	panic("sim: loading an entry writes nothing")
}

func (a answer) Keys(context.Context, string) iter.Seq2[string, error] {
	panic("sim: loading an entry lists nothing")
}
