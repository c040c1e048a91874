// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

const (
	// minIterations is PostgreSQL's default, and its only value before version 16.
	minIterations = 4096
	// maxIterations bounds what a server can make this process compute.
	maxIterations = 1_000_000
	saltBytes     = 16
)

// verifier is what PostgreSQL stores instead of the password: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY.
func verifier(random io.Reader, password string, iterations int) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	client, err := scram.SHA256.NewClientUnprepped("", prepare(password), "")
	if err != nil {
		return "", errors.New("preparing SCRAM failed")
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", errors.New("deriving SCRAM keys failed")
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(keys.StoredKey), encode(keys.ServerKey)), nil
}

// prepare applies SASLprep. A password that it forbids, or leaves nothing of, is taken as it is, as the server does.
func prepare(password string) string {
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil || prepared == "" {
		return password
	}
	return prepared
}
