// SPDX-License-Identifier: Apache-2.0

// Package file delivers one secret to one file in a folder that the host file names, tells a process to read it, and
// proves which version the file has.
//
// Guaranteed: readers see the old content or the new, never half of it (except with InPlace), and never with a wider
// mode or another owner than declared; an access list on the file stays. If a reader holds on to the file in another
// way than by its path (another hard link, a mount of this one file), the file is not replaced: delivery fails and says
// so. No link is followed and nothing outside the folder is touched. While the file exists, a version older than the
// delivered one is refused, also after a crash at any point; if the file is gone, there is no such check. After the
// content changed, the reload is done at least once. If nothing changed, nothing is written and nothing is reloaded.
// The next delivery removes what a crashed write left behind.
//
// Not guaranteed: that every such reader is detected. Mounts are searched for in the processes that Custody can see,
// without privilege those of its own user; a process that only keeps the file open is not searched for. Also not
// guaranteed: that a process has read the file after its reload, because a signal has no answer and a command may
// report success wrongly. So a reload alone proves only delivery; a check proves the rest. Somebody with the same
// permissions on the folder can undo all of this, and the next proof shows it.
//
// Beside the file NAME there is a stamp, .NAME.custody: it says which version was delivered and how far the delivery
// went, and contains no value and no digest of one. If it is lost, the only loss is one more reload, and the knowledge
// of which version is newest. During a delivery there is a lock, .NAME.custody.lock, so any number of engines may call
// at the same time.
//
// Cost: a proof, or a delivery that changes nothing, reads two small files and runs the check, if there is one. A
// delivery writes three files, with two fsyncs each, and looks at what all processes have mounted. Deliveries at the same time
// share that look, and those to one folder the fsyncs of the folder, where they are given the same Mounts and Syncs. Neither depends
// on the number of files in the folder.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/secret"
)

// ErrInTheWay: what stands at the path is neither absent nor a regular file. A person has to look; nothing was changed.
var ErrInTheWay = errors.New("not a regular file")

// ErrNewerStamp: the stamp was written by a newer Custody; nothing was changed.
var ErrNewerStamp = errors.New("the stamp has a newer schema than this program knows")

// Config describes one file consumer.
type Config struct {
	// Name of the consumer within its secret; it appears in records.
	Name string
	// Folder is an absolute path from the host's configuration. It must exist. It is opened anew for each call, so that
	// one which a service manager makes again at each start is found.
	Folder string
	// Path beneath Folder. Folders on the way that are absent are made, with the mode and the group of the one above.
	Path string
	// Format, Field, Keys and VersionKey are as in format.Layout.
	Format     format.Name
	Field      string
	Keys       map[string]string
	VersionKey string
	// Mode of the file; 0 is 0600. Writable by group or others and executable are refused.
	Mode fs.FileMode
	// Reader is as in format.Layout.
	Reader format.Reader
	// UID and GID as LookupOwner returns them; durable.Keep leaves what the process makes.
	UID, GID int
	// InPlace writes the file itself instead of replacing it, for readers that hold on to that one file: a container that
	// mounts it, another hard link. Such a reader may see a part of the content for a moment.
	InPlace bool
	// Reload makes a process take a new version; nil when it reads the file each time it needs it.
	Reload Reloader
	// ReloadName is what the host's configuration calls it; it appears in errors.
	ReloadName string
	// Check asks the process; nil when nothing can be asked.
	Check Checker
	// Clock dates proofs.
	Clock func() time.Time
	// Syncs are shared with other consumers, whose deliveries to the same folder sync it together; nil shares with nobody.
	Syncs *durable.Syncs
	// Mounts are shared in the same way.
	Mounts *Mounts
}

// Event tells a reloader or a checker what was delivered. It holds no value.
type Event struct {
	Secret   authority.Path
	Consumer string
	File     string // absolute
	Version  authority.VersionID
}

// Reloader makes a process take what was delivered. It may be called again for the same version.
type Reloader interface {
	Reload(ctx context.Context, e Event) error
}

// Checker asks whether the process runs on a version. A nil error says that it does.
type Checker interface {
	Check(ctx context.Context, e Event) (Report, error)
}

// Report is what a passed check said.
type Report struct {
	// Version is the first line that the check printed. When it is the version's own string, the process itself is
	// taken to have reported it.
	Version string
}

// Consumer delivers to one file.
type Consumer struct {
	config Config // there is one for each consumer: what follows from it is worked out where it is needed
	base   string // the file's name
	// effect is called before each change outside; a test lets it fail.
	effect func(what string) error
}

var (
	_ materialize.Consumer   = (*Consumer)(nil)
	_ materialize.Rememberer = (*Consumer)(nil)
)

