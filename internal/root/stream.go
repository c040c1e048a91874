// SPDX-License-Identifier: Apache-2.0

package root

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// EncryptTo returns a writer that encrypts to every recipient and writes to out in age's binary form. Nothing that is larger than a
// chunk (64 KiB) is kept in memory. Without Close the message is cut short, which DecryptFrom finds.
func EncryptTo(out io.Writer, recipients []string) (io.WriteCloser, error) {
	to, err := Recipients(recipients)
	if err != nil {
		return nil, err
	}
	writer, err := age.Encrypt(out, to...)
	if err != nil { // post-quantum and other recipients do not mix in one message
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return writer, nil
}

// Recipients parses public keys, of which there must be one at least.
func Recipients(texts []string) ([]age.Recipient, error) {
	if len(texts) == 0 {
		return nil, &Error{Doing: "encrypting", Class: ErrMalformed, Detail: "no recipients", Next: "name one public key of age at least"}
	}
	var to []age.Recipient
	for _, text := range texts {
		recipient, err := parseRecipient(text)
		if err != nil {
			return nil, err
		}
		to = append(to, recipient)
	}
	return to, nil
}

// DecryptFrom reads what EncryptTo wrote, with the first identity that fits. Each chunk is verified before it is returned. Only io.EOF says
// that the message ended where it was meant to: until then what was read may be the beginning of another. Errors are those of Decrypt.
func DecryptFrom(in io.Reader, identities []Identity) (io.Reader, error) {
	if len(identities) == 0 {
		return nil, &Error{Doing: "decrypting", Class: ErrWrongKey, Detail: "no identity was given", Next: "give the file with the private key"}
	}
	tried := make([]age.Identity, 0, len(identities))
	for _, id := range identities {
		tried = append(tried, id)
	}
	reader, err := age.Decrypt(in, tried...)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, &Error{Doing: "decrypting", Class: ErrWrongKey, Detail: "tried " + PublicKeys(identities),
			Next: "give the identity it was encrypted to; custody's own messages go to the root and say so where they are kept"}
	}
	if err != nil {
		return nil, cutShort(err)
	}
	return decrypting{reader}, nil
}

// decrypting has errors that say nothing of what was read.
type decrypting struct{ io.Reader }

func (d decrypting) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = cutShort(err)
	}
	return n, err
}

// cutShort is the error of a message that age does not read. age's own words may quote what it read; what the file system said is kept.
func cutShort(err error) error {
	if failed, is := errors.AsType[interface {
		error
		Timeout() bool
	}](err); is { // of a file that cannot be read
		return fmt.Errorf("decrypting: %w", failed)
	}
	return &Error{Doing: "decrypting", Class: ErrMalformed, Detail: "not an age message, or cut short or changed",
		Next: "fetch it again from where it was stored"}
}
