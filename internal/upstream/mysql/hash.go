// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"crypto/sha1" //nolint:gosec // the server's own form of stored passwords
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/edwards25519"
)

// Plugins, as the servers name them.
const (
	pluginNative  = "mysql_native_password"
	pluginEd25519 = "ed25519"
	pluginSHA2    = "caching_sha2_password"
)

// hashed is what the server stores instead of password.
func hashed(random io.Reader, plugin, password string) (string, error) {
	switch plugin {
	case pluginNative:
		return nativeHash(password), nil
	case pluginEd25519:
		return ed25519Verifier(password)
	case pluginSHA2:
		return sha2Hash(random, password)
	}
	return "", errors.New("no hash is known for this plugin")
}

// nativeHash is '*' and the hexadecimal SHA1(SHA1(password)).
func nativeHash(password string) string {
	once := sha1.Sum([]byte(password)) //nolint:gosec // see the import
	twice := sha1.Sum(once[:])         //nolint:gosec // see the import
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}

// ed25519Verifier is the public key whose seed is the password, of whatever length; Go's own package wants 32 bytes.
func ed25519Verifier(password string) (string, error) {
	digest := sha512.Sum512([]byte(password))
	scalar, err := edwards25519.NewScalar().SetBytesWithClamping(digest[:32])
	if err != nil {
		return "", errors.New("deriving the ed25519 key failed")
	}
	return base64.RawStdEncoding.EncodeToString((&edwards25519.Point{}).ScalarBaseMult(scalar).Bytes()), nil
}

const (
	sha2Salt   = 20
	sha2Rounds = 5000
	cryptText  = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// sha2Hash is "$A$005$", a salt and the digest of SHA-crypt; 005 stands for 5000 rounds.
func sha2Hash(random io.Reader, password string) (string, error) {
	raw := make([]byte, sha2Salt)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	for i, b := range raw {
		raw[i] = cryptText[b%64]
	}
	return "$A$005$" + string(raw) + sha256crypt([]byte(password), raw, sha2Rounds), nil
}

// sha256crypt is the digest of SHA-crypt with SHA-256, as text of 43 characters. Salts of any length are used in full.
func sha256crypt(password, salt []byte, rounds int) string {
	alternate := sha256.New()
	alternate.Write(password)
	alternate.Write(salt)
	alternate.Write(password)
	other := alternate.Sum(nil)

	initial := sha256.New()
	initial.Write(password)
	initial.Write(salt)
	initial.Write(stretched(other, len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			initial.Write(other)
		} else {
			initial.Write(password)
		}
	}
	digest := initial.Sum(nil)

	passwords := sha256.New()
	for range password {
		passwords.Write(password)
	}
	p := stretched(passwords.Sum(nil), len(password))
	salts := sha256.New()
	for range 16 + int(digest[0]) {
		salts.Write(salt)
	}
	s := stretched(salts.Sum(nil), len(salt))

	for round := range rounds {
		next := sha256.New()
		first, last := digest, p
		if round%2 == 1 {
			first, last = p, digest
		}
		next.Write(first)
		if round%3 != 0 {
			next.Write(s)
		}
		if round%7 != 0 {
			next.Write(p)
		}
		next.Write(last)
		digest = next.Sum(nil)
	}
	return cryptEncode(digest)
}

// stretched repeats digest up to length bytes.
func stretched(digest []byte, length int) []byte {
	out := make([]byte, 0, length+len(digest))
	for len(out) < length {
		out = append(out, digest...)
	}
	return out[:length]
}

// cryptEncode writes 32 bytes in SHA-crypt's order, six bits a character.
func cryptEncode(digest []byte) string {
	var out strings.Builder
	write := func(bits uint32, characters int) {
		for range characters {
			out.WriteByte(cryptText[bits&0x3f])
			bits >>= 6
		}
	}
	a, b, c := 0, 10, 20
	for range 10 {
		write(uint32(digest[a])<<16|uint32(digest[b])<<8|uint32(digest[c]), 4)
		a, b, c = c+1, a+1, b+1
	}
	write(uint32(digest[31])<<8|uint32(digest[30]), 3)
	return out.String()
}
