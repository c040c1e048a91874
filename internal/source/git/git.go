// SPDX-License-Identifier: Apache-2.0

// Package git reads a branch of a Git repository: it fetches it into a bare clone, judges its commits, and reads the files
// of one commit. It knows no host and no platform, has no clock, and runs no program.
//
// Guaranteed: files are read from the tree of one commit, so that no reader sees half of a change. Nothing larger than Limits is
// taken into memory or kept on disk. Follow accepts a commit only if it descends from the one before and if every commit that needs a
// signature is signed by one of the signers. It uses no configuration of Git or SSH and no agent: the caller passes the identity of the
// server and the credentials.
//
// Not guaranteed: that the clone survives a loss of power. It is a cache: a damaged one gives ErrDamaged, and after Discard the next
// Fetch clones again. Object names are SHA-1 with the detection of known collisions; repositories of SHA-256 cannot be read.
//
// Cost: a fetch without news is one request. A fetch with news keeps one more pack in the clone. Follow reads the commits between.
// Files reads the trees of the folder and its YAML files.
package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// ID is the name of a commit: 40 hexadecimal digits.
type ID string

// Short is the beginning of the name, for people.
func (i ID) Short() string { return string(i[:min(12, len(i))]) }

func (i ID) hash() plumbing.Hash { return plumbing.NewHash(string(i)) }

// Limits bound what is taken from a repository.
type Limits struct {
	// Pack bounds what one fetch downloads, and Object one object when it is unpacked, both in bytes.
	Pack, Object int64
	// Entries bounds the names in the folder that is read, with those beneath it, and Depth how far beneath they are.
	Entries, Depth int
	// File bounds one file and Files all together, in bytes.
	File, Files int64
	// Commits bounds how many commits are judged at once.
	Commits int
}

var (
	// ErrDamaged: the clone cannot be read. Discard it and fetch again.
	ErrDamaged = errors.New("the clone is damaged")
	// ErrGone: the clone is whole, and has no such commit: the branch led to it once, and was rewritten before the clone was made.
	ErrGone = errors.New("the branch no longer leads to this commit, and the clone does not have it")
)

// headName is the reference to what the branch pointed to when it was fetched last.
const headName = plumbing.ReferenceName("refs/custody/head")

// fetchedName is the file that says when that was.
const fetchedName = "custody-fetched"

// cacheSize bounds the unpacked objects that one operation keeps.
const cacheSize = 16 * cache.MiByte

// Clone is a bare clone of one branch. Each method opens it anew, so that one that fetches and others that read do not
// disturb each other; two that fetch would.
type Clone struct {
	folder string
	limits Limits
}

// In returns the clone in a folder, which need not be there yet.
func In(folder string, limits Limits) *Clone { return &Clone{folder, limits} }

func (c *Clone) open() *filesystem.Storage {
	return filesystem.NewStorage(osfs.New(c.folder), cache.NewObjectLRU(cacheSize))
}

// Head returns what the branch pointed to when it was fetched last, and when that was. It is "" before.
func (c *Clone) Head() (ID, time.Time, error) {
	ref, err := c.open().Reference(headName)
	if errors.Is(err, plumbing.ErrReferenceNotFound) || errors.Is(err, fs.ErrNotExist) {
		return "", time.Time{}, nil
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("reading the clone: %w: %w", ErrDamaged, err)
	}
	text, err := os.ReadFile(filepath.Join(c.folder, fetchedName))
	if err != nil {
		return ID(ref.Hash().String()), time.Time{}, nil //nolint:nilerr // the time is for people alone
	}
	at, _ := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	return ID(ref.Hash().String()), at, nil
}

// Discard removes the clone. What was believed of it is believed elsewhere.
func (c *Clone) Discard() error {
	if err := os.RemoveAll(c.folder); err != nil {
		return fmt.Errorf("removing the clone: %w", err)
	}
	return nil
}

// note keeps what the branch points to, and when that was asked.
func (c *Clone) note(store *filesystem.Storage, head plumbing.Hash, at time.Time) error {
	if err := store.SetReference(plumbing.NewHashReference(headName, head)); err != nil {
		return fmt.Errorf("noting the head of the branch: %w", err)
	}
	if err := os.WriteFile(filepath.Join(c.folder, fetchedName), []byte(at.UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return fmt.Errorf("noting when the branch was fetched: %w", err)
	}
	return nil
}

// has reports whether a commit is in the clone.
func has(store *filesystem.Storage, id plumbing.Hash) bool { return store.HasEncodedObject(id) == nil }

// missing says why a commit is not in the clone, nil when it is.
func missing(store *filesystem.Storage, id ID) error {
	if has(store, id.hash()) {
		return nil
	}
	if ref, err := store.Reference(headName); err == nil && has(store, ref.Hash()) {
		return fmt.Errorf("reading commit %s: %w", id.Short(), ErrGone)
	}
	return fmt.Errorf("reading commit %s: %w", id.Short(), ErrDamaged)
}

// damaged tells what a broken object store says from what was asked for and is not there.
func damaged(doing string, err error) error {
	return fmt.Errorf("%s: %w: %w", doing, ErrDamaged, err)
}
