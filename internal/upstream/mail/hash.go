// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"custody.dev/custody/internal/upstream/login/hashing"
)

// hashed makes the stored form of a password: bcrypt, as Dovecot writes it.
func hashed(cost int, password string) (string, error) {
	made, err := hashing.Bcrypt(cost, password)
	if err != nil {
		return "", err
	}
	return "{BLF-CRYPT}$2y$" + strings.TrimPrefix(made, "$2a$"), nil
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

// compare tells whether kept, as a server keeps it, stands for password.
func compare(kept, password string) hashing.Match {
	if kept == "" || password == "" {
		return hashing.Differs
	}
	scheme, rest := "CRYPT", kept // what Dovecot takes for granted in a passwd-file
	if strings.HasPrefix(kept, "{") {
		var ok bool
		if scheme, rest, ok = strings.Cut(kept[1:], "}"); !ok {
			return hashing.Untold
		}
	}
	return hashing.Compare(scheme, rest, password)
}
