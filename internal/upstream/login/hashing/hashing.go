// SPDX-License-Identifier: Apache-2.0

// Package hashing compares passwords with the hashes that directories and mail servers store: a scheme, as in
// {SSHA512}…, and the text after it. It limits how much computing a stored hash can cause.
package hashing

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // a scheme that directories hold
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// ErrTooLong: the scheme cannot take this password.
var ErrTooLong = errors.New("bcrypt takes passwords of 72 bytes at most")

// Bcrypt hashes password, as x/crypto writes it: $2a$….
func Bcrypt(cost int, password string) (string, error) {
	made, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	switch {
	case errors.Is(err, bcrypt.ErrPasswordTooLong):
		return "", ErrTooLong
	case err != nil:
		return "", errors.New("hashing with bcrypt failed")
	}
	return string(made), nil
}

// Match is what comparing a password with its stored form tells.
type Match int

// Matches. Untold: the scheme is one that this package cannot compute, or the form is broken.
const (
	Differs Match = iota
	Same
	Untold
)

// Compare tells whether rest, by scheme, stands for password.
func Compare(scheme, rest, password string) Match {
	switch scheme = strings.ToUpper(scheme); scheme {
	case "CLEARTEXT", "CLEAR", "PLAIN":
		return told(subtle.ConstantTimeCompare([]byte(rest), []byte(password)) == 1)
	case "CRYPT", "BLF-CRYPT":
		if cost, err := bcrypt.Cost([]byte(rest)); err != nil || cost > maxBcryptCost {
			return Untold
		}
		switch err := bcrypt.CompareHashAndPassword([]byte(rest), []byte(password)); {
		case err == nil:
			return Same
		case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
			return Differs
		}
		return Untold
	case "ARGON2", "ARGON2I", "ARGON2ID":
		return compareArgon(rest, password)
	}
	digestOf, known := digests[scheme]
	raw, err := base64.StdEncoding.DecodeString(rest)
	if !known || err != nil {
		return Untold
	}
	digest := digestOf()
	if salted := strings.HasPrefix(scheme, "SS") || scheme == "SMD5"; len(raw) < digest.Size() || !salted && len(raw) > digest.Size() {
		return Untold // a digest in hexadecimal digits, which Dovecot takes as well
	}
	digest.Write([]byte(password))
	digest.Write(raw[digest.Size():])
	return told(subtle.ConstantTimeCompare(digest.Sum(nil), raw[:digest.Size()]) == 1)
}

func told(equal bool) Match {
	if equal {
		return Same
	}
	return Differs
}

// digests by scheme; each stored form is the digest, then the salt where there is one.
var digests = map[string]func() hash.Hash{
	"MD5": md5.New, "SMD5": md5.New, "SHA": sha1.New, "SSHA": sha1.New, "SHA256": sha256.New, "SSHA256": sha256.New,
	"SHA384": sha512.New384, "SSHA384": sha512.New384, "SHA512": sha512.New, "SSHA512": sha512.New,
}

// What a stored form can ask for at most; memory is in KiB.
const maxBcryptCost, maxArgonMemory, maxArgonTime = 16, 1 << 20, 64

func compareArgon(encoded, password string) Match {
	parts := strings.Split(encoded, "$") // "", variant, version, parameters, salt, key
	var version int
	var memory, times uint32
	var threads uint8
	if len(parts) != 6 || parts[0] != "" {
		return Untold
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return Untold
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &times, &threads); err != nil ||
		memory > maxArgonMemory || times == 0 || times > maxArgonTime || threads == 0 {
		return Untold
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(parts[4])
	want, keyErr := base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(want) < 4 || len(want) > 128 {
		return Untold
	}
	var got []byte
	switch parts[1] {
	case "argon2id":
		got = argon2.IDKey([]byte(password), salt, times, memory, threads, uint32(len(want)))
	case "argon2i":
		got = argon2.Key([]byte(password), salt, times, memory, threads, uint32(len(want)))
	default:
		return Untold
	}
	return told(bytes.Equal(got, want))
}
