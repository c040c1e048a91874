// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Errors of a fetch.
var (
	// ErrNoBranch: the repository is there and the branch is not.
	ErrNoBranch = errors.New("the repository has no such branch")
	// ErrTooLarge: the repository, or an object of it, is larger than the limits.
	ErrTooLarge = errors.New("it is larger than the limit")
)

// remote is the repository that is fetched from. One is used for one fetch, and closed.
type remote interface {
	// head returns the commit of a branch.
	head(ctx context.Context, branch string) (plumbing.Hash, error)
	// pack writes what is reachable from want and not from have. It is called once at most, after head.
	pack(ctx context.Context, want plumbing.Hash, have []plumbing.Hash, w io.Writer) error
	close()
}

// incoming is where a pack is downloaded to, in the clone. What a fetch that was cut off left is written over.
const incoming = "incoming.pack"

// Fetch asks a repository for a branch, takes into the clone what is new, and returns the branch's commit. At is the time to note.
// It returns when ctx ends, or soon after; what was taken by then is as if it was not. An error leaves the head noted before.
// Fetch can be repeated.
func (c *Clone) Fetch(ctx context.Context, from Repository, branch string, at time.Time) (ID, error) {
	if packs, err := filepath.Glob(filepath.Join(c.folder, "objects", "pack", "*.pack")); err == nil && len(packs) >= maxPacks {
		return c.anew(ctx, from, branch, at)
	}
	store, err := c.initialise()
	if err != nil {
		return "", err
	}
	source, err := from.connect(ctx)
	if err != nil {
		return "", fmt.Errorf("fetching %s: %w", from.Name(), err)
	}
	defer source.close()
	head, err := source.head(ctx, branch)
	if err != nil {
		return "", fmt.Errorf("fetching %s, branch %s: %w", from.Name(), branch, err)
	}
	if !has(store, head) {
		if err := c.download(ctx, store, source, head); err != nil {
			return "", fmt.Errorf("fetching %s, branch %s: %w", from.Name(), branch, err)
		}
	}
	return ID(head.String()), c.note(store, head, at)
}

// maxPacks is how many packs a clone has at most: each fetch with news adds one, and each is looked through for each object.
const maxPacks = 200

// anew fetches all of the branch into another clone, which takes the place of this one. Who reads at that moment may find a damaged
// one.
func (c *Clone) anew(ctx context.Context, from Repository, branch string, at time.Time) (ID, error) {
	fresh := In(c.folder+".next", c.limits)
	if err := fresh.Discard(); err != nil {
		return "", err
	}
	head, err := fresh.Fetch(ctx, from, branch, at)
	if err == nil {
		err = c.Discard()
	}
	if err == nil {
		err = os.Rename(fresh.folder, c.folder)
	}
	return head, err
}

// initialise makes the clone's folders where they are not there.
func (c *Clone) initialise() (*filesystem.Storage, error) {
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the clone: %w", err)
	}
	store := c.open()
	if err := store.Init(); err != nil {
		return nil, fmt.Errorf("making the clone: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(c.folder, "objects", "pack", "tmp_*"))
	if err != nil {
		return nil, fmt.Errorf("making the clone: %w", err)
	}
	for _, name := range left { // of a fetch that was cut off
		_ = os.Remove(name)
	}
	return store, nil
}

// download takes a pack to disk, looks at what it would unpack to, and only then at what it is.
func (c *Clone) download(ctx context.Context, store *filesystem.Storage, source remote, head plumbing.Hash) error {
	name := filepath.Join(c.folder, incoming)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close() // it was read whole by now, or counts for nothing
		_ = os.Remove(name)
	}()
	var have []plumbing.Hash
	if ref, err := store.Reference(headName); err == nil && has(store, ref.Hash()) {
		have = append(have, ref.Hash())
	}
	if err := source.pack(ctx, head, have, &bounded{ctx: ctx, to: file, left: c.limits.Pack}); err != nil {
		return err
	}
	if err := c.examine(ctx, file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := packfile.UpdateObjectStorage(store, file); err != nil {
		return fmt.Errorf("taking in what was sent: %w", err)
	}
	if fresh := c.open(); !has(fresh, head) {
		return errors.New("what was sent does not have the commit of the branch")
	}
	return nil
}

// bounded is a writer that takes so much and no more, while ctx lasts.
type bounded struct {
	ctx  context.Context
	to   io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("%w: what was sent, packed", ErrTooLarge)
	}
	return b.to.Write(p)
}

// examine unpacks each object of a pack into nothing, and refuses one that is, or as a difference makes, more than an object may
// be: a few bytes can be packed that fill a machine's memory.
func (c *Clone) examine(ctx context.Context, file io.ReadSeeker) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scanner := packfile.NewScanner(file)
	_, count, err := scanner.Header()
	if errors.Is(err, packfile.ErrEmptyPackfile) {
		return errors.New("nothing was sent")
	}
	if err != nil {
		return fmt.Errorf("reading what was sent: %w", err)
	}
	for range count {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return fmt.Errorf("reading what was sent: %w", err)
		}
		first := &beginning{left: c.limits.Object}
		if header.Length <= c.limits.Object {
			if _, _, err = scanner.NextObject(first); err != nil && !errors.Is(err, ErrTooLarge) {
				return fmt.Errorf("reading what was sent: %w", err)
			}
		}
		size := header.Length
		if header.Type.IsDelta() {
			size = max(size, first.makes())
		}
		if size > c.limits.Object || err != nil {
			return fmt.Errorf("%w: an object of %d bytes", ErrTooLarge, size)
		}
	}
	return nil
}

// beginning counts what is written to it, and keeps the first bytes.
type beginning struct {
	kept []byte
	left int64
}

func (b *beginning) Write(p []byte) (int, error) {
	const most = 2 * binary.MaxVarintLen64
	b.kept = append(b.kept, p[:min(len(p), max(0, most-len(b.kept)))]...)
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, ErrTooLarge
	}
	return len(p), nil
}

// makes is the size of what a difference makes: the second number that it begins with.
func (b *beginning) makes() int64 {
	reader := bytes.NewReader(b.kept)
	_, err := binary.ReadUvarint(reader)
	if err != nil {
		return 1<<63 - 1
	}
	size, err := binary.ReadUvarint(reader)
	if err != nil || size > 1<<62 {
		return 1<<63 - 1
	}
	return int64(size)
}

// local is a repository in a folder of this machine. No git program is run on it: that one would do what its settings say.
type local struct {
	store storer.Storer
}

// openLocal opens a bare repository or a work tree.
func openLocal(folder string) (remote, error) {
	if info, err := os.Stat(filepath.Join(folder, ".git")); err == nil && info.IsDir() {
		folder = filepath.Join(folder, ".git")
	}
	if _, err := os.Stat(filepath.Join(folder, "HEAD")); err != nil {
		return nil, fmt.Errorf("there is no repository: %w", err)
	}
	return local{filesystem.NewStorage(osfs.New(folder), cache.NewObjectLRU(cacheSize))}, nil
}

func (l local) close() {}

func (l local) head(_ context.Context, branch string) (plumbing.Hash, error) {
	ref, err := storer.ResolveReference(l.store, plumbing.NewBranchReferenceName(branch))
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return plumbing.ZeroHash, ErrNoBranch
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return ref.Hash(), nil
}

func (l local) pack(ctx context.Context, want plumbing.Hash, have []plumbing.Hash, w io.Writer) error {
	objects, err := between(ctx, l.store, want, have)
	if err != nil {
		return err
	}
	_, err = packfile.NewEncoder(w, l.store, false).Encode(objects, 0) // no differences: they are looked for at length
	return err
}
