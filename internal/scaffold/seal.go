// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Sealing is what is sealed into the bootstrap document of a managed secret.
type Sealing struct {
	// Estate is the folder of the estate.
	Estate string
	// Secret is the managed secret's name.
	Secret string
	// Value has the fields to seal.
	Value secret.Value
	// Identities open an existing document, so that its other fields are kept.
	Identities []root.Identity
	// Replace makes a document with these fields alone, whatever there was.
	Replace bool
	// Environments are those whose machines may read it, besides the root; none stands for the only one that there is.
	Environments []string
	// Granted is what the platform's operator granted; nil where that cannot be known.
	Granted grant.Set
	// NeverRan: the platform has not run on its host yet, so that its grants file alone grants anything.
	NeverRan bool
}

// Sealed says what Seal wrote.
type Sealed struct {
	// File is the document, beneath the estate's folder as it was given.
	File string
	// New says that there was none before. Fields are those it now holds.
	New    bool
	Fields []string
	// Faults are what the estate breaks beside this document.
	Faults []intent.Fault
	// Recipients are those it is encrypted to.
	Recipients []grant.Grant
}

// sketch is as much of a document as finding one's way takes. The estate need not lint: the document that is about to be
// written may be what is missing.
type sketch struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Annotations     map[string]string
	}
	Spec struct {
		Purpose, Path string
		RotationType  string `yaml:"rotationType"`
		Rotation      *struct {
			UpstreamRef string `yaml:"upstreamRef"`
		}
		Environments        []string
		RootRecipients      []string          `yaml:"rootRecipients"`
		BootstrapRecipients map[string]string `yaml:"bootstrapRecipients"`
		Origin              struct {
			Bootstrap *struct {
				SecretRef string `yaml:"secretRef"`
			}
			Derived any
		}
	}
	Sops struct {
		Age []struct{ Recipient string }
	}
	file string
	raw  []byte
}

// recipients are those to whom a sealed document says that it is encrypted.
func (d *sketch) recipients() (keys []string) {
	for _, key := range d.Sops.Age {
		keys = append(keys, key.Recipient)
	}
	return slices.Compact(slices.Sorted(slices.Values(keys)))
}

// Declared is as much of a managed secret's document as choosing among them takes.
type Declared struct {
	Name, Purpose string
	// Sealed: its first value stands in a bootstrap document. Derived: it is computed from others.
	Sealed, Derived bool
}

