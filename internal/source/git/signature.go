// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signers are who may sign commits. Nil asks for no signature.
type Signers struct {
	ssh []sshSigner
	pgp openpgp.EntityList
}

// ParseSigners reads the files of those who may sign: one in the form of OpenSSH's allowed_signers, nil for none, and armored
// OpenPGP public keys. Files that name nobody are an error: they would refuse everything.
func ParseSigners(allowed []byte, armored ...[]byte) (*Signers, error) {
	s := &Signers{}
	var err error
	if s.ssh, err = parseAllowed(allowed); err != nil {
		return nil, err
	}
	for i, text := range armored {
		keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("reading OpenPGP keys, file %d: %w", i+1, err)
		}
		for _, key := range keys {
			if key.PrivateKey != nil {
				return nil, fmt.Errorf("reading OpenPGP keys, file %d: it holds a private key; export the public one (gpg --armor --export)", i+1)
			}
		}
		s.pgp = append(s.pgp, keys...)
	}
	if len(s.ssh) == 0 && len(s.pgp) == 0 {
		return nil, errors.New("reading the allowed signers: they name nobody")
	}
	return s, nil
}

// errUnsigned says why a commit does not count as signed.
var errUnsigned = errors.New("it is not signed")

const (
	pgpArmor = "-----BEGIN PGP SIGNATURE-----"
	sshArmor = "-----BEGIN SSH SIGNATURE-----"
)

// verify says who signed a commit, given its object as it is stored, at a time. The error says why nobody that counts did.
func (s *Signers) verify(object []byte, at time.Time) (signer string, err error) {
	payload, signature, err := unsign(object)
	if err != nil {
		return "", err
	}
	switch {
	case len(signature) == 0:
		return "", errUnsigned
	case bytes.HasPrefix(signature, []byte(sshArmor)):
		return s.verifySSH(payload, signature, at)
	case bytes.HasPrefix(signature, []byte(pgpArmor)):
		return s.verifyPGP(payload, signature, at)
	}
	return "", errors.New("its signature is neither of SSH nor of OpenPGP")
}

// unsign parts a commit object into what was signed and the signature, as Git does: the header gpgsig with its continuation
// lines is the signature, all else is signed. More than one signature is refused: it would be a matter of order which counts.
func unsign(object []byte) (payload, signature []byte, err error) {
	const header = "gpgsig "
	rest, inside, seen := object, false, false
	for len(rest) > 0 {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line = rest[:end+1]
		}
		rest = rest[len(line):]
		switch {
		case line[0] == '\n': // the message follows
			payload = append(append(payload, line...), rest...)
			return payload, signature, nil
		case inside && line[0] == ' ':
			signature = append(signature, line[1:]...)
		case bytes.HasPrefix(line, []byte(header)):
			if seen {
				return nil, nil, errors.New("it has more than one signature")
			}
			inside, seen = true, true
			signature = append(signature, line[len(header):]...)
		case bytes.HasPrefix(line, []byte("gpgsig")):
			return nil, nil, fmt.Errorf("it has a header that is not understood: %.20q", line)
		default:
			inside = false
			payload = append(payload, line...)
		}
	}
	return payload, signature, nil
}

func (s *Signers) verifyPGP(payload, signature []byte, at time.Time) (string, error) {
	if len(s.pgp) == 0 {
		return "", errors.New("it is signed with OpenPGP, and no OpenPGP key is allowed")
	}
	config := &packet.Config{Time: func() time.Time { return at }}
	key, err := openpgp.CheckArmoredDetachedSignature(s.pgp, bytes.NewReader(payload), bytes.NewReader(signature), config)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", errors.New("it is signed with OpenPGP by a key that is not allowed")
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", errors.New("the OpenPGP key or its signature has expired")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "", errors.New("the OpenPGP key was revoked")
	case err != nil:
		return "", fmt.Errorf("its OpenPGP signature is invalid: %w", err)
	}
	return "OpenPGP " + strings.ToUpper(fmt.Sprintf("%x", key.PrimaryKey.Fingerprint)), nil
}
