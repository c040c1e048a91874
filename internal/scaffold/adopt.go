// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// NewDocument is a document that an estate is to gain.
type NewDocument struct {
	// File is relative to the estate.
	File string
	Text []byte
	// Secret and Path are of the ManagedSecret that Value is sealed for; with an empty value nothing is sealed.
	Secret, Path string
	Value        secret.Value
}

// Adoption is what an estate gains at once.
type Adoption struct {
	Estate    string
	Documents []NewDocument
	// Beside are files outside the estate that are written with it, by their paths.
	Beside map[string][]byte
	// Environments, Granted and NeverRan are those of Sealing.
	Environments []string
	Granted      grant.Set
	NeverRan     bool
	// Dry lints and writes nothing.
	Dry bool
}

// Adopt seals the values and writes all documents, or none: what it wrote before an error is removed again. It replaces no file.
// What it would write must lint. It returns the files that it wrote, the faults that the estate has besides, and what the
// estate asks for with them.
func Adopt(ctx context.Context, c Config, a Adoption) (files []string, faults []intent.Fault, needs []grant.Need, err error) {
	sketches, err := sketchesOf(a.Estate)
	if err != nil {
		return nil, nil, nil, err
	}
	var platform *sketch
	for i := range sketches {
		if sketches[i].Kind == v1alpha1.KindPlatform {
			platform = &sketches[i]
		}
	}
	if platform == nil || len(platform.Spec.RootRecipients) == 0 {
		return nil, nil, nil, &root.Error{Doing: "adopting", Class: ErrNotDeclared, Detail: "the estate " + a.Estate + " has no Platform document with root recipients",
			Next: "make a platform first: `custody init DIR`"}
	}
	fresh := map[string][]byte{}
	for _, d := range a.Documents {
		fresh[d.File] = d.Text
		if d.Value.Empty() {
			continue
		}
		readers, err := Sealing{Estate: a.Estate, Secret: d.Secret, Environments: a.Environments, Granted: a.Granted, NeverRan: a.NeverRan}.recipients(platform)
		if err != nil {
			return nil, nil, nil, err
		}
		recipients := make([]string, 0, len(readers))
		for _, reader := range readers {
			recipients = append(recipients, reader.To)
		}
		sealed, err := c.Codec.Seal(ctx, root.Document{
			Name: d.Secret, Seeds: d.Secret, Value: d.Value,
			Binding: v1alpha1.Binding{Platform: platform.Metadata.Name, Secret: d.Secret, Path: d.Path},
		}, recipients)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("sealing %s: %w", d.Secret, err)
		}
		fresh[filepath.Join("bootstrap", d.Secret+".yaml")] = sealed
	}
	if faults, needs, err = a.rehearse(c, fresh); err != nil || a.Dry {
		return nil, faults, needs, err
	}
	files, err = a.write(fresh)
	return files, faults, needs, err
}

// rehearse lints a copy of the estate with what is new in it. A fault of what is new is an error.
func (a Adoption) rehearse(c Config, fresh map[string][]byte) (others []intent.Fault, needs []grant.Need, err error) {
	dir, err := os.MkdirTemp("", "custody-adopt-")
	if err != nil {
		return nil, nil, fmt.Errorf("checking the documents: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	put := func(name string, data []byte) error {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("checking the documents: %w", err)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			return fmt.Errorf("checking the documents: %w", err)
		}
		return nil
	}
	if err := eachDocument(a.Estate, put); err != nil {
		return nil, nil, err
	}
	for name, data := range fresh {
		if _, err := os.Lstat(filepath.Join(a.Estate, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, a.exists(filepath.Join(a.Estate, name))
		}
		if err := put(name, data); err != nil {
			return nil, nil, err
		}
	}
	estate, faults, err := intent.Load(dir, intent.Options{Types: c.Types})
	if err != nil {
		return nil, nil, fmt.Errorf("checking the documents: %w", err)
	}
	for _, fault := range faults {
		if _, own := fresh[filepath.FromSlash(fault.File)]; own {
			return nil, nil, &root.Error{Doing: "adopting", Class: ErrInput, Detail: fault.File + ": " + fault.Subject + ": " + fault.Reason + " [" + fault.Rule + "]. Nothing was written", Next: fault.Fix}
		}
	}
	if estate != nil {
		needs = grant.Needed(estate)
	}
	return faults, needs, nil
}

func (a Adoption) exists(name string) error {
	return &root.Error{Doing: "adopting", Class: ErrExists, Detail: name + " is there already. Nothing was written", Next: "move it away, or give the secret another name in the answers file"}
}

// write makes all files, or removes those that it made.
func (a Adoption) write(fresh map[string][]byte) (files []string, err error) {
	type place struct {
		folder *durable.Folder
		name   string
	}
	var made []place
	defer func() {
		if err != nil {
			for _, p := range slices.Backward(made) {
				err = errors.Join(err, p.folder.Remove(p.name))
			}
			files = nil
		}
		for _, p := range made {
			_ = p.folder.Close()
		}
	}()
	one := func(dir, name string, data []byte) error {
		folder, err := durable.Open(dir)
		if err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if err = folder.MakeParents(name); err == nil {
			err = folder.CreateAs(name, data, document)
		}
		if err != nil {
			_ = folder.Close()
			if errors.Is(err, fs.ErrExist) {
				return a.exists(filepath.Join(dir, name))
			}
			return fmt.Errorf("adopting: %w. Nothing was written", err)
		}
		made = append(made, place{folder, name})
		files = append(files, filepath.Join(dir, name))
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(fresh)) {
		if err := one(a.Estate, name, fresh[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Beside)) {
		if err := one(filepath.Dir(name), filepath.Base(name), a.Beside[name]); err != nil {
			return nil, err
		}
	}
	return files, nil
}
