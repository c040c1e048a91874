// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize/format"
)

const (
	// leftoverLimit is how many names are looked at beneath one folder, and leftoverStamp how long a stamp may be.
	leftoverLimit = 20_000
	leftoverStamp = 16 << 10
)

// ErrNotDelivered: no stamp says that the file was delivered. ErrChanged: the file is not what was delivered. Nothing was changed.
var (
	ErrNotDelivered = errors.New("no stamp of a delivery lies beside the file")
	ErrChanged      = errors.New("the file is not what was delivered there")
)

// Leftover is a file that was delivered once, and that nothing is delivered to any more.
type Leftover struct {
	// File and Stamp are absolute.
	File, Stamp string
	Secret      authority.Path
	Version     authority.VersionID
	// Mode is the one that the file was delivered with.
	Mode fs.FileMode
	// Owner are the user and the group that it was given, durable.Keep for each that was left as it came.
	Owner [2]int

	folder, path string
	held         stamp
}

// Leftovers finds, beneath a folder, files with a stamp that are none of those that wanted reports as delivered to now
// (absolute paths). It follows no link, changes nothing and reads stamps alone. Of a folder with more than 20,000 names it
// sees a part.
func Leftovers(folder string, wanted func(file string) bool) ([]Leftover, error) {
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var found []Leftover
	names := 0
	err = fs.WalkDir(root.FS(), ".", func(at string, entry fs.DirEntry, err error) error {
		if names++; names > leftoverLimit {
			return fs.SkipAll
		}
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be listed has no files that are seen
		}
		base, is := strings.CutSuffix(path.Base(at), stampSuffix)
		base, hidden := strings.CutPrefix(base, ".")
		file := path.Join(path.Dir(at), base)
		if !is || !hidden || wanted(filepath.Join(folder, file)) {
			return nil
		}
		if info, err := root.Lstat(file); err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // a stamp alone holds no value
		}
		if s, ok := stampAt(root, at); ok {
			found = append(found, leftover(folder, file, s))
		}
		return nil
	})
	return found, err
}

func leftover(folder, file string, s stamp) Leftover {
	at := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+stampSuffix)
	return Leftover{
		File: filepath.Join(folder, file), Stamp: filepath.Join(folder, at), Secret: s.Secret, Version: s.Version, Mode: s.As.Mode, Owner: [2]int{s.As.UID, s.As.GID},
		folder: folder, path: file, held: s,
	}
}

// LeftoverAt is what was delivered to the file at path beneath folder, whether or not something still is. A file that is not
// there is fs.ErrNotExist.
func LeftoverAt(folder, path string) (Leftover, error) {
	opened, err := durable.Open(folder)
	if err != nil {
		return Leftover{}, err
	}
	defer func() { _ = opened.Close() }()
	as, err := New(Config{Name: "any", Folder: folder, Path: path, Format: format.Raw, Clock: never})
	if err != nil {
		return Leftover{}, err
	}
	switch seen, err := as.look(opened, nil); {
	case err != nil:
		return Leftover{}, err
	case !seen.present:
		return Leftover{}, fmt.Errorf("looking at %s: %w", filepath.Join(folder, path), fs.ErrNotExist)
	case seen.stamp.Schema == 0:
		return Leftover{}, ErrNotDelivered
	default:
		return leftover(folder, path, seen.stamp), nil
	}
}

// endReader is what to do about a reader that holds on to a file which is to go.
const endReader = "it would still read the value: end it first, or give it another file"

// never is the clock of what makes no proof.
func never() time.Time { return time.Time{} }

// Check reports whether Withdraw would remove the file now. It changes nothing.
func (l Leftover) Check(v *authority.Versioned) error {
	consumer, err := l.consumer()
	if err != nil {
		return err
	}
	folder, err := durable.Open(l.folder)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	return l.unchanged(consumer, folder, v)
}

// Withdraw removes the file, and its stamp, while it is what was delivered: while it holds v, the version of the stamp, or,
// with nil where that version's value is gone, while nothing has touched it since the stamp was written. A file that a reader
// holds on to by other means than its path is ErrHeld: removing the path would take nothing from that reader. A
// crash may leave the stamp, which holds no value and is written anew by the next delivery.
func (l Leftover) Withdraw(ctx context.Context, v *authority.Versioned) error {
	consumer, err := l.consumer()
	if err != nil {
		return err
	}
	return consumer.withdraw(ctx, func(folder *durable.Folder) error { return l.unchanged(consumer, folder, v) })
}

// consumer is one that delivers as the stamp says.
func (l Leftover) consumer() (*Consumer, error) {
	as := l.held.As
	return New(Config{
		Name: "withdrawn", Folder: l.folder, Path: l.path, Format: as.Format, Field: as.Field, Keys: as.Keys,
		VersionKey: as.VersionKey, Reader: as.Reader, Mode: as.Mode, UID: as.UID, GID: as.GID, Clock: never,
	})
}

func (l Leftover) unchanged(c *Consumer, folder *durable.Folder, v *authority.Versioned) error {
	var want []byte
	if v != nil {
		var err error
		if want, err = c.config.layout().Render(v.Value, v.ID.String()); err != nil {
			return err
		}
	}
	seen, err := c.look(folder, want)
	switch {
	case err != nil:
		return err
	case !seen.present:
		return fmt.Errorf("looking at %s: %w", l.File, fs.ErrNotExist)
	case !seen.stamp.equal(l.held):
		return fmt.Errorf("%w: another delivery was made meanwhile", ErrChanged)
	case v != nil && !seen.content:
		return fmt.Errorf("%w: it does not hold version %s", ErrChanged, v.ID)
	case v != nil:
		return c.heldElsewhere(seen, endReader)
	case seen.stamp.Stage == stageBegun:
		return fmt.Errorf("%w: its delivery was cut off, and what it should hold is no longer known", ErrChanged)
	}
	stamped, err := folder.Stat(c.stampPath())
	if err != nil {
		return err
	}
	if changed(seen.info).After(changed(stamped)) {
		return fmt.Errorf("%w: it was changed after its stamp was written, and the value it should hold is no longer known", ErrChanged)
	}
	return c.heldElsewhere(seen, endReader)
}

// changed is when the kernel saw the last change of a file, its name or its attributes; nobody can set it back.
func changed(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctim.Unix())
	}
	return info.ModTime()
}

func stampAt(root *os.Root, name string) (s stamp, ok bool) {
	if info, err := root.Lstat(name); err != nil || info.Size() > leftoverStamp {
		return stamp{}, false
	}
	data, err := root.ReadFile(name)
	return s, err == nil && json.Unmarshal(data, &s) == nil && s.Secret != ""
}
