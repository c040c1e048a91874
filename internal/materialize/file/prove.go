// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
)

// sight is what was found at the path.
type sight struct {
	present    bool
	info       fs.FileInfo // of the file, when present
	content    bool        // equals the rendering asked for
	attributes bool        // mode and owner are as declared
	stamp      stamp
}

// look compares what is there with want. It reads no more than want's length and changes nothing.
func (c *Consumer) look(folder *durable.Folder, want []byte) (sight, error) {
	var seen sight
	var err error
	if seen.stamp, err = c.readStamp(folder); err != nil {
		return sight{}, err
	}
	info, err := folder.Stat(c.config.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := folder.Stat(filepath.Dir(c.config.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sight{}, fmt.Errorf("looking at the file's folder: %w", err)
		}
		return seen, nil
	case err != nil:
		return sight{}, err
	case info.Mode()&fs.ModeSymlink != 0:
		return sight{}, fmt.Errorf("%w: %s", durable.ErrSymlink, c.config.Path)
	case !info.Mode().IsRegular():
		return sight{}, fmt.Errorf("%w: %s", ErrInTheWay, c.config.Path)
	}
	seen.present, seen.info = true, info
	uid, gid := ownerOf(info)
	seen.attributes = info.Mode() == c.config.Mode &&
		(c.config.UID == durable.Keep || c.config.UID == uid) && (c.config.GID == durable.Keep || c.config.GID == gid)
	if info.Size() != int64(len(want)) {
		return seen, nil
	}
	held, err := folder.Read(c.config.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return sight{stamp: seen.stamp}, nil
	}
	if err != nil {
		return sight{}, err
	}
	seen.content = subtle.ConstantTimeCompare(held, want) == 1
	return seen, nil
}

// Prove compares the file with what v renders to, and asks the check if there is one.
//
// Equal content is Delivered, unless the stamp says that its delivery has not ended; where a reload is configured only once the stamp says that it was done for this version:
// until then the process may run on what was there before, and the proof has no version. Rolled needs the check to pass
// as well; a check alone may be cruder than it should be. A check that prints the version is Observed, reload or not.
// Drift is named only where the stamp says that this very version was delivered as declared now; the proof then has no
// version.
func (c *Consumer) Prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	proof, err := c.prove(ctx, v)
	if err != nil {
		return materialize.Proof{}, fmt.Errorf("proving file consumer %q: %w", c.config.Name, err)
	}
	return proof, nil
}

func (c *Consumer) prove(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	proof, right, err := c.compare(ctx, v)
	if err != nil || !right {
		return proof, err
	}
	return proof, c.ask(ctx, &proof, v)
}

// Holds implements materialize.Holder: it compares the file with what v renders to, and runs no check.
func (c *Consumer) Holds(ctx context.Context, v authority.Versioned) (materialize.Proof, error) {
	proof, _, err := c.compare(ctx, v)
	if err != nil {
		return materialize.Proof{}, fmt.Errorf("looking at file consumer %q: %w", c.config.Name, err)
	}
	return proof, nil
}

// compare proves what the file and its stamp show. right: the file is as it should be.
func (c *Consumer) compare(ctx context.Context, v authority.Versioned) (proof materialize.Proof, right bool, err error) {
	want, err := c.config.layout().Render(v.Value, v.ID.String())
	if err != nil {
		return proof, false, err
	}
	if err := ctx.Err(); err != nil {
		return proof, false, err
	}
	folder, err := durable.Open(c.config.Folder)
	if err != nil {
		return proof, false, err
	}
	defer func() { _ = folder.Close() }()
	seen, err := c.look(folder, want)
	if err != nil {
		return proof, false, err
	}
	again, err := c.readStamp(folder)
	if err != nil {
		return proof, false, err
	}
	proof.At = c.config.Clock().UTC()
	if !again.equal(seen.stamp) {
		proof.Evidence = "a delivery ran while the file was looked at"
		proof.Missing = "the end of that delivery"
		return proof, false, nil
	}
	if !seen.content || !seen.attributes {
		c.explain(&proof, seen, v)
		return proof, false, nil
	}
	proof.Evidence = "the file holds this version, with its mode and owner"
	switch stamped := seen.stamp.names(v); {
	case c.config.Reload == nil && stamped && seen.stamp.Stage == stageBegun: // a reader may have the one before it
		proof.Missing = "the end of the delivery"
	case c.config.Reload == nil || stamped && seen.stamp.Stage == stageReloaded:
		proof.Version, proof.Level = v.ID, materialize.Delivered
	default:
		proof.Missing = "the reload"
	}
	return proof, true, nil
}

