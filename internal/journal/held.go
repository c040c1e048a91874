// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// Held is a secret's whole document: its Entry and the values that its run holds. The engines alone load it; whoever only
// answers questions loads the Entry.
//
// The values are in the document for as long as something owns them, and no longer: the write that closes a run removes
// its values. See owned.
type Held struct {
	Entry
	// Pending are the values of the live run, nil before it has any.
	Pending *Pending
	// Kept is the candidate of a run of an older state that may be in use; see Recovery.Pending.
	Kept *Pending
}

// Pending are what a run replaces, which may be empty, and what it replaces that with.
type Pending struct {
	Run            authority.RunID
	Old, Candidate secret.Value
	// Replaced are credentials that the run itself had made, and that end after Old: the upstream may accept them, and a value that
	// somebody else wrote was adopted in their place.
	Replaced []secret.Value
}

// stored is the form of a document in the authority: the one place where its values are spelled out.
type stored struct {
	Entry
	Pending *storedValues `json:"pending,omitempty"`
	Kept    *storedValues `json:"kept,omitempty"`
}

type storedValues struct {
	Run       authority.RunID   `json:"run"`
	Old       json.RawMessage   `json:"old,omitempty"`
	Candidate json.RawMessage   `json:"candidate"`
	Replaced  []json.RawMessage `json:"replaced,omitempty"`
}

// owned drops the values that nothing owns any more: Pending is the live run's, Kept is what Recovery names.
func (h *Held) owned() {
	if h.Pending != nil && (h.Live == nil || h.Live.ID != h.Pending.Run) {
		h.Pending = nil
	}
	if r := h.RecoveryNow(); h.Kept != nil && (r == nil || r.Pending != h.Kept.Run) {
		h.Kept = nil
	}
}

// Candidates are those that an upstream may honour though they were not promoted.
func (h *Held) Candidates() []secret.Value {
	var found []secret.Value
	for _, values := range []*Pending{h.Pending, h.Kept} {
		if values != nil && !values.Candidate.Empty() {
			found = append(found, values.Candidate)
		}
	}
	return found
}

// LoadHeld returns the document for path; one that was never saved comes back fresh.
func (j *Journal) LoadHeld(ctx context.Context, path authority.Path) (*Held, error) {
	document, err := j.documents.Get(ctx, keyPrefix+string(path))
	if errors.Is(err, authority.ErrNotFound) {
		return &Held{Entry: Entry{Schema: Schema, Path: path}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("loading journal of %s: %w", path, err)
	}
	held, err := unpack(document)
	if err != nil {
		j.saw(undecoded(document, err))
		return nil, err
	}
	j.saw(&held.Entry)
	return held, nil
}

func unpack(document authority.Document) (*Held, error) {
	found, err := decode(document)
	if err != nil {
		return nil, err
	}
	held, err := found.held()
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrUnreadable, document.Key, err)
	}
	return held, nil
}

func (s *stored) held() (*Held, error) {
	pending, err := s.Pending.values()
	kept, failed := s.Kept.values()
	return &Held{Entry: s.Entry, Pending: pending, Kept: kept}, errors.Join(err, failed)
}

// whole is an error when the document is not that of path, or holds values that are none.
func (s *stored) whole(path authority.Path) error {
	if s.Path != path {
		return fmt.Errorf("it is that of path %q", s.Path)
	}
	_, err := s.held()
	return err
}

func (v *storedValues) values() (*Pending, error) {
	if v == nil {
		return nil, nil
	}
	candidate, err := secret.Decode(v.Candidate)
	if err != nil {
		return nil, err
	}
	values := &Pending{Run: v.Run, Candidate: candidate}
	if len(v.Old) > 0 {
		values.Old, err = secret.Decode(v.Old)
	}
	for _, one := range v.Replaced {
		replaced, failed := secret.Decode(one)
		values.Replaced, err = append(values.Replaced, replaced), errors.Join(err, failed)
	}
	return values, err
}

// SaveHeld is Save for a whole document. Each of its values fits secret.MaxBytes, or nothing is written.
func (j *Journal) SaveHeld(ctx context.Context, held *Held) error {
	if held.Fault != nil {
		return fmt.Errorf("saving journal of %s: %w", held.Path, held.Fault)
	}
	document, err := Document(held)
	if err != nil {
		return err
	}
	revision, err := j.documents.Put(ctx, document.Key, document.Revision, document.Data)
	if errors.Is(err, authority.ErrConflict) {
		return fmt.Errorf("saving journal of %s: %w", held.Path, ErrSuperseded)
	}
	if err != nil {
		return fmt.Errorf("saving journal of %s: %w", held.Path, err)
	}
	held.revision, held.valued = revision, held.Pending != nil || held.Kept != nil
	j.saw(&held.Entry)
	return nil
}

// Document is the form in which held is stored, over the revision that it was loaded with: for a change that SaveHeld cannot
// make, because more than one document changes.
func Document(held *Held) (authority.Document, error) {
	held.owned()
	held.Schema = Schema
	out := stored{Entry: held.Entry}
	var err error
	if out.Pending, err = spell(held.Pending); err != nil {
		return authority.Document{}, fmt.Errorf("encoding journal of %s: %w", held.Path, err)
	}
	if out.Kept, err = spell(held.Kept); err != nil {
		return authority.Document{}, fmt.Errorf("encoding journal of %s: %w", held.Path, err)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return authority.Document{}, fmt.Errorf("encoding journal of %s: %w", held.Path, err)
	}
	return authority.Document{Key: keyPrefix + string(held.Path), Revision: held.revision, Data: data}, nil
}

func spell(values *Pending) (*storedValues, error) {
	if values == nil {
		return nil, nil
	}
	if err := errors.Join(values.Old.Fits(), values.Candidate.Fits()); err != nil {
		return nil, err
	}
	for _, one := range values.Replaced {
		if err := one.Fits(); err != nil {
			return nil, err
		}
	}
	out := &storedValues{Run: values.Run, Candidate: values.Candidate.Encode()}
	if !values.Old.Empty() {
		out.Old = values.Old.Encode()
	}
	for _, one := range values.Replaced {
		out.Replaced = append(out.Replaced, one.Encode())
	}
	return out, nil
}
