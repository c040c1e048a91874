// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Errors of a commit that is refused.
var (
	// ErrOlder: the commit is an ancestor of the one before.
	ErrOlder = errors.New("the commit is older than the one that is believed")
	// ErrRewritten: the commit does not descend from the one before.
	ErrRewritten = errors.New("the commit does not descend from the one that is believed")
	// ErrUnusable: the commit, or what it holds, cannot be taken as it is.
	ErrUnusable = errors.New("the commit cannot be used")
)

// Unsigned is the error of a commit that is not signed as it must be.
type Unsigned struct {
	Commit ID
	// Why completes "commit …:".
	Why string
}

func (u *Unsigned) Error() string { return fmt.Sprintf("commit %s: %s", u.Commit.Short(), u.Why) }

// Follow judges whether the commit to may take the place of from, and says who signed it, "" where signers is nil. From "" is
// before the first commit, and Alone judges without what lies between. At is the time by which keys are judged.
//
// The errors are ErrOlder, ErrRewritten, *Unsigned and ErrUnusable, of the commit; ErrDamaged, of the clone.
func (c *Clone) Follow(from, to ID, signers *Signers, at time.Time) (signer string, err error) {
	if from == to || from == "" {
		return c.Alone(to, signers, at)
	}
	store := c.open()
	way, err := c.way(store, from, to)
	if err != nil {
		return "", err
	}
	for _, id := range way { // newest first
		found, err := signedBy(store, c.limits, id, signers, at)
		if err != nil {
			return "", err
		}
		if id == to {
			signer = found
		}
	}
	return signer, nil
}

// Alone judges the signature of one commit.
func (c *Clone) Alone(id ID, signers *Signers, at time.Time) (signer string, err error) {
	return signedBy(c.open(), c.limits, id, signers, at)
}

func signedBy(store *filesystem.Storage, limits Limits, id ID, signers *Signers, at time.Time) (string, error) {
	if signers == nil {
		_, err := commitOf(store, limits, id.hash())
		return "", err
	}
	raw, err := rawCommit(store, limits, id.hash())
	if err != nil {
		return "", err
	}
	signer, err := signers.verify(raw, at)
	if err != nil {
		return "", &Unsigned{id, err.Error()}
	}
	return signer, nil
}

// way are the first parents of to, itself included, down to from or one of its ancestors; to must descend from from.
func (c *Clone) way(store *filesystem.Storage, from, to ID) ([]ID, error) {
	if !has(store, from.hash()) {
		return nil, ErrRewritten // nothing that was fetched leads to it any more
	}
	before, err := c.ancestors(store, from.hash())
	if err != nil {
		return nil, err
	}
	if before[to.hash()] {
		return nil, ErrOlder
	}
	after, err := c.ancestors(store, to.hash())
	if err != nil {
		return nil, err
	}
	if !after[from.hash()] {
		return nil, ErrRewritten
	}
	var way []ID
	for at := to.hash(); !before[at]; {
		way = append(way, ID(at.String()))
		commit, err := commitOf(store, c.limits, at)
		if err != nil {
			return nil, err
		}
		if len(commit.ParentHashes) == 0 {
			break // a root that was merged the wrong way round
		}
		at = commit.ParentHashes[0]
	}
	return way, nil
}

// ancestors are a commit and all that it descends from.
func (c *Clone) ancestors(store *filesystem.Storage, of plumbing.Hash) (map[plumbing.Hash]bool, error) {
	known, open := map[plumbing.Hash]bool{of: true}, []plumbing.Hash{of}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		commit, err := commitOf(store, c.limits, at)
		if err != nil {
			return nil, err
		}
		for _, parent := range commit.ParentHashes {
			if !known[parent] {
				known[parent] = true
				open = append(open, parent)
			}
		}
		if len(known) > c.limits.Commits {
			return nil, fmt.Errorf("%w: its history has more than %d commits", ErrUnusable, c.limits.Commits)
		}
	}
	return known, nil
}

// maxCommit bounds a commit object: a message, its parents and a signature.
const maxCommit = 1 << 20

func rawCommit(store *filesystem.Storage, limits Limits, id plumbing.Hash) ([]byte, error) {
	size, err := store.EncodedObjectSize(id)
	if err != nil {
		return nil, damaged("reading commit "+id.String(), err)
	}
	if size > min(maxCommit, limits.Object) {
		return nil, fmt.Errorf("%w: commit %s has %d bytes", ErrUnusable, id, size)
	}
	encoded, err := store.EncodedObject(plumbing.CommitObject, id)
	if err != nil {
		return nil, damaged("reading commit "+id.String(), err)
	}
	reader, err := encoded.Reader()
	if err != nil {
		return nil, damaged("reading commit "+id.String(), err)
	}
	defer func() { _ = reader.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reader, maxCommit+1))
	if err != nil {
		return nil, damaged("reading commit "+id.String(), err)
	}
	return raw, nil
}

func commitOf(store *filesystem.Storage, limits Limits, id plumbing.Hash) (*object.Commit, error) {
	size, err := store.EncodedObjectSize(id)
	if err != nil {
		return nil, damaged("reading commit "+id.String(), err)
	}
	if size > min(maxCommit, limits.Object) {
		return nil, fmt.Errorf("%w: commit %s has %d bytes", ErrUnusable, id, size)
	}
	commit, err := object.GetCommit(store, id)
	if err != nil {
		return nil, damaged("reading commit "+id.String(), err)
	}
	return commit, nil
}
