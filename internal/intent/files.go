// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/upstream"
)

// Files are an estate's files as they were read, once: what is linted, what is in force and what is kept are these bytes.
type Files struct {
	read   []oneFile
	bounds bounds
	// tooLarge: there were more bytes than an estate may have, and no more were read.
	tooLarge bool
	sum      string
	// since says when newest forms were first found not to fit; see Older.
	since map[string]time.Time
	// demands are those of documents that are not in force; see Estate.Demands.
	demands map[string][]upstream.Demand
	// secrets are those that were declared when the files were parsed last, by name; nil before.
	secrets map[string]declaredAs
}

// oneFile is a file that was read, or why it was not: the rule that it breaks.
type oneFile struct {
	name string
	// part numbers, from 1, documents of the file that stand in a copy without the others; 0 is a whole file.
	part         int
	data         []byte
	rule, reason string
}

const (
	// partsFolder and the files are in copies alone. Read skips them.
	partsFolder = ".parts"
	sinceFile   = ".since"
	demandsFile = ".demands"
)

// place is where the file stands in a copy.
func (o oneFile) place() string {
	if o.part == 0 {
		return o.name
	}
	return path.Join(partsFolder, strconv.Itoa(o.part), o.name)
}

// Read reads the files of the estate in dir: YAML, none in a dot folder. The error is for a folder that cannot be read.
func Read(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening estate: %w", err)
	}
	defer func() { _ = root.Close() }()
	return readFS(root.FS(), largest())
}

// readFS is Read on any file system.
func readFS(fsys fs.FS, most bounds) (*Files, error) {
	f, size := &Files{bounds: most}, 0
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
		if size += len(data); size > most.bytes {
			f.tooLarge = true
			return fs.SkipAll
		}
		f.read = append(f.read, oneFile{name: name, data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading estate: %w", err)
	}
	f.addUp()
	return f, nil
}

// Entry is a file of an estate that is in no folder of this machine.
type Entry struct {
	// Name is the path, with slashes.
	Name string
	// Link: it is a symbolic link.
	Link bool
	Data []byte
}

// Wanted reports whether a file of that name, which stands in no dot folder, is one of an estate.
func Wanted(name string) bool {
	return !strings.HasPrefix(path.Base(name), ".") && (path.Ext(name) == ".yaml" || path.Ext(name) == ".yml")
}

// Of makes an estate's files of entries, as Read would of a folder that holds them.
func Of(entries []Entry) *Files {
	f, size := &Files{bounds: largest()}, 0
	for _, entry := range slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return inOrder(a.Name, b.Name) }) {
		switch size += len(entry.Data); {
		case entry.Link:
			f.read = append(f.read, oneFile{name: entry.Name, rule: "file-symlink", reason: "a symbolic link"})
		case !Wanted(entry.Name):
		case size > maxEstate:
			f.tooLarge = true
		default:
			f.read = append(f.read, oneFile{name: entry.Name, data: entry.Data[:min(len(entry.Data), maxFile+1)]})
		}
	}
	f.addUp()
	return f
}

// inOrder compares names in the order in which a folder is read.
func inOrder(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) }

// OfCopy is ReadCopy of what All yielded, where it is in no folder.
func OfCopy(files map[string][]byte) (*Files, error) {
	f := &Files{bounds: largest()}
	for name, data := range files {
		one := oneFile{name: name, data: data}
		if within, is := strings.CutPrefix(name, partsFolder+"/"); is {
			number, rest, _ := strings.Cut(within, "/")
			part, err := strconv.Atoi(number)
			if err != nil || rest == "" {
				return nil, fmt.Errorf("reading copy of estate: it has a file %q", name)
			}
			one.name, one.part = rest, part
		}
		if name != sinceFile && name != demandsFile {
			f.read = append(f.read, one)
		}
	}
	slices.SortFunc(f.read, func(a, b oneFile) int { return cmp.Or(cmp.Compare(a.part, b.part), inOrder(a.name, b.name)) })
	f.addUp()
	for name, into := range map[string]any{sinceFile: &f.since, demandsFile: &f.demands} {
		if data, noted := files[name]; noted {
			if err := json.Unmarshal(data, into); err != nil {
				return nil, fmt.Errorf("reading copy of estate: %w", err)
			}
		}
	}
	return f, nil
}