// Secrets returns the managed secrets of an estate that need not lint, as far as it can be read, by name.
func Secrets(estate string) []Declared {
	var found []Declared
	sketches, _ := sketchesOf(estate)
	for _, d := range sketches {
		if d.Kind == v1alpha1.KindManagedSecret && v1alpha1.WellNamed(d.Metadata.Name) {
			found = append(found, Declared{d.Metadata.Name, d.Spec.Purpose, d.Spec.Origin.Bootstrap != nil, d.Spec.Origin.Derived != nil})
		}
	}
	slices.SortFunc(found, func(a, b Declared) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Seal writes the bootstrap document of a managed secret: to a new file bootstrap/NAME.yaml in the estate, or over the
// document that there is.
func Seal(ctx context.Context, c Config, s Sealing) (Sealed, error) {
	sketches, err := sketchesOf(s.Estate)
	if err != nil {
		return Sealed{}, err
	}
	platform, declared, existing, err := s.find(sketches)
	if err != nil {
		return Sealed{}, err
	}
	readers, err := s.recipients(platform)
	if err != nil {
		return Sealed{}, err
	}
	doc := root.Document{
		Name: declared.Spec.Origin.Bootstrap.SecretRef, Seeds: s.Secret,
		Binding: v1alpha1.Binding{
			Platform: platform.Metadata.Name, Secret: s.Secret, Path: declared.Spec.Path, Namespace: declared.Metadata.Namespace,
		},
	}
	result := Sealed{File: filepath.Join("bootstrap", doc.Name+".yaml"), New: existing == nil, Recipients: readers}
	if existing != nil {
		result.File = existing.file
		if !s.Replace {
			if doc, err = s.extend(ctx, c, doc, existing); err != nil {
				return Sealed{}, err
			}
		}
	}
	if doc.Value, err = s.over(doc.Value); err != nil {
		return Sealed{}, &root.Error{Doing: "sealing " + s.Secret, Class: ErrInput, Detail: err.Error(), Next: "see docs/documents.md for what a value may be"}
	}
	result.Fields = doc.Value.Names()
	recipients := make([]string, 0, len(readers))
	for _, reader := range readers {
		recipients = append(recipients, reader.To)
	}
	sealed, err := c.Codec.Seal(ctx, doc, recipients)
	if err != nil {
		return Sealed{}, fmt.Errorf("sealing %s: %w", s.Secret, err)
	}
	if result.Faults, err = s.rehearse(c.Types, result.File, sealed, doc.Name); err != nil {
		return Sealed{}, err
	}
	if err := put(s.Estate, result.File, sealed, result.New); err != nil {
		return Sealed{}, err
	}
	result.File = filepath.Join(s.Estate, result.File)
	return result, nil
}

// over is v with the sealed fields put over it.
func (s Sealing) over(v secret.Value) (secret.Value, error) {
	for _, name := range s.Value.Names() {
		var err error
		if v, err = v.With(name, s.Value.Expose(name)); err != nil {
			return secret.Value{}, err
		}
	}
	return v, v.Fits()
}

// find picks the documents that matter.
func (s Sealing) find(sketches []sketch) (platform, declared, existing *sketch, err error) {
	for i, d := range sketches {
		switch {
		case d.Kind == v1alpha1.KindPlatform:
			platform = &sketches[i]
		case d.Kind == v1alpha1.KindManagedSecret && d.Metadata.Name == s.Secret:
			declared = &sketches[i]
		}
	}
	switch {
	case platform == nil || len(platform.Spec.RootRecipients) == 0:
		return nil, nil, nil, &root.Error{Doing: "sealing " + s.Secret, Class: ErrNotDeclared,
			Detail: "the estate has no Platform document with root recipients", Next: "see custody lint"}
	case declared == nil:
		return nil, nil, nil, &root.Error{Doing: fmt.Sprintf("sealing %q", s.Secret), Class: ErrNotDeclared,
			Detail: "the estate has no ManagedSecret of that name",
			Next:   "write its document first: it says what the secret is for, who owns it and who consumes it"}
	case declared.Spec.Origin.Bootstrap == nil || !v1alpha1.WellNamed(declared.Spec.Origin.Bootstrap.SecretRef):
		return nil, nil, nil, &root.Error{Doing: "sealing " + s.Secret, Class: ErrInput,
			Detail: "its origin is not a bootstrap document",
			Next:   "a generated secret is never sealed; for one that exists already write origin: {bootstrap: {secretRef: " + s.Secret + "}}"}
	}
	if _, err := authority.ParsePath(declared.Spec.Path); err != nil {
		return nil, nil, nil, &root.Error{Doing: "sealing " + s.Secret, Class: ErrInput, Detail: "its document has no path that is well-formed",
			Next: "write its path first: the value is sealed for the secret's name and path"}
	}
	for i, d := range sketches {
		if d.Kind == v1alpha1.KindBootstrapSecret && d.Metadata.Name == declared.Spec.Origin.Bootstrap.SecretRef {
			existing = &sketches[i]
		}
	}
	return platform, declared, existing, nil
}

// extend opens the existing document, which must be bound to the same place, so that its other fields are kept.
func (s Sealing) extend(ctx context.Context, c Config, want root.Document, existing *sketch) (root.Document, error) {
	next := "give an identity that opens it with --identity, or leave the other fields out with --replace"
	if len(s.Identities) == 0 {
		return root.Document{}, &root.Error{Doing: "opening " + existing.file, Class: root.ErrWrongKey,
			Detail: "without an identity its other fields cannot be kept", Next: next}
	}
	doc, err := c.Codec.Open(ctx, existing.raw, s.Identities)
	if err != nil {
		if known, ok := errors.AsType[*root.Error](err); ok && errors.Is(err, root.ErrWrongKey) {
			known.Next = next
		}
		return root.Document{}, fmt.Errorf("opening %s: %w", existing.file, err)
	}
	if doc.Binding != want.Binding || doc.Seeds != want.Seeds {
		return root.Document{}, &root.Error{Doing: "opening " + existing.file, Class: root.ErrTampered,
			Detail: "it was sealed for another place", Next: "find out how it came here; --replace leaves out what it held"}
	}
	return doc, nil
}

// rehearse lints a copy of the estate with the sealed document in it. It refuses faults of that document, and returns
// those of others.
func (s Sealing) rehearse(types upstream.Types, file string, sealed []byte, name string) ([]intent.Fault, error) {
	dir, err := os.MkdirTemp("", "custody-seal-")
	if err != nil {
		return nil, fmt.Errorf("checking the sealed document: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := eachDocument(s.Estate, func(name string, data []byte) error {
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o600)
	}); err != nil {
		return nil, err
	}
	to := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return nil, fmt.Errorf("checking the sealed document: %w", err)
	}
	if err := os.WriteFile(to, sealed, 0o600); err != nil {
		return nil, fmt.Errorf("checking the sealed document: %w", err)
	}
	_, faults, err := intent.Load(dir, intent.Options{Types: types})
	if err != nil {
		return nil, fmt.Errorf("checking the sealed document: %w", err)
	}
	for _, fault := range faults {
		if fault.File == filepath.ToSlash(file) || fault.Subject == v1alpha1.KindBootstrapSecret+"/"+name {
			return nil, &root.Error{Doing: "sealing " + s.Secret, Class: ErrInput, Detail: fault.Reason + " [" + fault.Rule + "]", Next: fault.Fix}
		}
	}
	return faults, nil
}

