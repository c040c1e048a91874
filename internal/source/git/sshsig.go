// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// namespace is what Git signs commits for; a signature that was made for something else does not count.
const namespace = "git"

// minRSA is the least size of an RSA key, in bits.
const minRSA = 2048

// sshSigner is one line of an allowed_signers file.
type sshSigner struct {
	principals string
	key        ssh.PublicKey
	// from and until bound when signatures count; zero times do not.
	from, until time.Time
}

// parseAllowed reads a file in the form of OpenSSH's allowed_signers (ssh-keygen(1)): principals, options, key. Lines whose
// namespaces leave Git out are passed over. Certificate authorities are refused.
func parseAllowed(text []byte) ([]sshSigner, error) {
	var signers []sshSigner
	number := 0
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
		number++
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		signer, counts, err := parseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("reading the allowed signers, line %d: %w", number, err)
		}
		if counts {
			signers = append(signers, signer)
		}
	}
	return signers, nil
}

func parseSigner(line string) (signer sshSigner, counts bool, err error) {
	principals, rest, found := strings.Cut(line, " ")
	if !found {
		return signer, false, errors.New("it has no key")
	}
	// ParseAuthorizedKey takes options before the key, in the same form.
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest)))
	if err != nil {
		return signer, false, errors.New("it has no key that can be read")
	}
	signer = sshSigner{principals: strings.Trim(principals, `"`), key: key}
	counts = true
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			counts = false
			for pattern := range strings.SplitSeq(value, ",") {
				if match, err := path.Match(pattern, namespace); err == nil && match {
					counts = true
				}
			}
		case "valid-after":
			signer.from, err = signerTime(value)
		case "valid-before":
			signer.until, err = signerTime(value)
		case "cert-authority":
			err = errors.New("certificates are not supported; name the keys themselves")
		default:
			err = fmt.Errorf("the option %q is not known", name)
		}
		if err != nil {
			return signer, false, err
		}
	}
	return signer, counts, usable(key)
}

// signerTime reads YYYYMMDD[HHMM[SS]][Z]. Without Z it is UTC as well: a machine's own time zone would decide who may sign.
func signerTime(text string) (time.Time, error) {
	text = strings.TrimSuffix(text, "Z")
	for _, form := range []string{"20060102", "200601021504", "20060102150405"} {
		if at, err := time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write YYYYMMDD or YYYYMMDDHHMMSS", text)
}

// usable refuses keys that are too weak, and certificates.
func usable(key ssh.PublicKey) error {
	if _, certificate := key.(*ssh.Certificate); certificate {
		return errors.New("certificates are not supported; name the key itself")
	}
	if key.Type() != ssh.KeyAlgoRSA {
		switch key.Type() {
		case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256:
			return nil
		}
		return fmt.Errorf("keys of type %s are not supported", key.Type())
	}
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("the RSA key cannot be read")
	}
	if public, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); !ok || public.N.BitLen() < minRSA {
		return fmt.Errorf("the RSA key has less than %d bits", minRSA)
	}
	return nil
}

// magic begins both the envelope and what is signed; see PROTOCOL.sshsig of OpenSSH.
const magic = "SSHSIG"

// envelope is a signature as OpenSSH writes it, after magic.
type envelope struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  []byte
	Hash      string
	Signature []byte
}

// signed is what the key signs, after magic.
type signed struct {
	Namespace string
	Reserved  []byte
	Hash      string
	Digest    []byte
}

func (s *Signers) verifySSH(payload, armored []byte, at time.Time) (string, error) {
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != "SSH SIGNATURE" || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(block.Bytes, []byte(magic)) {
		return "", errors.New("its SSH signature cannot be read")
	}
	var e envelope
	if err := ssh.Unmarshal(block.Bytes[len(magic):], &e); err != nil {
		return "", errors.New("its SSH signature cannot be read")
	}
	switch {
	case e.Version != 1:
		return "", fmt.Errorf("its SSH signature has version %d, which is not known", e.Version)
	case e.Namespace != namespace:
		return "", fmt.Errorf("its SSH signature was made for %q, not for %q", e.Namespace, namespace)
	}
	key, err := ssh.ParsePublicKey(e.PublicKey)
	if err != nil {
		return "", errors.New("the key of its SSH signature cannot be read")
	}
	who, err := s.allowed(key, at)
	if err != nil {
		return "", err
	}
	var digest []byte
	switch e.Hash {
	case "sha512":
		sum := sha512.Sum512(payload)
		digest = sum[:]
	case "sha256":
		sum := sha256.Sum256(payload)
		digest = sum[:]
	default:
		return "", fmt.Errorf("its SSH signature uses the hash %q, which is not known", e.Hash)
	}
	var signature struct {
		Format string
		Blob   []byte
		Rest   []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(e.Signature, &signature); err != nil {
		return "", errors.New("its SSH signature cannot be read")
	}
	if err := fits(key, signature.Format, signature.Rest); err != nil {
		return "", err
	}
	message := append([]byte(magic), ssh.Marshal(signed{e.Namespace, e.Reserved, e.Hash, digest})...)
	if err := key.Verify(message, &ssh.Signature{Format: signature.Format, Blob: signature.Blob, Rest: signature.Rest}); err != nil {
		return "", fmt.Errorf("its SSH signature by %s is invalid", who)
	}
	return "SSH " + who + " " + ssh.FingerprintSHA256(key), nil
}

// allowed is who a key belongs to at a time.
func (s *Signers) allowed(key ssh.PublicKey, at time.Time) (who string, err error) {
	err = fmt.Errorf("it is signed by the SSH key %s, which is not allowed", ssh.FingerprintSHA256(key))
	for _, signer := range s.ssh {
		switch {
		case !bytes.Equal(signer.key.Marshal(), key.Marshal()):
		case !signer.from.IsZero() && at.Before(signer.from), !signer.until.IsZero() && !at.Before(signer.until):
			err = fmt.Errorf("it is signed by the SSH key %s of %s, which is not allowed at this time", ssh.FingerprintSHA256(key), signer.principals)
		default:
			return signer.principals, nil
		}
	}
	return "", err
}

// fits refuses signatures that a key's type allows and that do not count: RSA with SHA-1, and a security key that nobody
// touched.
func fits(key ssh.PublicKey, format string, rest []byte) error {
	switch key.Type() {
	case ssh.KeyAlgoRSA:
		if format != ssh.KeyAlgoRSASHA256 && format != ssh.KeyAlgoRSASHA512 {
			return fmt.Errorf("its SSH signature is of type %s: RSA counts with SHA-2 alone", format)
		}
		return nil
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		const present = 0x01
		if format != key.Type() || len(rest) == 0 || rest[0]&present == 0 {
			return errors.New("its SSH signature was made by a security key without anybody present")
		}
		return nil
	}
	if format != key.Type() || len(rest) > 0 {
		return errors.New("its SSH signature is not of its key's type")
	}
	return nil
}