// New checks config. It touches no file.
func New(config Config) (*Consumer, error) {
	config.Keys = maps.Clone(config.Keys)
	if config.Mode == 0 {
		config.Mode = 0o600
	}
	base := filepath.Base(config.Path)
	var problem error
	switch {
	case config.Name == "":
		problem = errors.New("a name is required")
	case config.Clock == nil:
		problem = errors.New("a clock is required")
	case !filepath.IsAbs(config.Folder):
		problem = fmt.Errorf("folder %q must be absolute", config.Folder)
	case !filepath.IsLocal(config.Path) || filepath.Clean(config.Path) != config.Path || base == ".":
		problem = fmt.Errorf("%w: path %q", durable.ErrOutside, config.Path)
	case materialize.Reserved(base):
		problem = fmt.Errorf("path %q is a name that Custody keeps for itself", config.Path)
	case config.Mode&^fs.ModePerm != 0 || config.Mode&materialize.ForbiddenMode != 0:
		problem = fmt.Errorf("mode %#o: a secret's file is never executable, nor writable by group or others", config.Mode)
	case config.UID < durable.Keep || config.GID < durable.Keep:
		problem = errors.New("owner and group are numbers from 0, or durable.Keep")
	default:
		problem = config.layout().Check()
	}
	if problem != nil {
		return nil, fmt.Errorf("making file consumer %q: %w", config.Name, problem)
	}
	return &Consumer{
		config: config, base: base, effect: noEffect,
	}, nil
}

func noEffect(string) error { return nil }

func (c *Config) layout() format.Layout {
	return format.Layout{Format: c.Format, Field: c.Field, Keys: c.Keys, VersionKey: c.VersionKey, Reader: c.Reader}
}

func (c *Config) as() declaration {
	return declaration{
		Format: c.Format, Field: c.Field, Keys: c.Keys, VersionKey: c.VersionKey, Reader: c.Reader, Mode: c.Mode, UID: c.UID, GID: c.GID,
	}
}

// Name tells this consumer from the secret's others.
func (c *Consumer) Name() string { return c.config.Name }

// Highest is Rolled with a check and Delivered without: a reload says that a process was told, not that it listened.
// With a check that prints the version, a proof may still come back as Observed.
func (c *Consumer) Highest() materialize.Level {
	if c.config.Check != nil {
		return materialize.Rolled
	}
	return materialize.Delivered
}

// Fits says why the file's format, or its reader, has no form for v.
func (c *Consumer) Fits(v secret.Value) error {
	if _, err := c.config.layout().Render(v, ""); err != nil {
		return fmt.Errorf("file consumer %q: %w", c.config.Name, err)
	}
	return nil
}

// Deliver writes v to the file and has the process take it.
//
// The stamp names v before the file holds it, so that from then on an older version is refused; and it says that the
// reload was done only after it was, so that a crash in between costs a second reload and never a missing one.
func (c *Consumer) Deliver(ctx context.Context, v authority.Versioned) error {
	err := c.deliver(ctx, v)
	if err != nil {
		return fmt.Errorf("delivering to file consumer %q: %w", c.config.Name, err)
	}
	return nil
}

