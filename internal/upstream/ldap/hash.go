// SPDX-License-Identifier: Apache-2.0

package ldap

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
	"io"
	"strings"

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

const (
	saltBytes = 16
	// bcryptCost is x/crypto's default.
	bcryptCost = bcrypt.DefaultCost
	// Argon2id as RFC 9106's second choice recommends it, with less memory: a directory hashes at every sign-in.
	argonTime, argonMemory, argonThreads, argonBytes = 3, 19 << 10, 1, 32
	// maxArgonMemory and maxArgonTime bound what a stored value can make this process compute.
	maxArgonMemory, maxArgonTime = 1 << 20, 64
)

// errUnhashable: the scheme cannot take this password.
var errUnhashable = errors.New("bcrypt takes passwords of 72 bytes at most")

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
		made, err := bcrypt.GenerateFromPassword([]byte(password), bcryptCost)
		if errors.Is(err, bcrypt.ErrPasswordTooLong) {
			return "", errUnhashable
		}
		if err != nil {
			return "", errors.New("hashing with bcrypt failed")
		}
		return "{CRYPT}" + string(made), nil
	}
	return "", fmt.Errorf("there is no hash %q", scheme)
}

// match is what comparing a password with a stored value tells.
type match int

const (
	differs match = iota
	same
	// untold: the value's scheme is one that this package cannot compute.
	untold
)

// compare tells whether stored stands for password.
func compare(stored, password string) match {
	scheme, rest, ok := cutScheme(stored)
	if !ok {
		return told(subtle.ConstantTimeCompare([]byte(stored), []byte(password)) == 1)
	}
	switch scheme {
	case "CLEARTEXT":
		return told(subtle.ConstantTimeCompare([]byte(rest), []byte(password)) == 1)
	case "CRYPT":
		if err := bcrypt.CompareHashAndPassword([]byte(rest), []byte(password)); err == nil {
			return same
		} else if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return differs
		}
		return untold
	case "ARGON2":
		return compareArgon(rest, password)
	}
	digestOf, ok := digests[scheme]
	if !ok {
		return untold
	}
	digest := digestOf()
	raw, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || len(raw) < digest.Size() {
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

// cutScheme splits {SCHEME}rest. A value without a scheme is the password itself.
func cutScheme(stored string) (scheme, rest string, ok bool) {
	if !strings.HasPrefix(stored, "{") {
		return "", stored, false
	}
	scheme, rest, ok = strings.Cut(stored[1:], "}")
	return strings.ToUpper(scheme), rest, ok
}

// digests by scheme; each stored value is the digest, then the salt, which is empty where the name begins without S.
var digests = map[string]func() hash.Hash{
	"MD5": md5.New, "SMD5": md5.New, "SHA": sha1.New, "SSHA": sha1.New, "SHA256": sha256.New, "SSHA256": sha256.New,
	"SHA384": sha512.New384, "SSHA384": sha512.New384, "SHA512": sha512.New, "SSHA512": sha512.New,
}

func compareArgon(encoded, password string) match {
	parts := strings.Split(encoded, "$") // "", variant, version, parameters, salt, key
	var version int
	var memory, times uint32
	var threads uint8
	if len(parts) != 6 || parts[0] != "" {
		return untold
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return untold
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &times, &threads); err != nil ||
		memory > maxArgonMemory || times == 0 || times > maxArgonTime || threads == 0 {
		return untold
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(parts[4])
	want, keyErr := base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(want) < 4 || len(want) > 128 {
		return untold
	}
	var got []byte
	switch parts[1] {
	case "argon2id":
		got = argon2.IDKey([]byte(password), salt, times, memory, threads, uint32(len(want)))
	case "argon2i":
		got = argon2.Key([]byte(password), salt, times, memory, threads, uint32(len(want)))
	default:
		return untold
	}
	return told(bytes.Equal(got, want))
}