func put(estate, file string, data []byte, fresh bool) error {
	folder, err := durable.Open(estate)
	if err != nil {
		return fmt.Errorf("writing the sealed document: %w", err)
	}
	defer func() { _ = folder.Close() }()
	if err := folder.MakeParents(file); err != nil {
		return fmt.Errorf("writing the sealed document: %w", err)
	}
	if fresh {
		if _, err := folder.Stat(file); err == nil {
			return &root.Error{Doing: "writing the sealed document", Class: ErrExists, Detail: filepath.Join(estate, file),
				Next: "move away what stands there: it is not the document that the secret names"}
		}
	}
	if err := folder.Replace(file, data, document); err != nil {
		return fmt.Errorf("writing the sealed document: %w", err)
	}
	return nil
}

// sketchesOf reads the documents of an estate as far as they can be read.
func sketchesOf(estate string) ([]sketch, error) {
	var sketches []sketch
	err := eachDocument(estate, func(name string, data []byte) error {
		for decoder := yaml.NewDecoder(strings.NewReader(string(data))); ; {
			var d sketch
			err := decoder.Decode(&d)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil { // which quotes the file
				return &root.Error{Doing: "reading the estate", Class: ErrInput, Detail: name + " cannot be read", Next: "see custody lint"}
			}
			d.file, d.raw = name, data
			sketches = append(sketches, d)
		}
	})
	return sketches, err
}

// eachDocument visits the files that intent.Load would read.
func eachDocument(estate string, visit func(name string, data []byte) error) error {
	opened, err := os.OpenRoot(estate)
	if err != nil {
		return fmt.Errorf("opening the estate: %w", err)
	}
	defer func() { _ = opened.Close() }()
	return fs.WalkDir(opened.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("reading the estate: %w", err)
		case name != "." && strings.HasPrefix(entry.Name(), ".") && entry.IsDir():
			return fs.SkipDir
		case strings.HasPrefix(entry.Name(), ".") || !entry.Type().IsRegular():
			return nil
		case filepath.Ext(name) != ".yaml" && filepath.Ext(name) != ".yml":
			return nil
		}
		data, err := fs.ReadFile(opened.FS(), name)
		if err != nil {
			return fmt.Errorf("reading the estate: %w", err)
		}
		return visit(name, data)
	})
}