func (c *Consumer) deliver(ctx context.Context, v authority.Versioned) error {
	want, err := c.config.layout().Render(v.Value, v.ID.String())
	if err != nil {
		return err
	}
	folder, err := durable.OpenSharing(c.config.Folder, c.config.Syncs)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := folder.MakeParentsAlike(c.config.Path); err != nil {
		return err
	}
	// In the steady state nothing is locked and nothing written.
	seen, err := c.look(folder, want)
	if err != nil {
		return err
	}
	if done, err := c.settled(seen, v); done || err != nil {
		return err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if seen, err = c.look(folder, want); err != nil {
		return err
	}
	if done, err := c.settled(seen, v); done || err != nil {
		return err
	}
	return c.write(ctx, folder, v, want, seen)
}

// settled reports that nothing is to be done for v, or that v may not be delivered.
func (c *Consumer) settled(seen sight, v authority.Versioned) (bool, error) {
	held := seen.stamp
	if seen.present && held.olderThanHeld(v) {
		return false, fmt.Errorf("%w: the consumer has version %d, and %d was offered", materialize.ErrStale, held.Version.Number, v.ID.Number)
	}
	return held.names(v) && c.taken(held) && held.As.equal(c.config.as()) && seen.content && seen.attributes, nil
}

// taken reports that the stamp's delivery came to its end.
func (c *Consumer) taken(s stamp) bool {
	return s.Stage == stageReloaded || (c.config.Reload == nil && s.Stage == stageWritten)
}

func (c *Consumer) write(ctx context.Context, folder *durable.Folder, v authority.Versioned, want []byte, seen sight) error {
	// A process that has taken this very content is not disturbed when only the file's mode or owner, or the declared
	// layout without effect on the content, is put right.
	reloaded := seen.stamp.names(v) && seen.stamp.Stage == stageReloaded && seen.content
	if seen.present && !seen.content && !c.config.InPlace {
		if err := c.heldElsewhere(seen, "let it have the folder rather than the file, or set inPlace: true in the consumer"); err != nil {
			return err
		}
	}
	begun := stamp{Schema: schema, Secret: v.Path, Version: v.ID, Stage: stageBegun, As: c.config.as()}
	if reloaded {
		begun.Stage = stageReloaded
	}
	if !seen.stamp.equal(begun) {
		if err := c.putStamp(folder, begun); err != nil {
			return err
		}
	}
	if err := c.sweep(folder); err != nil {
		return err
	}
	if !seen.content || !seen.attributes {
		if err := c.effect("replace the file"); err != nil {
			return err
		}
		if err := c.put(folder, want, seen); err != nil {
			return err
		}
	}
	final := begun
	switch {
	case reloaded:
		return nil
	case c.config.Reload == nil:
		final.Stage = stageWritten
	case seen.content && c.reports(ctx, v):
		// Only the version itself, from the process, spares a reload. A check that merely passes might not look at the
		// version, and believing it would lose the reload that a crash left undone.
		final.Stage = stageReloaded
	default:
		if err := c.effect("reload"); err != nil {
			return err
		}
		if err := c.config.Reload.Reload(ctx, c.event(v)); err != nil {
			return fmt.Errorf("the file is in place, reloading%s: %w%s", named(c.config.ReloadName), err, said(err, v.Value))
		}
		final.Stage = stageReloaded
	}
	if !seen.present || seen.content { // of another file it was asked before it was replaced
		if err := c.heldFromBefore(); err != nil {
			return err
		}
	}
	return c.putStamp(folder, final)
}

// put writes the file: a new one in place of what is there, or the one that is there.
func (c *Consumer) put(folder *durable.Folder, want []byte, seen sight) error {
	as := durable.Attributes{Mode: c.config.Mode, UID: c.config.UID, GID: c.config.GID, Alone: true}
	if !seen.present {
		return folder.Replace(c.config.Path, want, as)
	}
	if c.config.InPlace {
		return folder.Overwrite(c.config.Path, want, as)
	}
	list, err := folder.AccessList(c.config.Path)
	if err != nil {
		return err
	}
	as.AccessList = list
	return folder.Replace(c.config.Path, want, as)
}

func (c *Consumer) reports(ctx context.Context, v authority.Versioned) bool {
	if c.config.Check == nil {
		return false
	}
	report, err := c.config.Check.Check(ctx, c.event(v))
	return err == nil && report.Version == v.ID.String()
}

// errLeave ends a removal that has nothing to remove.
var errLeave = errors.New("left alone")

// Withdraw removes the file and its stamp, while it holds what was delivered, and what a crashed write left. A file without
// a stamp, or with that of another secret, is left alone. One that was changed since is ErrChanged, and one that a reader holds on
// to by other means than its path is ErrHeld: then nothing is removed. An absent folder has nothing to withdraw. No process is
// reloaded. A link or a folder in the file's place is left alone and is an error.
func (c *Consumer) Withdraw(ctx context.Context, v authority.Versioned) error {
	err := c.withdraw(ctx, func(folder *durable.Folder) error {
		seen, err := c.look(folder, nil)
		switch {
		case err != nil:
			return err
		case seen.stamp.Schema == 0 && seen.present, seen.stamp.Schema != 0 && seen.stamp.Secret != v.Path:
			return errLeave
		case !seen.present: // a crash may have left its stamp
			return nil
		}
		held := &v
		if seen.stamp.Version != v.ID {
			held = nil
		}
		one := leftover(c.config.Folder, c.config.Path, seen.stamp)
		as, err := one.consumer()
		if err != nil {
			return err
		}
		return one.unchanged(as, folder, held)
	})
	if err != nil && !errors.Is(err, errLeave) {
		return fmt.Errorf("withdrawing from file consumer %q: %w", c.config.Name, err)
	}
	return nil
}

// withdraw removes the file unless may objects, which is asked while nobody else delivers there.
func (c *Consumer) withdraw(ctx context.Context, may func(*durable.Folder) error) error {
	folder, err := durable.Open(c.config.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if _, err := folder.Stat(filepath.Dir(c.config.Path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := c.look(folder, nil); err != nil && !errors.Is(err, ErrNewerStamp) {
		return err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := may(folder); err != nil {
		return err
	}
	for _, name := range []string{c.config.Path, c.stampPath()} {
		if err := c.effect("remove"); err != nil {
			return err
		}
		if err := folder.Remove(name); err != nil {
			return err
		}
	}
	return c.sweep(folder)
}

func (c *Consumer) event(v authority.Versioned) Event {
	return Event{
		Secret: v.Path, Consumer: c.config.Name, Version: v.ID,
		File: filepath.Join(c.config.Folder, c.config.Path),
	}
}
