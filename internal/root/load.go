// SPDX-License-Identifier: Apache-2.0

package root

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"custody.dev/custody/internal/next"
)

// maxIdentityFile bounds an identity file; one post-quantum key with its comments takes 2 KiB.
const maxIdentityFile = 64 << 10

// Load reads an identity file that only its owner may read. A missing file is fs.ErrNotExist; one that group or others
// may read or write is ErrExposed. The mode is that of the file that was opened, not of one that took its place.
//
// A file beneath $CREDENTIALS_DIRECTORY may be readable by its group: systemd lets the service's user in by an access
// control list, whose mask shows in the group's place.
func Load(path string) ([]Identity, error) {
	// Without O_NONBLOCK a pipe in the file's place would hold the caller for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening identity file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at identity file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Doing: "opening identity file " + path, Class: ErrMalformed, Detail: "not a regular file",
			Next: "give the path of the file itself"}
	}
	barred := fs.FileMode(0o077)
	if isCredential(path) {
		barred &^= 0o040
	}
	if info.Mode().Perm()&barred != 0 {
		return nil, &Error{Doing: "opening identity file " + path, Class: ErrExposed,
			Detail: fmt.Sprintf("mode %04o lets group or others in", info.Mode().Perm()),
			Next:   fmt.Sprintf("chmod 600 %s; if others may have read it, make a new identity and re-encrypt to it", next.Word(path))}
	}
	text, err := io.ReadAll(io.LimitReader(file, maxIdentityFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading identity file: %w", err)
	}
	if len(text) > maxIdentityFile {
		return nil, &Error{Doing: "reading identity file " + path, Class: ErrMalformed,
			Detail: fmt.Sprintf("more than %d bytes", maxIdentityFile), Next: "give the file that age-keygen or custody init wrote"}
	}
	found, err := Parse(text)
	if err != nil {
		if known, ok := errors.AsType[*Error](err); ok {
			known.Doing = "reading identity file " + path
		}
		return nil, err
	}
	return found, nil
}

// isCredential reports whether path lies beneath the folder in which systemd puts a service's credentials.
func isCredential(path string) bool {
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if !filepath.IsAbs(folder) {
		return false
	}
	within, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(within)
}
