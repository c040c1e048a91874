// SPDX-License-Identifier: Apache-2.0

// Package authority has the types that all authorities (secrets stores) share: paths, versions, documents, and the
// errors that callers decide by. Adapters are in its subfolders; callers declare the interfaces that they need over
// these types.
//
// An authority stores two kinds of things. Values are delivered to consumers; they have versions and are written by
// compare-and-set. Documents belong to Custody itself (journal, requests, checkpoints); they are written by
// compare-and-set on a revision, and only the orchestrator can read them. Each kind has its own port, because an
// adapter may store them in different places with different permissions.
package authority

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
)

// Errors that callers branch on; adapters wrap them.
var (
	// ErrNotFound: nothing is stored there, or its value has been destroyed.
	ErrNotFound = errors.New("not found")
	// ErrConflict: compare-and-set lost; what is stored is not what the caller based its change on. Nothing was written.
	ErrConflict = errors.New("conflicting write")
	// ErrSealed: the authority's key is not available.
	ErrSealed = errors.New("authority is sealed")
	// ErrUnavailable: no answer; the call may or may not have taken effect. Repeating it settles which.
	ErrUnavailable = errors.New("authority unavailable")
)

// Path names a managed secret's place in the authority: lower-case segments of letters, digits and hyphens.
type Path string

var segments = lazyregexp.New(`^[a-z0-9]+(-[a-z0-9]+)*(/[a-z0-9]+(-[a-z0-9]+)*)*$`)

// ReservedPrefix begins paths that are kept free for Custody's own.
const ReservedPrefix = "custody/"

// ParsePath checks the form of a managed secret's path.
func ParsePath(s string) (Path, error) {
	switch {
	case len(s) > 255 || !segments.MatchString(s):
		return "", fmt.Errorf("parsing path %q: want lower-case segments of letters, digits and single hyphens, joined by '/', 255 bytes at most", s)
	case strings.HasPrefix(s, ReservedPrefix):
		return "", fmt.Errorf("parsing path %q: %q is reserved for Custody's own records", s, ReservedPrefix)
	}
	return Path(s), nil
}

// Version counts the writes to one path from 1; 0 is the version of nothing.
type Version uint64

// Incarnation tells one initialisation (or restore) of an authority from every other.
type Incarnation string

// RunID names one run of a workflow. It is unique over all time and says nothing.
type RunID string

// VersionID identifies a version. The number alone repeats after a restore or a metadata delete.
type VersionID struct {
	Incarnation Incarnation `json:"incarnation"`
	Run         RunID       `json:"run"`
	Number      Version     `json:"number"`
}

// String is the form shown to people and handed to consumers' checks: NUMBER.RUN.INCARNATION.
func (id VersionID) String() string {
	return fmt.Sprintf("%d.%s.%s", id.Number, id.Run, id.Incarnation)
}

// Versioned is a value as the authority holds it.
type Versioned struct {
	Path    Path
	ID      VersionID
	Created time.Time // UTC, by the authority's clock
	Value   secret.Value
}

// Revision counts the writes to one document from 1; 0 is the revision of nothing.
type Revision uint64

// Document is one of Custody's own.
type Document struct {
	Key      string
	Revision Revision
	Data     []byte
}

// DigestKeyBytes is the length of a digest key, and of the key that digest keys are derived from.
const DigestKeyBytes = 32

// DeriveDigestKey derives the digest key of path from the one key that was made with the authority and is kept, and backed
// up, with it.
func DeriveDigestKey(master []byte, path Path) ([]byte, error) {
	if len(master) != DigestKeyBytes {
		return nil, fmt.Errorf("deriving digest key of %s: the key that it is derived from has %d bytes, want %d", path, len(master), DigestKeyBytes)
	}
	key, err := hkdf.Key(sha256.New, master, nil, "custody digest key of "+string(path), DigestKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("deriving digest key of %s: %w", path, err)
	}
	return key, nil
}
