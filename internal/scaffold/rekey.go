// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/root"
)

// Rekeying seals every bootstrap document of an estate anew: with a new data key, for the recipients that the estate names now.
type Rekeying struct {
	// Estate is the folder of the estate.
	Estate string
	// Identities open the documents as they are, and may be those that are removed.
	Identities []root.Identity
	// Removed are identities that must open none afterwards. That is tried.
	Removed []root.Identity
	// Environments are those whose machines read a document beside the ones that can be told from it: a recipient that was replaced
	// does not say whose it was.
	Environments []string
	// Granted and NeverRan are those of Sealing.
	Granted  grant.Set
	NeverRan bool
	// Dry writes nothing.
	Dry bool
}

// Rekeyed is one document that was sealed anew.
type Rekeyed struct {
	File   string `json:"file"`
	Secret string `json:"secret"`
	// Recipients are those who can open it now, and Gone the public keys to which it was encrypted before and is no more.
	Recipients []string `json:"recipients"`
	Gone       []string `json:"gone,omitempty"`

	sealed []byte
}

// Rekey makes all documents in memory, proves for each that the removed identities do not open it and that it holds what it held, and
// then writes them, one after another. After an error nothing was written, unless it is one of writing: calling it again goes on then.
func Rekey(ctx context.Context, c Config, r Rekeying) ([]Rekeyed, error) {
	sketches, err := sketchesOf(r.Estate)
	if err != nil {
		return nil, err
	}
	var done []Rekeyed
	for i := range sketches {
		if sketches[i].Kind != v1alpha1.KindBootstrapSecret {
			continue
		}
		one, err := r.anew(ctx, c, sketches, &sketches[i])
		if err != nil {
			return nil, fmt.Errorf("sealing %s again: %w", sketches[i].file, err)
		}
		done = append(done, one)
	}
	slices.SortFunc(done, func(a, b Rekeyed) int { return strings.Compare(a.Secret, b.Secret) })
	for i, one := range done {
		if !r.Dry {
			if err := put(r.Estate, one.File, one.sealed, false); err != nil {
				return nil, err
			}
		}
		done[i].File = filepath.Join(r.Estate, one.File)
	}
	return done, nil
}

// anew seals one document.
func (r Rekeying) anew(ctx context.Context, c Config, sketches []sketch, of *sketch) (Rekeyed, error) {
	doc, err := c.Codec.Open(ctx, of.raw, r.Identities)
	if err != nil {
		return Rekeyed{}, err
	}
	s := Sealing{Estate: r.Estate, Secret: doc.Seeds, Granted: r.Granted, NeverRan: r.NeverRan}
	platform, _, _, err := s.find(sketches)
	if err != nil {
		return Rekeyed{}, err
	}
	before := of.recipients()
	if s.Environments, err = r.readers(platform, before); err != nil {
		return Rekeyed{}, err
	}
	grants, err := s.recipients(platform)
	if err != nil {
		return Rekeyed{}, err
	}
	one := Rekeyed{File: of.file, Secret: doc.Seeds}
	for _, g := range grants {
		one.Recipients = append(one.Recipients, g.To)
	}
	one.Recipients = slices.Compact(slices.Sorted(slices.Values(one.Recipients)))
	one.Gone = slices.DeleteFunc(slices.Clone(before), func(key string) bool { return slices.Contains(one.Recipients, key) })
	if one.sealed, err = c.Codec.Seal(ctx, doc, one.Recipients); err != nil {
		return Rekeyed{}, err
	}
	return one, r.prove(ctx, c, doc, one)
}

// readers are the environments whose machines read a document: those whose recipient it has, and those that were said.
func (r Rekeying) readers(platform *sketch, before []string) ([]string, error) {
	declared := platform.Spec.BootstrapRecipients
	var readers, others []string
	for _, environment := range slices.Sorted(maps.Keys(declared)) {
		if slices.Contains(before, declared[environment]) || slices.Contains(r.Environments, environment) {
			readers = append(readers, environment)
		} else {
			others = append(others, environment)
		}
	}
	stale := slices.DeleteFunc(slices.Clone(before), func(key string) bool {
		return slices.Contains(platform.Spec.RootRecipients, key) || slices.Contains(slices.Collect(maps.Values(declared)), key) ||
			slices.ContainsFunc(r.Removed, func(id root.Identity) bool { return id.Public() == key })
	})
	switch {
	case len(stale) == 0 || len(others) == 0 || len(r.Environments) > 0:
	case len(declared) == 1:
		readers = others
	default:
		return nil, &root.Error{Doing: "choosing who reads it", Class: ErrInput,
			Detail: "it is encrypted to " + strings.Join(stale, ", ") + ", which may have been the key of " + strings.Join(others, " or "),
			Next:   "say with --environment whose machines read such documents, or name the key that was removed with --removed FILE"}
	}
	if len(readers) == 0 && len(declared) > 0 && len(r.Environments) == 0 && len(stale) == 0 && len(before) > 0 { // for the root alone
		return nil, &root.Error{Doing: "choosing who reads it", Class: ErrInput, Detail: "no environment's machines can read it",
			Next: "say with --environment whose machines are to read it"}
	}
	return readers, nil
}

// prove tries that the removed identities do not open what was sealed, and that one which is still a recipient finds in it what it had.
func (r Rekeying) prove(ctx context.Context, c Config, doc root.Document, one Rekeyed) error {
	for _, id := range r.Removed {
		if slices.Contains(one.Recipients, id.Public()) {
			return &root.Error{Doing: "removing a recipient", Class: ErrInput, Detail: id.Public() + " is still a recipient that the estate names",
				Next: "take it out of the Platform document first, and revoke its grant"}
		}
		if _, err := c.Codec.Open(ctx, one.sealed, []root.Identity{id}); !errors.Is(err, root.ErrWrongKey) {
			return &root.Error{Doing: "proving that a removed identity opens it no more", Class: root.ErrTampered, Detail: id.Public() + " opens it", Next: "report this"}
		}
	}
	for _, id := range r.Identities {
		if !slices.Contains(one.Recipients, id.Public()) {
			continue
		}
		again, err := c.Codec.Open(ctx, one.sealed, []root.Identity{id})
		if err != nil || !again.Value.Equal(doc.Value) || again.Binding != doc.Binding {
			return &root.Error{Doing: "proving that it holds what it held", Class: root.ErrTampered, Detail: "it does not", Next: "report this"}
		}
	}
	return nil
}
