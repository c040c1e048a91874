// SPDX-License-Identifier: Apache-2.0

// Package root is the root of trust: age identities, the shares that a root key (recovery key) is split into, and the
// few things that are encrypted directly to recipients.
//
// Guaranteed: an Identity and a Share are redacted under every formatting verb, in JSON, YAML, text and slog. No error
// of this package contains a private key, the content of a share or a plaintext. Shares are combined into the key that
// they were split from, or into none. The standard age program can read the files, and this package can read age's
// identity files. It starts no program (age plugins are refused) and reads no environment variable.
//
// Not guaranteed: memory is not wiped; age and the splitting take randomness directly from the operating system; age
// protects integrity, but does not prove who encrypted.
//
// Cost: one X25519 operation for each recipient or identity that is tried; a post-quantum recipient costs about ten
// times that, and 1.5 KiB in each message.
package root

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"filippo.io/age"

	"custody.dev/custody/internal/secret"
)

// Identity is a private key. It is an age.Identity; the zero Identity fits nothing.
//
// The key hangs behind two pointers: fmt calls no method of an enclosing struct's unexported field, and follows one
// pointer when the verb does not suit it.
type Identity struct{ in **key }

type key struct {
	text   string
	public string
	age    age.Identity
}

var _ age.Identity = Identity{}

// NewIdentity makes an X25519 identity. age draws it from the system's randomness.
func NewIdentity() (Identity, error) {
	made, err := age.GenerateX25519Identity()
	if err != nil {
		return Identity{}, fmt.Errorf("making identity: %w", err)
	}
	return parseLine(made.String())
}

// parseLine reads one private key. The error says nothing of the line.
func parseLine(line string) (Identity, error) {
	if x, err := age.ParseX25519Identity(line); err == nil {
		return hide(&key{text: x.String(), public: x.Recipient().String(), age: x}), nil
	}
	if h, err := age.ParseHybridIdentity(line); err == nil {
		return hide(&key{text: h.String(), public: h.Recipient().String(), age: h}), nil
	}
	return Identity{}, ErrMalformed
}

func hide(k *key) Identity { return Identity{&k} }

// Public is the recipient that encrypts to this identity: age1…. It is not secret.
func (i Identity) Public() string {
	if i.in == nil {
		return ""
	}
	return (*i.in).public
}

// Unwrap makes Identity an age.Identity.
func (i Identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if i.in == nil {
		return nil, age.ErrIncorrectIdentity
	}
	return (*i.in).age.Unwrap(stanzas)
}

// ExposeFile returns the identity file that stock age reads, private key included, for a file of mode 0600 or a
// terminal.
func (i Identity) ExposeFile(created time.Time) []byte {
	if i.in == nil {
		return nil
	}
	return fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", created.UTC().Format(time.RFC3339), (*i.in).public, (*i.in).text)
}

// Parse reads an identity file: private keys of age (X25519 or post-quantum), one a line, beside blank lines and #
// comments. It yields one identity at least. Errors name the line and never quote it.
func Parse(text []byte) ([]Identity, error) {
	if bytes.HasPrefix(text, []byte("age-encryption.org/")) || bytes.HasPrefix(text, []byte("-----BEGIN AGE")) {
		return nil, &Error{Doing: "reading identity", Class: ErrMalformed, Detail: "the identity file is itself encrypted",
			Next: "decrypt it first (age --decrypt) and give the result"}
	}
	var found []Identity
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := parseLine(line)
		if err != nil {
			next := "give the file that age-keygen or custody init wrote: a line that begins with AGE-SECRET-KEY-"
			if strings.HasPrefix(line, "age1") {
				next = "this is a public key; give the file with the private key to it"
			}
			return nil, &Error{Doing: "reading identity", Class: ErrMalformed, Detail: fmt.Sprintf("line %d is no private key of age", number), Next: next}
		}
		found = append(found, id)
	}
	if len(found) == 0 {
		return nil, &Error{Doing: "reading identity", Class: ErrMalformed, Detail: "no private key in it",
			Next: "give the file that age-keygen or custody init wrote: a line that begins with AGE-SECRET-KEY-"}
	}
	return found, nil
}

// CheckRecipient reports whether text is a public key this package encrypts to: age's own X25519 (age1…) or
// post-quantum (age1pq1…) keys. Keys of plugins and SSH keys are refused.
func CheckRecipient(text string) error {
	_, err := parseRecipient(text)
	return err
}

func parseRecipient(text string) (age.Recipient, error) {
	if x, err := age.ParseX25519Recipient(text); err == nil {
		return x, nil
	}
	if h, err := age.ParseHybridRecipient(text); err == nil {
		return h, nil
	}
	// The text is not quoted: it may be a private key in the wrong place.
	next := "give a public key of age (age1…), as age-keygen -y prints it; keys of plugins and SSH keys are not taken"
	if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
		next = "this is a private key: if it was stored here, treat it as exposed; give the public key to it (age-keygen -y)"
	}
	return nil, &Error{Doing: "reading recipient", Class: ErrMalformed, Detail: "not a public key of age", Next: next}
}

// String, GoString, Format, MarshalJSON, MarshalText, MarshalYAML and LogValue all redact.
func (i Identity) String() string { return secret.Redacted }

// GoString redacts.
func (i Identity) GoString() string { return secret.Redacted }

// Format redacts under every verb and flag.
func (i Identity) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, secret.Redacted) }

// MarshalJSON redacts; ExposeFile is the form that keeps the key.
func (i Identity) MarshalJSON() ([]byte, error) { return json.Marshal(secret.Redacted) }

// MarshalText redacts.
func (i Identity) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }

// MarshalYAML redacts.
func (i Identity) MarshalYAML() (any, error) { return secret.Redacted, nil }

// LogValue redacts.
func (i Identity) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }
