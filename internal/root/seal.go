// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"filippo.io/age/armor"

	"custody.dev/custody/internal/secret"
)

// Encrypt encrypts plain to every recipient; each can decrypt it alone. The result is age's binary form.
func Encrypt(recipients []string, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := encrypt(&out, recipients, plain); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// EncryptArmored is Encrypt in age's printable form, for text files.
func EncryptArmored(recipients []string, plain []byte) ([]byte, error) {
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	if err := encrypt(armored, recipients, plain); err != nil {
		return nil, err
	}
	if err := armored.Close(); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return out.Bytes(), nil
}

func encrypt(out io.Writer, recipients []string, plain []byte) error {
	writer, err := EncryptTo(out, recipients)
	if err != nil {
		return err
	}
	if _, err := writer.Write(plain); err != nil {
		return fmt.Errorf("encrypting: %w", err)
	}
	if err := writer.Close(); err != nil {
		return fmt.Errorf("encrypting: %w", err)
	}
	return nil
}

// Decrypt reads what Encrypt, EncryptArmored or stock age wrote, with the first identity that fits. It returns the
// whole plaintext or an error: ErrWrongKey when no identity fits, ErrMalformed when the message is cut short or changed.
func Decrypt(identities []Identity, sealed []byte) ([]byte, error) {
	var source io.Reader = bytes.NewReader(sealed)
	if trimmed := bytes.TrimSpace(sealed); bytes.HasPrefix(trimmed, []byte(armor.Header)) {
		source = armor.NewReader(bytes.NewReader(trimmed))
	}
	reader, err := DecryptFrom(source, identities)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// EncryptValue is EncryptArmored over the value's canonical form, which is what the root holder reads after Decrypt.
func EncryptValue(recipients []string, v secret.Value) ([]byte, error) {
	return EncryptArmored(recipients, v.Encode())
}

// PublicKeys lists the public keys of identities for a message; they are not secret.
func PublicKeys(identities []Identity) string {
	if len(identities) == 0 {
		return "none"
	}
	keys := make([]string, 0, len(identities))
	for _, id := range identities {
		keys = append(keys, id.Public())
	}
	return strings.Join(keys, ", ")
}
