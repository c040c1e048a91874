// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// Sealer keeps the keyset closed at rest. Errors of Unwrap say what was tried and never quote what it was tried on.
type Sealer interface {
	// Wrap encrypts plaintext so that Unwrap gives it back.
	Wrap(plaintext []byte) ([]byte, error)
	// Unwrap is the inverse of Wrap; it errors when the key does not fit or the input was changed.
	Unwrap(wrapped []byte) ([]byte, error)
}

// KeyBytes is the length of a raw unseal key.
const KeyBytes = 32

var keysetContext = []byte("custody embedded authority keyset")

type keySealer struct {
	aead *subtle.AESGCM
	from string
}

// newKeySealer wraps with AES-256-GCM under a raw key of KeyBytes bytes; from says for people where the key comes from.
func newKeySealer(key []byte, from string) (Sealer, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("making sealer from %s: it has %d bytes, want %d", from, len(key), KeyBytes)
	}
	primitive, err := subtle.NewAESGCM(key)
	if err != nil {
		return nil, fmt.Errorf("making sealer from %s: the key is unusable", from)
	}
	return &keySealer{primitive, from}, nil
}

// Wrap implements Sealer.
func (s *keySealer) Wrap(plaintext []byte) ([]byte, error) {
	return s.aead.Encrypt(plaintext, keysetContext)
}

// Unwrap implements Sealer.
func (s *keySealer) Unwrap(wrapped []byte) ([]byte, error) {
	plaintext, err := s.aead.Decrypt(wrapped, keysetContext)
	if err != nil {
		return nil, fmt.Errorf("%s (a raw key) does not open the keyset", s.from)
	}
	return plaintext, nil
}

type ageSealer struct {
	identities []age.Identity
	recipients []age.Recipient
	from       string
}

// newAgeSealer wraps to the identities' own recipients and to the recipients given (the root), any of which can unwrap.
// For an identity whose recipient cannot be told from it, recipients must name it.
func newAgeSealer(identities []age.Identity, recipients []age.Recipient, from string) (Sealer, error) {
	all := append([]age.Recipient{}, recipients...)
	for _, identity := range identities {
		switch own := identity.(type) {
		case *age.X25519Identity:
			all = append(all, own.Recipient())
		case *age.HybridIdentity:
			all = append(all, own.Recipient())
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("making sealer from %s: no recipient is known for it", from)
	}
	return &ageSealer{identities, all, from}, nil
}

// Wrap implements Sealer.
func (s *ageSealer) Wrap(plaintext []byte) ([]byte, error) {
	var wrapped bytes.Buffer
	into, err := age.Encrypt(&wrapped, s.recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypting to %d age recipients: %w", len(s.recipients), err)
	}
	if _, err := into.Write(plaintext); err != nil {
		return nil, errors.New("encrypting to age recipients failed")
	}
	if err := into.Close(); err != nil {
		return nil, errors.New("encrypting to age recipients failed")
	}
	return wrapped.Bytes(), nil
}

// Unwrap implements Sealer.
func (s *ageSealer) Unwrap(wrapped []byte) ([]byte, error) {
	refused := fmt.Errorf("%s (%d age identities) does not open the keyset", s.from, len(s.identities))
	from, err := age.Decrypt(bytes.NewReader(wrapped), s.identities...)
	if err != nil {
		return nil, refused
	}
	plaintext, err := io.ReadAll(from)
	if err != nil {
		return nil, refused
	}
	return plaintext, nil
}

// OpensForRoots reports whether what a key wraps can be unwrapped by the recipients that it was made with, too.
func OpensForRoots(key Sealer) bool {
	made, is := key.(*ageSealer)
	return is && len(made.recipients) > 0
}
