// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/index"
)

// ErrBusy: Git is changing a work tree that path is in. What it writes it lists in its index at the end alone: whether it
// tracks path cannot be told before.
var ErrBusy = errors.New("git is changing the work tree")

// Tracked returns the Git work tree that tracks path, "" when none does: whoever can push to its repository can change the
// file. Path is absolute and free of symbolic links. Git itself is not asked: it would run what its configuration names. What
// was read of the file before is believed by the answer, what is read later is not. It fails with ErrBusy while Git works there.
//
// Repositories that keep their folder elsewhere and do not say so at the work tree (GIT_DIR, core.worktree) are not found.
func Tracked(path string) (string, error) {
	for tree := filepath.Dir(path); ; tree = filepath.Dir(tree) {
		folder, err := repository(tree)
		if err != nil {
			return "", err
		}
		if folder != "" {
			relative, err := filepath.Rel(tree, path)
			if err != nil {
				return "", fmt.Errorf("finding %s in %s: %w", path, tree, err)
			}
			if lock := filepath.Join(folder, "index.lock"); exists(lock) { // asked before the index is read, which replaces it
				return "", fmt.Errorf("%w %s (%s is there): try again, or remove that file if no git runs", ErrBusy, tree, lock)
			}
			holds, err := indexed(folder, filepath.ToSlash(relative))
			if err != nil {
				return "", fmt.Errorf("reading the index of %s: %w", tree, err)
			}
			if holds {
				return tree, nil
			}
		}
		if tree == filepath.Dir(tree) {
			return "", nil
		}
	}
}

// repository returns the folder in which Git keeps the index of a work tree, "" when the folder is none.
func repository(tree string) (string, error) {
	at := filepath.Join(tree, ".git")
	info, err := os.Stat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking at %s: %w", at, err)
	case info.IsDir():
		return at, nil
	}
	data, err := os.ReadFile(at) // of a linked work tree, or a submodule
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", at, err)
	}
	folder, is := strings.CutPrefix(strings.TrimSpace(string(data)), "gitdir: ")
	if !is {
		return "", nil
	}
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(tree, folder)
	}
	return folder, nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// indexed reports whether the index in a repository's folder lists path, which is relative to the work tree and has
// slashes. An index in a form that is not read (split, SHA-256) is an error: what cannot be told is not believed.
func indexed(folder, path string) (bool, error) {
	file, err := os.Open(filepath.Join(folder, "index"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // nothing was ever added
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	var entries index.Index
	err = index.NewDecoder(file).Decode(&entries)
	if errors.Is(err, index.ErrUnknownExtension) {
		return false, fmt.Errorf("%w; if it is split, `git update-index --no-split-index` joins it", err)
	}
	if err != nil {
		return false, fmt.Errorf("%w; keep the host file outside the work tree, in /etc/custody", err)
	}
	return slices.ContainsFunc(entries.Entries, func(e *index.Entry) bool { return e.Name == path }), nil
}
