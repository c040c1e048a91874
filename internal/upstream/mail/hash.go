// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"crypto/sha1" //nolint:gosec // a scheme that mail servers hold
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// errUnhashable: the scheme cannot take this password.
var errUnhashable = errors.New("bcrypt takes passwords of 72 bytes at most")

// hashed makes the stored form of a password: bcrypt, as Dovecot writes it.
func hashed(cost int, password string) (string, error) {
	made, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", errUnhashable
	}
	if err != nil {
		return "", errors.New("hashing with bcrypt failed")
	}
	return "{BLF-CRYPT}$2y$" + strings.TrimPrefix(string(made), "$2a$"), nil
}

// locked makes the stored form of a password that nobody knows: a server takes anything else that is no hash for a fault
// of its own, and does not refuse.
func locked(random io.Reader, cost int) (string, error) {
	unknown := make([]byte, 32)
	if _, err := io.ReadFull(random, unknown); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return hashed(cost, base64.RawStdEncoding.EncodeToString(unknown))
}

// match is what comparing a password with its stored form tells.
type match int

const (
	differs match = iota
	same
	// untold: the scheme is one that this package cannot compute.
	untold
)

// compare tells whether stored stands for password.
func compare(stored, password string) match {
	if stored == "" || password == "" {
		return differs
	}
	scheme, rest := "CRYPT", stored // what Dovecot takes for granted in a passwd-file
	if strings.HasPrefix(stored, "{") {
		var ok bool
		if scheme, rest, ok = strings.Cut(stored[1:], "}"); !ok {
			return untold
		}
	}
	switch scheme = strings.ToUpper(scheme); scheme {
	case "PLAIN", "CLEARTEXT", "CLEAR":
		return told(subtle.ConstantTimeCompare([]byte(rest), []byte(password)) == 1)
	case "BLF-CRYPT", "CRYPT":
		switch err := bcrypt.CompareHashAndPassword([]byte(rest), []byte(password)); {
		case err == nil:
			return same
		case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
			return differs
		}
		return untold
	}
	digestOf, ok := digests[scheme]
	raw, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil {
		return untold
	}
	digest := digestOf()
	if len(raw) < digest.Size() {
		return untold
	}
	digest.Write([]byte(password))
	digest.Write(raw[digest.Size():])
	return told(subtle.ConstantTimeCompare(digest.Sum(nil), raw[:digest.Size()]) == 1)
}

func told(equal bool) match {
	if equal {
		return same
	}
	return differs
}

// digests by scheme; each stored form is the digest, then the salt, which is empty where the name begins without SS.
var digests = map[string]func() hash.Hash{
	"SHA": sha1.New, "SSHA": sha1.New, "SHA256": sha256.New, "SSHA256": sha256.New, "SHA512": sha512.New, "SSHA512": sha512.New,
}
