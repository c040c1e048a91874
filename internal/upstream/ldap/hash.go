// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"crypto/sha1" //nolint:gosec // a scheme that directories hold
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"custody.dev/custody/internal/upstream/login/hashing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Hashes, as documents write them.
const (
	SSHA    = "ssha"
	SSHA512 = "ssha512"
	Argon2  = "argon2"
	Bcrypt  = "bcrypt"
	// ByServer sends the password itself.
	ByServer = "server"
)

var hashes = []string{SSHA, SSHA512, Argon2, Bcrypt, ByServer}

const (
	saltBytes = 16
	// Argon2id as RFC 9106's second choice recommends it, with less memory: a directory hashes at every sign-in.
	argonTime, argonMemory, argonThreads, argonBytes = 3, 19 << 10, 1, 32
)

// hashed makes the value of userPassword that stands for password.
func hashed(random io.Reader, scheme, password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	switch scheme {
	case SSHA:
		sum := sha1.Sum(append([]byte(password), salt...)) //nolint:gosec // what a stock server verifies; the password is random
		return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...)), nil
	case SSHA512:
		sum := sha512.Sum512(append([]byte(password), salt...))
		return "{SSHA512}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...)), nil
	case Argon2:
		key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonBytes)
		encode := base64.RawStdEncoding.EncodeToString
		return fmt.Sprintf("{ARGON2}$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, encode(salt), encode(key)), nil
	case Bcrypt:
		made, err := hashing.Bcrypt(bcrypt.DefaultCost, password)
		if err != nil {
			return "", err
		}
		return "{CRYPT}" + made, nil
	}
	return "", fmt.Errorf("there is no hash %q", scheme)
}

// compare tells whether a value of userPassword stands for password. One without a scheme is the password itself.
func compare(value, password string) hashing.Match {
	scheme, rest := "CLEARTEXT", value
	if strings.HasPrefix(value, "{") {
		var ok bool
		if scheme, rest, ok = strings.Cut(value[1:], "}"); !ok {
			scheme, rest = "CLEARTEXT", value
		}
	}
	return hashing.Compare(scheme, rest, password)
}
