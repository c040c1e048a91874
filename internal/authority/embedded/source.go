// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/next"
)

// maxKeyFile bounds what is read as a key.
const maxKeyFile = 64 << 10

// Source says where the unseal key is. Exactly one of KeyFile, IdentityFile and Credential is set.
type Source struct {
	// KeyFile holds 64 hexadecimal digits.
	KeyFile string
	// IdentityFile is an age identity file.
	IdentityFile string
	// Credential is the name of a systemd credential, in either form.
	Credential string
	// Recipients can also unwrap what an age identity wraps: the root. For a raw key nobody can stand in.
	Recipients []age.Recipient
	// Getenv looks up the environment; only $CREDENTIALS_DIRECTORY is asked for.
	Getenv func(string) string
}

// LoadSealer reads the unseal key. Files must be readable by their owner alone; credentials are systemd's to guard.
func LoadSealer(source Source) (Sealer, error) {
	sealer, err := loadSealer(source)
	if err != nil {
		return nil, fmt.Errorf("loading unseal key: %w", err)
	}
	return sealer, nil
}

func loadSealer(source Source) (Sealer, error) {
	given := 0
	for _, name := range []string{source.KeyFile, source.IdentityFile, source.Credential} {
		if name != "" {
			given++
		}
	}
	if given != 1 {
		return nil, fmt.Errorf("want exactly one of key file, identity file and credential, have %d", given)
	}
	switch {
	case source.KeyFile != "":
		content, err := readKey(source.KeyFile, true)
		if err != nil {
			return nil, err
		}
		return rawKey(content, source, "key file "+source.KeyFile)
	case source.IdentityFile != "":
		content, err := readKey(source.IdentityFile, true)
		if err != nil {
			return nil, err
		}
		return ageKey(content, source, "identity file "+source.IdentityFile)
	}
	if source.Credential != filepath.Base(source.Credential) || strings.HasPrefix(source.Credential, ".") {
		return nil, fmt.Errorf("credential %q is not a plain name", source.Credential)
	}
	folder := ""
	if source.Getenv != nil {
		folder = source.Getenv("CREDENTIALS_DIRECTORY")
	}
	if folder == "" {
		return nil, &Error{fmt.Errorf("credential %q: $CREDENTIALS_DIRECTORY is not set", source.Credential),
			"run as a systemd service with LoadCredentialEncrypted=" + source.Credential + ", or name a key file"}
	}
	content, err := readKey(filepath.Join(folder, source.Credential), false)
	if err != nil {
		return nil, err
	}
	from := "credential " + source.Credential
	if bytes.Contains(content, []byte("AGE-")) {
		return ageKey(content, source, from)
	}
	return rawKey(content, source, from)
}

func rawKey(content []byte, source Source, from string) (Sealer, error) {
	key, err := hex.DecodeString(string(bytes.TrimSpace(content)))
	if err != nil || len(key) != KeyBytes {
		return nil, fmt.Errorf("%s: want %d hexadecimal digits", from, 2*KeyBytes)
	}
	return newKeySealer(key, from)
}

func ageKey(content []byte, source Source, from string) (Sealer, error) {
	identities, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s: not an age identity file", from) // the cause could quote a key
	}
	return newAgeSealer(identities, source.Recipients, from)
}

func readKey(name string, private bool) ([]byte, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold the start
	if err != nil {
		return nil, fmt.Errorf("opening key: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at key: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case private && info.Mode().Perm()&0o077 != 0:
		return nil, &Error{fmt.Errorf("%s has mode %04o, so others may read it", name, info.Mode().Perm()), "chmod 0600 " + next.Word(name)}
	}
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", name, err)
	}
	if len(content) > maxKeyFile {
		return nil, errors.New(name + " is too large to be a key")
	}
	return content, nil
}
