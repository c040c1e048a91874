// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// File is a file of a commit.
type File struct {
	// Name is relative to the folder that was asked for, with slashes.
	Name string
	// Link: it is a symbolic link, and Data is not read.
	Link bool
	Data []byte
}

// Files reads the files of a commit beneath a folder of its tree, "" for all of it, which wanted asks for by their names. Folders and files
// whose names begin with a dot are passed over. A folder that is not there, or is no folder, a submodule, and what exceeds the limits
// give ErrUnusable; nothing of what exceeds them is read. A commit that is not there gives ErrGone.
func (c *Clone) Files(ctx context.Context, id ID, folder string, wanted func(name string) bool) ([]File, error) {
	store := c.open()
	if err := missing(store, id); err != nil {
		return nil, err
	}
	commit, err := commitOf(store, c.limits, id.hash())
	if err != nil {
		return nil, err
	}
	w := &treeWalk{ctx: ctx, store: store, limits: c.limits, id: id, wanted: wanted}
	root := commit.TreeHash
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+folder), "/"), "/") {
		if part == "" {
			continue
		}
		if root, err = w.enter(root, part, folder); err != nil {
			return nil, err
		}
	}
	if err := w.walk(root, "", 0); err != nil {
		return nil, err
	}
	return w.files, nil
}

// treeWalk is one reading of a commit's tree.
type treeWalk struct {
	ctx     context.Context
	store   *filesystem.Storage
	limits  Limits
	id      ID
	wanted  func(string) bool
	entries int
	size    int64
	files   []File
}

func (w *treeWalk) unusable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnusable, fmt.Sprintf(format, args...))
}

// tree reads one tree, if its size leaves room for no more names than there may be.
func (w *treeWalk) tree(id plumbing.Hash) (*object.Tree, error) {
	const longest = 4 << 10 // of one entry: a mode, a name and a hash
	size, err := w.store.EncodedObjectSize(id)
	if err != nil {
		return nil, damaged("reading tree "+id.String(), err)
	}
	if size > min(int64(w.limits.Entries)*longest, w.limits.Object) {
		return nil, w.unusable("a folder of it is listed in %d bytes", size)
	}
	tree, err := object.GetTree(w.store, id)
	if err != nil {
		return nil, damaged("reading tree "+id.String(), err)
	}
	return tree, nil
}

// enter is the folder of that name in a tree.
func (w *treeWalk) enter(in plumbing.Hash, name, folder string) (plumbing.Hash, error) {
	tree, err := w.tree(in)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	for _, entry := range tree.Entries {
		if entry.Name == name && entry.Mode == filemode.Dir {
			return entry.Hash, nil
		}
	}
	return plumbing.ZeroHash, w.unusable("it has no folder %s", folder)
}

func (w *treeWalk) walk(id plumbing.Hash, under string, depth int) error {
	if depth > w.limits.Depth {
		return w.unusable("its folders are nested more than %d deep", w.limits.Depth)
	}
	tree, err := w.tree(id)
	if err != nil {
		return err
	}
	if w.entries += len(tree.Entries); w.entries > w.limits.Entries {
		return w.unusable("it has more than %d files and folders", w.limits.Entries)
	}
	for _, entry := range tree.Entries {
		name := path.Join(under, entry.Name)
		if err := w.ctx.Err(); err != nil {
			return fmt.Errorf("reading commit %s: %w", w.id.Short(), err)
		}
		if entry.Name == "" || entry.Name == ".." || strings.ContainsAny(entry.Name, "/\x00") {
			return w.unusable("it has a file that is called %q", entry.Name)
		}
		if strings.HasPrefix(entry.Name, ".") {
			continue
		}
		switch entry.Mode {
		case filemode.Dir:
			err = w.walk(entry.Hash, name, depth+1)
		case filemode.Submodule:
			err = w.unusable("%s is a submodule: what it holds is in another repository, which is not read", name)
		case filemode.Symlink:
			w.files = append(w.files, File{Name: name, Link: true})
		default:
			err = w.file(entry.Hash, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWalk) file(id plumbing.Hash, name string) error {
	if !w.wanted(name) {
		return nil
	}
	size, err := w.store.EncodedObjectSize(id)
	if err != nil {
		return damaged("reading "+name, err)
	}
	if w.size += size; size > w.limits.File || w.size > w.limits.Files {
		return w.unusable("%s has %d bytes; a file may have %d, and all together %d", name, size, w.limits.File, w.limits.Files)
	}
	blob, err := object.GetBlob(w.store, id)
	if err != nil {
		return damaged("reading "+name, err)
	}
	reader, err := blob.Reader()
	if err != nil {
		return damaged("reading "+name, err)
	}
	defer func() { _ = reader.Close() }()
	data, err := io.ReadAll(io.LimitReader(reader, size+1))
	if err != nil || int64(len(data)) != size {
		return damaged("reading "+name, fmt.Errorf("%d of %d bytes: %w", len(data), size, err))
	}
	w.files = append(w.files, File{Name: name, Data: data})
	return nil
}
