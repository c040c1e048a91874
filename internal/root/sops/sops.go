// SPDX-License-Identifier: Apache-2.0

// Package sops reads and writes BootstrapSecret documents: SOPS files with age recipients, which the standard sops
// program can read and edit. Besides the key shares in root, only this package imports the sops library (nearly 600
// packages).
//
// Guaranteed: Open returns the values and the binding that were sealed with the document's data key, or an error; it
// never reads a part of a document that was changed, shortened or is only half encrypted. It uses only the identities
// that it is given: it starts no program and uses no environment variable, key file or key service. It writes nothing
// to disk or to a log, and no error contains a value.
//
// Not guaranteed: SOPS protects integrity, but does not prove authorship. Anybody who knows the recipients can seal
// another document, and everything outside data (name, labels, spec, the list of recipients) is unprotected: the caller
// compares the binding. If /etc/sops/audit.yaml exists, the library reads it, and then logs each decryption.
//
// It accepts only documents that survive tools that reformat or sort them: encrypted_regex ^data$, mac_only_encrypted,
// age recipients in one group. Within data the MAC depends on the order of the keys; Seal writes them sorted.
//
// Cost: one X25519 operation for each recipient (and identity, when opening), and AES-GCM over the value.
package sops

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	getsops "github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/root"
)

const (
	// formatVersion is the sops whose format is written.
	formatVersion = "3.13.3"
	// encryptedRegex selects data and nothing else.
	encryptedRegex = "^data$"
	dataKeyBytes   = 32
)

// Codec seals and opens. Its methods may be called at the same time.
type Codec struct {
	// Now gives the time written as lastmodified.
	Now func() time.Time
	// Random gives data keys; in production crypto/rand.Reader. The library takes its nonces from the system itself.
	Random io.Reader
}

// Seal returns doc as one YAML document, keys in alphabetical order, its data encrypted to each recipient under a new data key:
// whoever kept that of an earlier form of the document cannot read this one.
func (c Codec) Seal(ctx context.Context, doc root.Document, recipients []string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sealing document: %w", err)
	}
	if err := check(doc); err != nil {
		return nil, err
	}
	encrypted, meta, err := c.encrypt(encodeData(doc.Binding, doc.Value), recipients)
	if err != nil {
		return nil, err
	}
	metadata := mapping("name", text(doc.Name))
	if doc.Binding.Namespace != "" {
		metadata = append(metadata, mapping("namespace", text(doc.Binding.Namespace))...)
	}
	if len(doc.Labels) > 0 {
		metadata = append(mapping("labels", texts(doc.Labels)), metadata...)
	}
	spec := mapping("seeds", text(doc.Seeds))
	if len(doc.NeededBy) > 0 {
		spec = append(mapping("neededBy", list(doc.NeededBy)), spec...)
	}
	return emit(tree(slices.Concat(
		mapping("apiVersion", text(v1alpha1.APIVersion)),
		mapping("data", encrypted),
		mapping("kind", text(v1alpha1.KindBootstrapSecret)),
		mapping("metadata", tree(metadata)),
		mapping("sops", meta),
		mapping("spec", tree(spec)),
	)))
}

func check(doc root.Document) error {
	missing := ""
	switch {
	case doc.Name == "":
		missing = "a name"
	case doc.Binding.Platform == "":
		missing = "the platform it is bound to"
	case doc.Binding.Secret == "":
		missing = "the secret it is bound to"
	case doc.Binding.Path == "":
		missing = "the path it is bound to"
	case doc.Seeds != doc.Binding.Secret:
		missing = "one secret: it seeds " + doc.Seeds + " and is bound to " + doc.Binding.Secret
	case doc.Value.Empty():
		missing = "a value"
	}
	if missing != "" {
		return &root.Error{Doing: "sealing document " + doc.Name, Class: root.ErrMalformed, Detail: "it needs " + missing, Next: "complete it"}
	}
	if err := doc.Value.Fits(); err != nil {
		return fmt.Errorf("sealing document %s: %w", doc.Name, err)
	}
	return nil
}

// Open decrypts with the first identity that fits and verifies the whole of data before it returns any of it.
//
// Errors are of class root.ErrWrongKey, root.ErrTampered, root.ErrMalformed (which includes empty and cut short) and
// root.ErrPlaintext.
func (c Codec) Open(ctx context.Context, raw []byte, identities []root.Identity) (root.Document, error) {
	if err := ctx.Err(); err != nil {
		return root.Document{}, fmt.Errorf("opening document: %w", err)
	}
	sealed, err := parse(raw)
	if err != nil {
		return root.Document{}, err
	}
	dataKey, err := sealed.dataKey(identities)
	if err != nil {
		return root.Document{}, err
	}
	branch, err := sealed.decrypt(dataKey)
	if err != nil {
		return root.Document{}, err
	}
	doc := sealed.document
	doc.Binding, doc.Value, err = decodeData(branch)
	if err != nil {
		return root.Document{}, err
	}
	return doc, nil
}

