// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Tracked returns the Git work tree that tracks path, "" when none does: whoever can push to its repository can change the
// file. Path is absolute and free of symbolic links. Git itself is not asked: it would run what its configuration names.
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
			holds, err := indexed(folder, "index", filepath.ToSlash(relative))
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

var errIndex = errors.New("it is not an index that is understood")

// indexed reports whether the index file called name lists path. See gitformat-index(5).
func indexed(folder, name, path string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // nothing was ever added
	}
	if err != nil {
		return false, err
	}
	hash := 20
	if config, err := os.ReadFile(filepath.Join(folder, "config")); err == nil && bytes.Contains(bytes.ToLower(config), []byte("sha256")) {
		hash = 32
	}
	if len(data) < 12+hash || string(data[:4]) != "DIRC" {
		return false, errIndex
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version < 2 || version > 4 {
		return false, errIndex
	}
	rest, before := data[12:len(data)-hash], ""
	for range count {
		var entry string
		if entry, rest, err = indexEntry(rest, before, version, hash); err != nil {
			return false, err
		}
		if entry == path {
			return true, nil
		}
		before = entry
	}
	for len(rest) >= 8 { // extensions
		size := int(binary.BigEndian.Uint32(rest[4:]))
		if size < 0 || size > len(rest)-8 {
			return false, errIndex
		}
		if string(rest[:4]) == "link" && size >= hash && name == "index" { // the rest is in a file that is shared
			return indexed(folder, "sharedindex."+hex.EncodeToString(rest[8:8+hash]), path)
		}
		rest = rest[8+size:]
	}
	return false, nil
}

// indexEntry takes the name of the first entry in data, and returns what follows the entry.
func indexEntry(data []byte, before string, version uint32, hash int) (string, []byte, error) {
	fixed := 40 + hash + 2
	if len(data) < fixed+2 {
		return "", nil, errIndex
	}
	if version >= 3 && binary.BigEndian.Uint16(data[fixed-2:])&0x4000 != 0 {
		fixed += 2
	}
	name := data[min(fixed, len(data)):]
	kept := 0
	if version == 4 {
		drop, read := offset(name)
		if read == 0 || drop > len(before) {
			return "", nil, errIndex
		}
		name, kept = name[read:], len(before)-drop
	}
	end := bytes.IndexByte(name, 0)
	if end < 0 {
		return "", nil, errIndex
	}
	if version == 4 {
		return before[:kept] + string(name[:end]), name[end+1:], nil
	}
	size := (fixed + end + 8) &^ 7 // one to eight bytes of padding
	if size > len(data) {
		return "", nil, errIndex
	}
	return string(name[:end]), data[size:], nil
}

// offset reads a number as Git writes offsets, and how many bytes it takes; 0 when there is none.
func offset(data []byte) (value, read int) {
	for i, b := range data {
		if i > 4 {
			return 0, 0
		}
		if i > 0 {
			value++
		}
		value = value<<7 | int(b&0x7f)
		if b&0x80 == 0 {
			return value, i + 1
		}
	}
	return 0, 0
}
