// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
)

// Files are an estate's files as they were read, once: what is linted, what is in force and what is kept are these bytes.
type Files struct {
	read []oneFile
	// tooLarge: there were more bytes than an estate may have, and no more were read.
	tooLarge bool
	sum      string
}

// oneFile is a file that was read, or why it was not: the rule that it breaks.
type oneFile struct {
	name         string
	data         []byte
	rule, reason string
}

// Read reads the files of the estate in dir: YAML, none in a dot folder. The error is for a folder that cannot be read.
func Read(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening estate: %w", err)
	}
	defer func() { _ = root.Close() }()
	return readFS(root.FS())
}

// readFS is Read on any file system.
func readFS(fsys fs.FS) (*Files, error) {
	f, size := &Files{}, 0
	unread := func(name, rule, reason string) {
		f.read = append(f.read, oneFile{name: name, rule: rule, reason: reason})
	}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			unread(name, "file-unreadable", "the folder cannot be read")
			return fs.SkipDir
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			unread(name, "file-symlink", "a symbolic link")
			return nil
		case entry.IsDir() || (path.Ext(name) != ".yaml" && path.Ext(name) != ".yml"):
			return nil
		case !entry.Type().IsRegular():
			unread(name, "file-unreadable", "not a regular file")
			return nil
		}
		data, err := readLimited(fsys, name)
		if err != nil {
			unread(name, "file-unreadable", "the file cannot be read")
			return nil
		}
		if size += len(data); size > maxEstate {
			f.tooLarge = true
			return fs.SkipAll
		}
		f.read = append(f.read, oneFile{name: name, data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading estate: %w", err)
	}
	sum := sha256.New()
	for _, one := range f.read {
		_, _ = fmt.Fprintf(sum, "%q %q %d\n", one.name, one.rule, len(one.data))
		_, _ = sum.Write(one.data)
	}
	f.sum = hex.EncodeToString(sum.Sum(nil))
	return f, nil
}

// readLimited reads at most one byte more than a file may have.
func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Sum is SHA-256 over the names and the bytes, in hexadecimal: two readings with the same sum found the same.
func (f *Files) Sum() string { return f.sum }

// All yields the files that were read, by name.
func (f *Files) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, one := range f.read {
			if one.rule == "" && !yield(one.name, one.data) {
				return
			}
		}
	}
}

// Load makes an estate of the files and reports everything that is wrong with it, in order of file and line. The estate is
// nil when anything is wrong that this machine does not get wrong alone; see Fault.Here and Estate.Held.
func (f *Files) Load(options Options) (*Estate, []Fault) {
	r := newReader(options.Types)
	for _, one := range f.read {
		if r.full {
			break
		}
		if one.rule != "" {
			r.file(one.rule, one.name, one.reason, "")
		} else {
			r.read(one.name, one.data)
		}
	}
	if f.tooLarge && !r.full {
		r.fill(fmt.Sprintf("the documents have more than %d bytes together", maxEstate))
	}
	estate := newChecker(r, options).run()
	list := r.faults.sorted()
	if r.faults.everywhere() {
		return nil, list
	}
	for _, fault := range list {
		estate.hold(fault)
	}
	estate.Files = f
	return estate, list
}

// Load is Read and then Files.Load.
func Load(dir string, options Options) (*Estate, []Fault, error) {
	files, err := Read(dir)
	if err != nil {
		return nil, nil, err
	}
	estate, faults := files.Load(options)
	return estate, faults, nil
}