// explain fills in a proof of nothing: what is held instead, and whether that is somebody else's doing.
func (c *Consumer) explain(proof *materialize.Proof, seen sight, v authority.Versioned) {
	held := seen.stamp
	switch {
	case !held.names(v) && !seen.present:
		proof.Evidence = "there is no file"
		proof.Missing = "delivery"
	case !held.names(v):
		if held.Secret == v.Path && held.Stage != stageBegun {
			proof.Version = held.Version
			proof.Evidence = "the stamp names another version; its content was not compared"
		} else {
			proof.Evidence = "no stamp of a finished delivery of this secret"
		}
		proof.Missing = "delivery"
	case held.Stage == stageBegun:
		proof.Evidence = "the stamp says that delivery was begun and not finished"
		proof.Missing = "the end of the delivery"
	case !held.As.equal(c.config.as()):
		proof.Evidence = "the version was delivered under another declaration of the file"
		proof.Missing = "delivery as it is declared now"
	default:
		proof.Drift = "the file was changed from elsewhere"
		switch {
		case !seen.present:
			proof.Drift = "the file was removed from elsewhere"
		case seen.content:
			proof.Drift = "the file's mode or owner was changed from elsewhere"
		}
		proof.Evidence = "the stamp says that this version was delivered"
		proof.Missing = proof.Drift
	}
}

// ask raises the proof of a file that holds v as far as the check allows. Only the end of ctx is an error.
func (c *Consumer) ask(ctx context.Context, proof *materialize.Proof, v authority.Versioned) error {
	if c.config.Check == nil {
		return nil
	}
	report, err := c.config.Check.Check(ctx, c.event(v))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && report.Version == v.ID.String():
		proof.Version, proof.Level, proof.Missing = v.ID, materialize.Observed, ""
		proof.Evidence += "; the check reported the version itself"
	case proof.Level == materialize.None: // the reload comes first
	case err != nil:
		proof.Missing = "a passing check: " + err.Error() + said(err, v.Value)
	default:
		proof.Level = materialize.Rolled
		proof.Evidence += "; the check passed"
	}
	return nil
}

var (
	_ materialize.Glancer = (*Consumer)(nil)
	_ materialize.Holder  = (*Consumer)(nil)
)

// Glance implements materialize.Glancer: which folder and which file stand there, and when that file was last changed.
func (c *Consumer) Glance() string {
	path := c.Place()
	return mark(filepath.Dir(path), false) + "; " + mark(path, true)
}

// Place implements materialize.Glancer.
func (c *Consumer) Place() string { return filepath.Join(c.config.Folder, c.config.Path) }

// mark tells a folder, or a file and its state, from what may stand in its place later: a number is given again, but not with
// the time of birth, where the file system keeps one.
func mark(path string, state bool) string {
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &stat); err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%d:%d:%d born %d.%d", stat.Dev_major, stat.Dev_minor, stat.Ino, stat.Btime.Sec, stat.Btime.Nsec)
	if state {
		text += fmt.Sprintf(" %d bytes, changed %d.%d", stat.Size, stat.Ctime.Sec, stat.Ctime.Nsec)
	}
	return text
}