// MostFile and MostFiles bound one file of an estate, and all together, in bytes.
const (
	MostFile  = maxFile
	MostFiles = maxEstate
)

// ReadCopy reads a copy that was made of All.
func ReadCopy(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening copy of estate: %w", err)
	}
	defer func() { _ = root.Close() }()
	return readCopy(root.FS(), largest())
}

func readCopy(fsys fs.FS, most bounds) (*Files, error) {
	f, err := readFS(fsys, most)
	if err != nil {
		return nil, err
	}
	for number := 1; ; number++ {
		sub, err := fs.Sub(fsys, path.Join(partsFolder, strconv.Itoa(number)))
		if err != nil {
			return nil, fmt.Errorf("reading copy of estate: %w", err)
		}
		part, err := readFS(sub, most)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		for _, one := range part.read {
			one.part = number
			f.read = append(f.read, one)
		}
	}
	f.addUp()
	for name, into := range map[string]any{sinceFile: &f.since, demandsFile: &f.demands} {
		if err := readNoted(fsys, name, into); err != nil {
			return nil, fmt.Errorf("reading copy of estate: %w", err)
		}
	}
	return f, nil
}

// readNoted reads what a copy notes beside its documents, if it does.
func readNoted(fsys fs.FS, name string, into any) error {
	encoded, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(encoded, into)
	}
	return err
}

// addUp notes the sum of what was read.
func (f *Files) addUp() {
	sum := sha256.New()
	for _, one := range f.read {
		_, _ = fmt.Fprintf(sum, "%q %q %d\n", one.place(), one.rule, len(one.data))
		_, _ = sum.Write(one.data)
	}
	f.sum = hex.EncodeToString(sum.Sum(nil))
}

// readLimited reads at most one byte more than a file may have.
func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(info.Size(), maxFile)+1) // what is kept of very many small files has no room to grow
	read, err := io.ReadFull(f, data)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return data[:read], nil
	case err != nil:
		return nil, err
	}
	more, err := io.ReadAll(io.LimitReader(f, maxFile+1-int64(read))) // it grew
	return append(data, more...), err
}

// Sum is SHA-256 over the names and the bytes, in hexadecimal: two readings with the same sum found the same.
func (f *Files) Sum() string { return f.sum }

// All yields what a copy is made of, by name: the files that were read, documents that stand apart from theirs, when newest
// forms were first found not to fit, and what those want.
func (f *Files) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, one := range f.read {
			if one.rule == "" && !yield(one.place(), one.data) {
				return
			}
		}
		if len(f.since) > 0 && !yield(sinceFile, encoded(f.since)) {
			return
		}
		if len(f.demands) > 0 {
			yield(demandsFile, encoded(f.demands))
		}
	}
}

func encoded(noted any) []byte {
	text, err := json.Marshal(noted)
	if err != nil {
		panic("intent: encoding times and texts cannot fail: " + err.Error())
	}
	return text
}

// Load makes an estate of the files and reports everything that is wrong with it, in order of file and line. The estate is
// nil when anything is wrong that this machine does not get wrong alone; see Fault.Here and Estate.Held.
func (f *Files) Load(options Options) (*Estate, []Fault) {
	return f.judge(f.parse(options.Types), options)
}

// judge applies the rules to what was parsed.
func (f *Files) judge(r *reader, options Options) (*Estate, []Fault) {
	estate := newChecker(r, options).run()
	list := r.faults.sorted()
	if r.faults.everywhere() {
		return nil, list
	}
	for _, fault := range list {
		estate.hold(fault)
	}
	estate.want(f.demands)
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