// Recipients lists the age public keys the document names. They are plain and covered by nothing: a list to compare
// with what was declared, no proof of who can read.
func (c Codec) Recipients(raw []byte) ([]string, error) {
	sealed, err := parse(raw)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(sealed.keys))
	for _, key := range sealed.keys {
		names = append(names, key.recipient)
	}
	return names, nil
}

// encrypt encrypts a plain data branch under a new data key, and makes the metadata that goes with it.
func (c Codec) encrypt(plain getsops.TreeBranch, recipients []string) (data, meta *yaml.Node, err error) {
	if len(recipients) == 0 {
		return nil, nil, &root.Error{Doing: "sealing document", Class: root.ErrMalformed, Detail: "no recipients",
			Next: "name the root's public key, and the bootstrap identity's"}
	}
	dataKey := make([]byte, dataKeyBytes)
	if _, err := io.ReadFull(c.Random, dataKey); err != nil {
		return nil, nil, fmt.Errorf("sealing document: reading randomness: %w", err)
	}
	var keys []*yaml.Node
	for _, recipient := range slices.Compact(slices.Sorted(slices.Values(recipients))) {
		if err := root.CheckRecipient(recipient); err != nil { // the library would start plugins
			return nil, nil, fmt.Errorf("sealing document: %w", err)
		}
		key, err := sopsage.MasterKeyFromRecipient(recipient)
		if err != nil {
			return nil, nil, fmt.Errorf("sealing document: encrypting its key to %s: %w", recipient, err)
		}
		if err := key.Encrypt(dataKey); err != nil {
			return nil, nil, fmt.Errorf("sealing document: encrypting its key to %s: %w", recipient, err)
		}
		keys = append(keys, tree(slices.Concat(mapping("enc", text(key.EncryptedKey)), mapping("recipient", text(recipient)))))
	}
	cipher := aes.NewCipher()
	document := newTree(plain)
	mac, err := document.Encrypt(dataKey, cipher)
	if err != nil { // its words may hold what it was given
		return nil, nil, &root.Error{Doing: "sealing document", Class: root.ErrMalformed, Detail: "encrypting its values failed", Next: "report this"}
	}
	modified := c.Now().UTC().Format(time.RFC3339)
	sealedMAC, err := cipher.Encrypt(mac, dataKey, modified)
	if err != nil {
		return nil, nil, &root.Error{Doing: "sealing document", Class: root.ErrMalformed, Detail: "encrypting its MAC failed", Next: "report this"}
	}
	meta = tree(slices.Concat(
		mapping("age", &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: keys}),
		mapping("encrypted_regex", text(encryptedRegex)),
		mapping("lastmodified", text(modified)),
		mapping("mac", text(sealedMAC)),
		mapping("mac_only_encrypted", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}),
		mapping("version", text(formatVersion)),
	))
	return branchNode(document.Branches[0][0].Value.(getsops.TreeBranch)), meta, nil
}

func newTree(data getsops.TreeBranch) getsops.Tree {
	return getsops.Tree{
		Metadata: getsops.Metadata{EncryptedRegex: encryptedRegex, MACOnlyEncrypted: true},
		Branches: getsops.TreeBranches{{{Key: dataField, Value: data}}},
	}
}

// decrypt returns the plain data branch once its MAC is proved.
func (s *sealed) decrypt(dataKey []byte) (getsops.TreeBranch, error) {
	changed := &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrTampered,
		Detail: "its data does not fit its MAC",
		Next:   "restore it from an earlier commit, or edit it with sops, which renews the MAC; if keys were reordered, put those under data back in their order"}
	cipher := aes.NewCipher()
	document := newTree(s.data)
	computed, err := document.Decrypt(dataKey, cipher)
	if err != nil {
		return nil, changed
	}
	kept, err := cipher.Decrypt(s.mac, dataKey, s.modified.Format(time.RFC3339))
	if err != nil {
		return nil, changed
	}
	mac, ok := kept.(string)
	if !ok || subtle.ConstantTimeCompare([]byte(mac), []byte(computed)) != 1 {
		return nil, changed
	}
	branch, ok := document.Branches[0][0].Value.(getsops.TreeBranch)
	if !ok {
		return nil, changed
	}
	return branch, nil
}

// dataKey decrypts the document's key with the first identity that fits.
func (s *sealed) dataKey(identities []root.Identity) ([]byte, error) {
	names := make([]string, 0, len(s.keys))
	replaced := ""
	for _, key := range s.keys {
		names = append(names, key.recipient)
		for _, id := range identities {
			plain, err := root.Decrypt([]root.Identity{id}, []byte(key.sealed))
			switch {
			case err == nil && len(plain) == dataKeyBytes && key.recipient == id.Public():
				return plain, nil
			case err == nil || key.recipient == id.Public():
				replaced = key.recipient // another entry or identity may still fit
			}
		}
	}
	if replaced != "" {
		return nil, &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrTampered,
			Detail: "the key kept for " + replaced + " is damaged or was replaced", Next: "restore it from an earlier commit"}
	}
	return nil, &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrWrongKey,
		Detail: "it is encrypted to " + strings.Join(names, ", ") + "; tried " + root.PublicKeys(identities),
		Next:   "give an identity it is encrypted to, or re-encrypt it to this one with the root identity"}
}
