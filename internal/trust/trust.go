// SPDX-License-Identifier: Apache-2.0

// Package trust says whether a file can be trusted: whether only root and the given users could have changed what its
// path leads to.
//
// Guaranteed: every folder on the way, every symbolic link and the file itself belong to root or to one of the users,
// and neither their group nor others can write to them. A folder that everybody can write to, such as /tmp, is accepted
// only with the sticky bit, because then others cannot replace what is not theirs. An access list that lets somebody
// write shows in the group's bits, and is refused with them.
//
// Not guaranteed: anything about the members of a group (a group that can write is refused even if the user is its only
// member); that nothing was changed before the owner and the mode became what they are; file systems whose servers
// decide otherwise than the modes say.
//
// Cost: one check of each part of the path, and one read of the index of each Git repository around it.
package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"custody.dev/custody/internal/next"
)

// maxLinks bounds the symbolic links that are followed.
const maxLinks = 40

// Untrusted says what could have been changed by whom.
type Untrusted struct {
	// Path is the file or folder that somebody else could change.
	Path string
	// Reason completes "Path …".
	Reason string
	// Next is the operator's next move.
	Next string
}

// Error is the path and the reason.
func (u *Untrusted) Error() string { return u.Path + " " + u.Reason }

// Hint is the operator's next move.
func (u *Untrusted) Hint() string { return u.Next }

// Check returns an *Untrusted when somebody besides root and the users could change what path leads to, and an error that
// wraps fs.ErrNotExist when nothing is there. It returns where path leads, and every symbolic link on the way.
func Check(path string, users ...int) (places []string, err error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", path, err)
	}
	w := walk{users: users, lstat: os.Lstat, readlink: os.Readlink}
	return w.all(absolute)
}

// walk is one check.
type walk struct {
	users    []int
	lstat    func(string) (fs.FileInfo, error)
	readlink func(string) (string, error)
}

func (w walk) all(path string) ([]string, error) {
	var places []string
	at, left := "/", split(path)
	if err := w.folder(at); err != nil {
		return nil, err
	}
	for links := 0; len(left) > 0; {
		name := left[0]
		left = left[1:]
		if name == ".." { // of a link's target
			at = filepath.Dir(at) // which was looked at on the way down
			continue
		}
		next := filepath.Join(at, name)
		info, err := w.lstat(next)
		switch {
		case err != nil:
			return nil, fmt.Errorf("looking at %s: %w", next, err)
		case info.Mode()&fs.ModeSymlink != 0:
			if err := w.owned(next, info); err != nil {
				return nil, err
			}
			if links++; links > maxLinks {
				return nil, fmt.Errorf("looking at %s: %w", path, syscall.ELOOP)
			}
			target, err := w.readlink(next)
			if err != nil {
				return nil, fmt.Errorf("reading the link %s: %w", next, err)
			}
			places = append(places, next)
			if filepath.IsAbs(target) {
				at = "/"
			}
			left = append(split(target), left...)
			continue
		case info.IsDir():
			if err := w.folder(next); err != nil {
				return nil, err
			}
		default:
			if err := w.entry(next, info); err != nil {
				return nil, err
			}
		}
		at = next
	}
	return append(places, at), nil
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(part string) bool { return part == "" || part == "." })
}

// folder wants that nobody else can replace what is in a folder and belongs to the users. What is in it is looked at next,
// so that the sticky bit is enough.
func (w walk) folder(path string) error {
	info, err := w.lstat(path)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		return w.owned(path, info)
	}
	return w.entry(path, info)
}

// entry wants a file or folder to be changed by the users alone.
func (w walk) entry(path string, info fs.FileInfo) error {
	if err := w.owned(path, info); err != nil {
		return err
	}
	for _, who := range []struct {
		bit         fs.FileMode
		name, class string
	}{{0o002, "everybody", "o"}, {0o020, "group " + groupOf(info), "g"}} {
		if info.Mode().Perm()&who.bit != 0 {
			return &Untrusted{path, "can be changed by " + who.name, "`chmod " + who.class + "-w " + next.Word(path) + "`, once you know that what is there is yours"}
		}
	}
	return nil
}

func (w walk) owned(path string, info fs.FileInfo) error {
	status, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return fmt.Errorf("looking at %s: %w", path, errors.ErrUnsupported)
	}
	if owner := int(status.Uid); owner != 0 && !slices.Contains(w.users, owner) {
		return &Untrusted{path, "belongs to user " + strconv.Itoa(owner), "use one that belongs to root or to the user that runs custody, in folders that nobody else can write to"}
	}
	return nil
}

func groupOf(info fs.FileInfo) string {
	if status, known := info.Sys().(*syscall.Stat_t); known {
		return strconv.Itoa(int(status.Gid))
	}
	return "of its own"
}
