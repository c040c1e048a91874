// SPDX-License-Identifier: Apache-2.0

// Package durable has operations that change files so that after a crash a file has its old content or its new content,
// never half of it.
//
// Each operation works inside one open folder and follows no symbolic links. When it returns nil, the file and its
// folder are synced. When it returns an error, the old content is still there, with one exception: if the last sync of
// the folder fails, the new content is in place, and only a crash could still undo that. Calling the operation again
// settles it.
//
// A crash may leave a temporary file .NAME.SIXTEENHEX.tmp, which no operation reads. If there is only one writer, the
// file is .NAME.custody.tmp, and the next write of that file removes it. Not guaranteed: that it refuses a link that
// somebody else creates between its check and its action; even then it reaches nothing outside the folder. Cost: one
// write, two fsyncs and a rename for each call, of which folders that are opened with the same Syncs share that of the folder; Fill syncs once for many files, and promises less.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrSymlink: a symbolic link stands where a folder or a regular file is expected.
var ErrSymlink = errors.New("a symbolic link is in the way")

// ErrNotRegular: something that is no regular file stands where one is expected.
var ErrNotRegular = errors.New("not a regular file")

// ErrOutside: the name would leave the folder.
var ErrOutside = errors.New("the path leaves its folder")

// Keep leaves a file's owner or group as the process makes it.
const Keep = -1

// Attributes of a file that Replace makes.
type Attributes struct {
	Mode fs.FileMode
	// UID and GID are numbers, or Keep.
	UID, GID int
	// AccessList is a POSIX access list as AccessList returns it; nil for none beyond what the folder gives.
	AccessList []byte
	// Alone: the caller sees to it that nobody else writes this file meanwhile. Then what a crash left is found by its name,
	// however many files the folder has.
	Alone bool
}

// Private is 0600, owned by the process.
var Private = Attributes{Mode: 0o600, UID: Keep, GID: Keep}

// accessList is the attribute in which the kernel keeps what setfacl sets.
const accessList = "system.posix_acl_access"

// maxAccessList is the largest value that the kernel keeps in an attribute.
const maxAccessList = 64 << 10

// Folder is an open folder; nothing outside it can be reached through it.
type Folder struct {
	root *os.Root
	// syncs, when set, are shared with other folders.
	syncs *Syncs
}

// Open opens an existing folder.
func Open(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening folder: %w", err)
	}
	return &Folder{root: root}, nil
}

// OpenSharing is Open of a folder that shares its syncs with others that are opened with the same Syncs.
func OpenSharing(dir string, syncs *Syncs) (*Folder, error) {
	folder, err := Open(dir)
	if err == nil {
		folder.syncs = syncs
	}
	return folder, err
}

// Make opens a folder, making it (0700) and its parents when absent.
func Make(dir string) (*Folder, error) {
	var absent []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		absent = append(absent, at)
	}
	for _, at := range slices.Backward(absent) {
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("making folder: %w", err)
		}
		parent, err := os.Open(filepath.Dir(at))
		if err != nil {
			return nil, fmt.Errorf("making folder: %w", err)
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return nil, fmt.Errorf("making folder: %w", err)
		}
	}
	return Open(dir)
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Dir is the path the folder was opened with.
func (f *Folder) Dir() string { return f.root.Name() }

// Displaced reports whether the path leads to another folder now, or to none: this one was moved, removed or mounted over.
// What it holds can still be reached through it. An error of looking tells nothing.
func (f *Folder) Displaced() bool {
	own, err := f.root.Stat(".")
	if err != nil {
		return false
	}
	there, err := os.Stat(f.Dir())
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(own, there)
}

// Read returns a file's content.
func (f *Folder) Read(name string) ([]byte, error) {
	info, err := f.walk(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: %w", name, ErrNotRegular) // a pipe would wait for ever
	}
	data, err := f.root.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	return data, nil
}

// Stat describes a file without following a link.
func (f *Folder) Stat(name string) (fs.FileInfo, error) {
	if err := f.plain(filepath.Dir(name)); err != nil {
		return nil, err
	}
	return f.root.Lstat(name)
}

// Create writes a file that must not exist yet (fs.ErrExist), mode 0600.
func (f *Folder) Create(name string, data []byte) error { return f.CreateAs(name, data, Private) }

