// SPDX-License-Identifier: Apache-2.0

// Package bootstrap decrypts the bootstrap documents (encrypted first values) of an estate, in memory, and checks that
// each belongs to the secret that it was found for.
//
// Guaranteed: it returns a value only if the whole document can be decrypted, its encrypted binding names the expected
// platform, secret, path and namespace, and the value has a form that a managed secret can have. It writes nothing to
// disk or to a log; no error contains a value.
//
// Not guaranteed: that the document is the newest, or who sealed it. The binding says where a value belongs, and
// anybody who knows the recipients can seal another value for the same place. Only signed commits would prevent that.
//
// Cost: one decryption of the document for each call; nothing is cached.
package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// Classes of failure beside those of root, found with errors.Is.
var (
	// ErrBinding: the document belongs elsewhere: a blob copied to another secret, path, platform or namespace.
	ErrBinding = errors.New("the document belongs elsewhere")
	// ErrNoIdentity: this platform holds no bootstrap identity, or has retired it; nothing in Git can be decrypted.
	ErrNoIdentity = errors.New("no bootstrap identity")
)

// Opener opens a sealed document. Its errors are of root's classes and hold no value.
type Opener interface {
	Open(ctx context.Context, raw []byte, identities []root.Identity) (root.Document, error)
}

// Config is what a Decryptor needs.
type Config struct {
	// Open opens documents.
	Open Opener
	// Identities are the platform's bootstrap identities; none once they are retired.
	Identities []root.Identity
	// Platform is the one this process runs. Documents bound to another are refused.
	Platform string
}

// Decryptor reads bootstrap documents. Its methods may be called at the same time.
type Decryptor struct{ config Config }

// New makes a Decryptor.
func New(config Config) *Decryptor { return &Decryptor{config} }

// Read opens raw and returns its value if the document is bound to want. A want without a platform means this one.
//
// Errors are ErrNoIdentity, ErrBinding, or of root's classes; each tells the operator's next move (Hint).
func (d *Decryptor) Read(ctx context.Context, raw []byte, want v1alpha1.Binding) (secret.Value, error) {
	if want.Platform == "" {
		want.Platform = d.config.Platform
	}
	if want.Secret == "" || want.Path == "" || want.Platform != d.config.Platform {
		return secret.Value{}, &root.Error{Doing: "reading bootstrap document", Class: ErrBinding,
			Detail: fmt.Sprintf("it was asked for as %s, and this is platform %s", place(want), d.config.Platform),
			Next:   "run it on the platform it belongs to"}
	}
	if len(d.config.Identities) == 0 {
		return secret.Value{}, &root.Error{Doing: "reading bootstrap document of " + want.Secret, Class: ErrNoIdentity,
			Detail: "the bootstrap identity is absent or retired",
			Next:   "restore the identity file that the host file names as bootstrapIdentity, and the handover continues by itself; or make another identity and seal the value to it: " + next.Enroll()}
	}
	doc, err := d.config.Open.Open(ctx, raw, d.config.Identities)
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading bootstrap document of %s: %w", want.Secret, err)
	}
	if doc.Binding != want {
		return secret.Value{}, &root.Error{Doing: "reading bootstrap document " + doc.Name, Class: ErrBinding,
			Detail: fmt.Sprintf("it was sealed for %s and stands in %s", place(doc.Binding), place(want)),
			Next:   "restore the document that was sealed for this place; if the secret was renamed or moved before its handover, seal its value again: `custody seal " + want.Secret + " --replace`"}
	}
	if doc.Seeds != want.Secret {
		return secret.Value{}, &root.Error{Doing: "reading bootstrap document " + doc.Name, Class: ErrBinding,
			Detail: fmt.Sprintf("its spec seeds %s and it was sealed for %s", doc.Seeds, doc.Binding.Secret),
			Next:   "correct spec.seeds, or restore the document from an earlier commit"}
	}
	if doc.Value.Empty() {
		return secret.Value{}, &root.Error{Doing: "reading bootstrap document " + doc.Name, Class: root.ErrMalformed, Detail: "it holds no value",
			Next: "put the value in with sops edit"}
	}
	if err := doc.Value.Fits(); err != nil {
		return secret.Value{}, fmt.Errorf("reading bootstrap document %s: %w", doc.Name, err)
	}
	return doc.Value, nil
}

func place(b v1alpha1.Binding) string {
	text := fmt.Sprintf("secret %s of platform %s", b.Secret, b.Platform)
	if b.Path != "" {
		text += ", path " + b.Path
	}
	if b.Namespace != "" {
		text += ", namespace " + b.Namespace
	}
	return text
}

// Found is a document as it stands in the estate.
type Found struct {
	// Raw is the file's content.
	Raw []byte
	// Namespace is that of the document that declares the secret, Path where that says its value lives.
	Namespace, Path string
}

// Lookup finds the bootstrap document of a managed secret in the estate that is in force now.
type Lookup func(ctx context.Context, secretName string) (Found, error)

// Source gives values by the name of the managed secret.
type Source struct {
	decryptor *Decryptor
	lookup    Lookup
}

// Source reads the documents that lookup finds.
func (d *Decryptor) Source(lookup Lookup) Source { return Source{d, lookup} }

// Value returns the bootstrap value of one managed secret; it errors as Read does, and with what lookup says.
func (s Source) Value(ctx context.Context, secretName string) (secret.Value, error) {
	found, err := s.lookup(ctx, secretName)
	if err != nil {
		return secret.Value{}, fmt.Errorf("finding bootstrap document of %s: %w", secretName, err)
	}
	return s.decryptor.Read(ctx, found.Raw, v1alpha1.Binding{
		Platform: s.decryptor.config.Platform, Secret: secretName, Namespace: found.Namespace, Path: found.Path,
	})
}
