// SPDX-License-Identifier: Apache-2.0

package hashing_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/upstream/login/hashing"

	"golang.org/x/crypto/bcrypt"
)

func TestCompare(t *testing.T) {
	made, err := hashing.Bcrypt(bcrypt.MinCost, "right")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("right"))
	salted := sha256.Sum256([]byte("rightsalt"))
	encode := base64.StdEncoding.EncodeToString
	for _, test := range []struct {
		name, scheme, rest string
		want               hashing.Match
	}{
		{"the password itself", "cleartext", "right", hashing.Same},
		{"another password", "PLAIN", "wrong", hashing.Differs},
		{"bcrypt", "crypt", made, hashing.Same},
		{"bcrypt as Dovecot writes it", "BLF-CRYPT", strings.Replace(made, "$2a$", "$2y$", 1), hashing.Same},
		{"bcrypt that asks for too much time", "CRYPT", strings.Replace(made, "$04$", "$31$", 1), hashing.Untold},
		{"another crypt", "CRYPT", "$6$salt$hash", hashing.Untold},
		{"a digest", "SHA256", encode(sum[:]), hashing.Same},
		{"a digest of another", "SHA256", encode(salted[:]), hashing.Differs},
		{"a salted digest", "SSHA256", encode(append(salted[:], "salt"...)), hashing.Same},
		{"a salted digest of another", "SSHA256", encode(append(sum[:], "salt"...)), hashing.Differs},
		{"a digest in hexadecimal digits", "SHA256", hex.EncodeToString(sum[:]), hashing.Untold},
		{"cut short", "SSHA256", encode(sum[:8]), hashing.Untold},
		{"no base64", "SSHA", "short", hashing.Untold},
		{"a scheme that is not computed", "SASL", "user@REALM", hashing.Untold},
		{"argon2 that asks for too much memory", "ARGON2", "$argon2id$v=19$m=9999999999,t=1,p=1$AAAA$AAAAAAAA", hashing.Untold},
		{"argon2 that asks for too much time", "ARGON2ID", "$argon2id$v=19$m=64,t=65,p=1$AAAA$AAAAAAAA", hashing.Untold},
		{"argon2 without threads", "ARGON2", "$argon2id$v=19$m=65536,t=1,p=0$AAAA$AAAAAAAA", hashing.Untold},
	} {
		if got := hashing.Compare(test.scheme, test.rest, "right"); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

func TestBcryptTakesNoLongPassword(t *testing.T) {
	if _, err := hashing.Bcrypt(bcrypt.MinCost, strings.Repeat("x", 73)); !errors.Is(err, hashing.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}