// CreateAs is Create with other attributes.
func (f *Folder) CreateAs(name string, data []byte, as Attributes) error {
	if _, err := f.Stat(name); err == nil {
		return fmt.Errorf("creating %s: %w", name, fs.ErrExist)
	}
	temporary, err := f.write(name, data, as)
	if err != nil {
		return err
	}
	if err := f.root.Link(temporary, name); err != nil {
		_ = f.root.Remove(temporary)
		return fmt.Errorf("creating %s: %w", name, err)
	}
	_ = f.root.Remove(temporary) // the file is made, whatever becomes of its second name
	return f.syncParent(name)
}

// Replace writes a file whether or not it exists. Readers see the old content or the new.
func (f *Folder) Replace(name string, data []byte, as Attributes) error {
	temporary, err := f.write(name, data, as)
	if err != nil {
		return err
	}
	if err := f.root.Rename(temporary, name); err != nil {
		_ = f.root.Remove(temporary)
		return fmt.Errorf("replacing %s: %w", name, err)
	}
	return f.syncParent(name)
}

// Fill writes files that are not there yet, and the folders above them, and syncs once for all of them, with whatever else is to be
// written to the file system. It is not whole or nothing: after an error or a crash any of the files may be missing or cut short.
// Whoever reads them must be able to tell.
func (f *Folder) Fill(files iter.Seq2[string, []byte]) error {
	above := "."
	for name, data := range files {
		if parent := filepath.Dir(name); parent != above {
			if err := f.MakeParents(name); err != nil {
				return err
			}
			above = parent
		}
		if err := f.fill(name, data); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	dir, err := f.root.Open(".")
	if err != nil {
		return fmt.Errorf("syncing %s: %w", f.Dir(), err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("syncing %s: %w", f.Dir(), err)
	}
	return nil
}

func (f *Folder) fill(name string, data []byte) error {
	if !filepath.IsLocal(name) {
		return ErrOutside
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Private.Mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// Overwrite writes a file that exists without making another one, so that whoever holds it open, has another name for it or
// has it mounted sees the new content. Unlike the other verbs it is not whole or nothing: a reader, or a crash, may see a
// part; repeating the call settles it. The mode and owner are set before the content, the access list stays.
func (f *Folder) Overwrite(name string, data []byte, as Attributes) error {
	if err := f.plain(name); err != nil {
		return err
	}
	if info, err := f.root.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("overwriting %s: %w", name, errors.Join(err, ErrNotRegular))
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("overwriting %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	if as.UID != Keep || as.GID != Keep {
		if err := file.Chown(as.UID, as.GID); err != nil {
			return fmt.Errorf("overwriting %s: %w", name, err)
		}
	}
	if err := file.Chmod(as.Mode); err != nil {
		return fmt.Errorf("overwriting %s: %w", name, err)
	}
	// The new content first and the end after it: a file is never empty in between.
	if _, err := file.WriteAt(data, 0); err != nil {
		return fmt.Errorf("overwriting %s: %w", name, err)
	}
	if err := file.Truncate(int64(len(data))); err != nil {
		return fmt.Errorf("overwriting %s: %w", name, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("overwriting %s: %w", name, err)
	}
	return nil
}

// AccessList returns a file's POSIX access list, nil when it has none or its file system knows none.
func (f *Folder) AccessList(name string) ([]byte, error) {
	if err := f.plain(name); err != nil {
		return nil, err
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the access list of %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	list := make([]byte, maxAccessList)
	n, err := unix.Fgetxattr(int(file.Fd()), accessList, list)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the access list of %s: %w", name, err)
	}
	return list[:n], nil
}

// Rename gives a file another name, in place of whatever file has that name. The content must be synced already.
func (f *Folder) Rename(from, to string) error {
	if err := f.plain(from); err != nil {
		return err
	}
	if err := f.plain(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.root.Rename(from, to); err != nil {
		return fmt.Errorf("renaming %s: %w", from, err)
	}
	return errors.Join(f.syncParent(to), f.syncParent(from))
}

// Remove deletes a file, or the link itself where a link has its name; one that is absent is no error.
func (f *Folder) Remove(name string) error {
	if err := f.plain(filepath.Dir(name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	info, err := f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // an earlier call may have died before its sync
		return f.syncParent(name)
	case err != nil:
		return fmt.Errorf("removing %s: %w", name, err)
	case info.IsDir():
		return fmt.Errorf("removing %s: %w", name, ErrNotRegular)
	}
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return f.syncParent(name)
}

// MakeParents makes the folders above name (0700), refusing links on the way.
func (f *Folder) MakeParents(name string) error {
	parent := filepath.Dir(name)
	if err := f.plain(parent); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.MakeParents(parent); err != nil {
		return err
	}
	if err := f.root.Mkdir(parent, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making folders: %w", err)
	}
	return f.syncParent(parent)
}

// MakeParentsAlike is MakeParents, and gives each folder that it makes the mode of the one above, and its owner and group where
// this process may: whoever can reach what lies there can reach what will lie beneath it, and nobody else.
func (f *Folder) MakeParentsAlike(name string) error {
	parent := filepath.Dir(name)
	if err := f.plain(parent); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.MakeParentsAlike(parent); err != nil {
		return err
	}
	above, err := f.root.Stat(filepath.Dir(parent))
	if err != nil {
		return fmt.Errorf("making folders: %w", err)
	}
	if err := f.root.Mkdir(parent, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("making folders: %w", err)
	}
	if err := f.alike(parent, above); err != nil {
		return fmt.Errorf("making folders: %w", err)
	}
	return f.syncParent(parent)
}

// alike gives a folder the mode of above, and its owner and group where this process may.
func (f *Folder) alike(name string, above fs.FileInfo) error {
	made, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = made.Close() }()
	if owner, known := above.Sys().(*syscall.Stat_t); known {
		if err := made.Chown(int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		} // where it may not, the folder is this process's own, as the files in it are
	}
	return made.Chmod(above.Mode() & (fs.ModePerm | fs.ModeSetgid)) // after the owner, a change of which takes the set-group bit
}

// Temporary is the name under which a writer that is alone writes a file first.
func Temporary(name string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".custody.tmp")
}

// Clear removes what a crash left of a write of name by a writer that was alone; nothing is no error. The folder's other files
// are not looked at.
func (f *Folder) Clear(name string) error {
	if _, err := f.Stat(Temporary(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.Remove(Temporary(name))
}

// write makes a synced temporary file beside name and returns its name; on an error there is none.
func (f *Folder) write(name string, data []byte, as Attributes) (_ string, err error) {
	temporary, file, err := f.temporary(name, as.Alone)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = f.root.Remove(temporary)
		}
	}()
	if as.UID != Keep || as.GID != Keep {
		if err := file.Chown(as.UID, as.GID); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if as.AccessList != nil { // before the mode, which bounds what the list gives
		if err := unix.Fsetxattr(int(file.Fd()), accessList, as.AccessList, 0); err != nil {
			return "", fmt.Errorf("writing %s: keeping its access list: %w", name, err)
		}
	}
	if err := file.Chmod(as.Mode); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	if _, err := file.Write(data); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	if err := file.Sync(); err != nil {
		return "", fmt.Errorf("syncing %s: %w", name, err)
	}
	if err := file.Close(); err != nil {
		return "", fmt.Errorf("closing %s: %w", name, err)
	}
	return temporary, nil
}

// temporary opens a new file beside name that only its owner can read or write, whatever it is to become; alone, it is the one
// of its name.
func (f *Folder) temporary(name string, alone bool) (string, *os.File, error) {
	if err := f.plain(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", nil, err
	}
	temporary := Temporary(name)
	if alone {
		if err := f.Clear(name); err != nil {
			return "", nil, err
		}
	} else {
		var suffix [8]byte
		_, _ = rand.Read(suffix[:]) // never fails
		temporary = filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+hex.EncodeToString(suffix[:])+".tmp")
	}
	file, err := f.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return temporary, file, nil
}

// plain refuses names that leave the folder and any link on the way, the last element included.
func (f *Folder) plain(name string) error {
	if name == "." {
		return nil // it is open
	}
	_, err := f.walk(name)
	return err
}

// walk is plain, and describes what has the name.
func (f *Folder) walk(name string) (info fs.FileInfo, err error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%w: %s", ErrOutside, name)
	}
	walked := ""
	for part := range strings.SplitSeq(filepath.Clean(name), string(filepath.Separator)) {
		walked = filepath.Join(walked, part)
		if info, err = f.root.Lstat(walked); err != nil {
			return nil, fmt.Errorf("looking at %s: %w", name, err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%w: %s", ErrSymlink, walked)
		}
	}
	return info, nil
}

func (f *Folder) syncParent(name string) error {
	dir, err := f.root.Open(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("syncing folder of %s: %w", name, err)
	}
	defer func() { _ = dir.Close() }()
	if err := f.syncs.sync(dir); err != nil {
		return fmt.Errorf("syncing folder of %s: %w", name, err)
	}
	return nil
}
