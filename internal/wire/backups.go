// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/backup"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

const (
	// backupKey is where the authority keeps which backup is the last good one in the folder of the host file.
	backupKey    = "backup"
	backupSchema = 1
	// backupLimit is longer than three gigabytes of record take to a slow mount. A folder that hangs is given up then.
	backupLimit = 2 * time.Hour
	// backupAgain is how long after an attempt that failed another is made: a mount that comes back is used soon, and one that does not
	// costs a copy of the authority each time.
	backupAgain = 10 * time.Minute
	// backupLooks is how often it is looked whether one is due.
	backupLooks = 20 * time.Second
)

// lastBackup is the last good backup in the folder of the host file, as the authority keeps it.
type lastBackup struct {
	Schema int       `json:"schema"`
	To     string    `json:"to"`
	Name   string    `json:"name"`
	Made   time.Time `json:"made"`
	Bytes  int64     `json:"bytes"`
	SHA256 string    `json:"sha256"`
	Events uint64    `json:"events"`

	revision authority.Revision
}

// backups makes backups when they are due, and when somebody asks.
type backups struct {
	parts *parts
	maker *backup.Maker
	began time.Time
	every time.Duration // zero where the host file asks for none

	// making is held while one is made, however long its folder hangs.
	making sync.Mutex

	mu   sync.Mutex
	last lastBackup
	// failed is when the last attempt in the folder of the host file failed, since the first one since the last good backup, and why.
	failed, since time.Time
	why           string
}

var _ platform.Backups = (*backups)(nil)

var errMaking = &server.Problem{Class: server.Refused, Text: "another backup is being made", Hint: "try again once it has ended; the log of `custody serve` says when"}

// openBackups returns nil where there is no authority yet.
func (p *parts) openBackups(ctx context.Context) (platform.Backups, error) {
	copier, can := p.store.(authority.Copier)
	record, opened := p.record.(backup.Record)
	if !can || !opened {
		return nil, nil
	}
	b := &backups{parts: p, began: Now(), maker: backup.New(backup.Config{
		Authority: copier, Record: record, Platform: p.host.Platform, Environment: p.host.Environment, Version: p.version, Now: Now,
	})}
	if spec := p.host.Backup; spec != nil {
		b.every, _ = duration.Parse(spec.Every) // it was checked with the host file
	}
	held, err := p.store.Get(ctx, backupKey)
	switch {
	case errors.Is(err, authority.ErrNotFound):
	case err != nil:
		return nil, err
	case json.Unmarshal(held.Data, &b.last) != nil || b.last.Schema > backupSchema:
		return nil, fmt.Errorf("reading which backup is the last: %w %q: it is of a newer custody, or damaged", journal.ErrUnreadable, backupKey)
	}
	b.last.revision = held.Revision
	p.backups = b
	return b, nil
}

// Last implements platform.Backups.
func (b *backups) Last() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if spec := b.parts.host.Backup; spec == nil || b.last.To != spec.To {
		return time.Time{}
	}
	return b.last.Made
}

// Reasons implements platform.Backups.
func (b *backups) Reasons() (found []reason.Reason) {
	spec := b.parts.host.Backup
	if spec == nil {
		return nil
	}
	last := b.Last()
	b.mu.Lock()
	failed, since, why := b.failed, b.since, b.why
	b.mu.Unlock()
	args := reason.Args{"to": spec.To, "last": "none is known", "since": since.UTC().Format(time.RFC3339)}
	if !last.IsZero() {
		args["last"] = last.UTC().Format(time.RFC3339)
	}
	if !failed.IsZero() {
		found = append(found, reason.New(reason.BackupFailed, args).Because(why))
	}
	if backup.Old(Now(), last, b.began, b.every) {
		delete(args, "since")
		found = append(found, reason.New(reason.BackupOld, args))
	}
	return found
}

// watch makes backups that are due until stop comes.
func (b *backups) watch(stop context.Context) {
	ticker := time.NewTicker(backupLooks)
	defer ticker.Stop()
	for {
		if b.due() {
			made, err := outward.Do(stop, b.parts.calls, outward.Call{Part: "the backup", Limit: backupLimit}, b.scheduled)
			switch {
			case stop.Err() != nil, errors.Is(err, errMaking):
			case err != nil:
				b.fail(err)
				b.parts.log.Error("making a backup", "to", b.parts.host.Backup.To, "error", err)
			default:
				b.parts.log.Info("backup", "name", made.Name, "to", made.Folder, "bytes", made.Bytes, "events", made.Events)
			}
		}
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
		}
	}
}

// due reports whether a backup is to begin now. While the platform is recovering none is made: a copy of an older state would look like
// the newest backup, and newer ones would be removed for it.
func (b *backups) due() bool {
	if b.parts.platform.Estate() == nil || b.parts.platform.Recovering() != "" {
		return false
	}
	last := b.Last()
	b.mu.Lock()
	defer b.mu.Unlock()
	return !backup.Due(Now(), last, b.failed, b.every, backupAgain).After(Now())
}

func (b *backups) scheduled(ctx context.Context) (server.Backup, error) {
	return b.make(ctx, "time", b.parts.host.Backup.To, true)
}

// Make implements platform.Backups.
func (b *backups) Make(ctx context.Context, by, to string) (server.Backup, error) {
	spec := b.parts.host.Backup
	if to == "" && spec != nil {
		to = spec.To
	}
	switch {
	case to == "":
		return server.Backup{}, &server.Problem{Class: server.Usage, Text: "where to? The host file has no `backup`", Hint: "name a folder: custody backup --to DIR"}
	case !filepath.IsAbs(to):
		return server.Backup{}, &server.Problem{Class: server.Usage, Text: "the folder for the backup is not an absolute path", Hint: "name a folder of the server's machine: custody backup --to DIR"}
	}
	if relative, err := filepath.Rel(b.parts.host.State, to); err == nil && filepath.IsLocal(relative) {
		return server.Backup{}, &server.Problem{Class: server.Refused, Text: to + " is in the state folder, so a backup there is lost with what it protects", Hint: "name a folder on another disk or machine: custody backup --to DIR"}
	}
	made, err := outward.Do(ctx, b.parts.calls, outward.Call{Part: "the backup", Limit: backupLimit}, func(ctx context.Context) (server.Backup, error) {
		return b.make(ctx, by, to, false)
	})
	if err != nil && spec != nil && to == spec.To && ctx.Err() == nil && !errors.Is(err, errMaking) {
		b.fail(err)
	}
	return made, err
}

// make makes a backup and puts it on record. One that the clock asks for is not made where the last one is missing: what is there then is
// mostly the folder beneath a mount that is away.
func (b *backups) make(ctx context.Context, by, to string, scheduled bool) (server.Backup, error) {
	if !b.making.TryLock() {
		return server.Backup{}, errMaking
	}
	defer b.making.Unlock()
	estate := b.parts.platform.Estate()
	if estate == nil {
		return server.Backup{}, &server.Problem{Class: server.Refused, Text: "no estate is in force, so there are no recipients to encrypt a backup to", Hint: "run `custody lint` and fix the faults that it lists"}
	}
	recipients := b.parts.rootsGranted(estate)
	if len(recipients) == 0 {
		return server.Backup{}, &server.Problem{Class: server.Refused, Text: "no root recipient that the estate names is granted, so nobody could decrypt a backup", Hint: next.Grant() + " shows them and asks"}
	}
	folder, err := durable.Open(to)
	if errors.Is(err, fs.ErrNotExist) {
		return server.Backup{}, &server.Problem{Class: server.NotFound, Text: "the folder for backups is not there: " + to, Hint: "mount it; or, if it belongs on this disk, make it as the user that runs custody: mkdir -m 0700 " + next.Word(to)}
	}
	if err != nil {
		return server.Backup{}, err
	}
	defer func() { _ = folder.Close() }()
	b.mu.Lock()
	last := b.last
	b.mu.Unlock()
	own := b.parts.host.Backup != nil && b.parts.host.Backup.To == to
	if scheduled {
		if err := last.isIn(folder); err != nil {
			return server.Backup{}, err
		}
	}
	done, err := b.maker.Make(ctx, folder, recipients)
	if err != nil {
		return server.Backup{}, err
	}
	m := done.Manifest
	made := server.Backup{
		Name: done.Name, Folder: to, Bytes: done.Bytes, SHA256: hex.EncodeToString(done.SHA256[:]), Made: m.Made, Events: m.Events,
		Incarnation: string(m.Incarnation), Recipients: m.Recipients,
	}
	ctx = context.WithoutCancel(ctx) // it is made: that is put on record though its caller has gone
	if own {
		if err = b.note(ctx, made); err == nil { // else the last one that is known stays, and all others
			made.Removed, err = backup.Retain(folder, made.Name, b.parts.host.Backup.Keep)
		}
	}
	if err = errors.Join(err, b.parts.platform.Record.Append(ctx, backedUp(made, by))); err != nil {
		return made, fmt.Errorf("the backup %s is complete and good, but a step after it failed: %w", made.Name, err)
	}
	return made, nil
}

// isIn refuses a folder that has the name of the one of the last backup, and does not hold it.
func (l lastBackup) isIn(folder *durable.Folder) error {
	if l.To != folder.Dir() {
		return nil
	}
	err := backup.InPlace(folder, l.Name, l.Bytes)
	if errors.Is(err, backup.ErrElsewhere) {
		return &server.Problem{
			Class: server.Refused, Text: folder.Dir() + " is not the folder of the last backup, usually because nothing is mounted there: " + err.Error(),
			Hint: "mount it; to start a new series of backups there: custody backup",
		}
	}
	return err
}

// backedUp is what goes on record of a backup.
func backedUp(made server.Backup, by string) audit.Event {
	detail := fmt.Sprintf("%s in %s: %d bytes, SHA-256 %s, with %d events", made.Name, made.Folder, made.Bytes, made.SHA256, made.Events)
	if len(made.Removed) > 0 {
		detail += fmt.Sprintf("; older ones removed: %d", len(made.Removed))
	}
	return audit.Event{Run: newRun(), Step: "backed-up", Workflow: audit.Operation, By: by, Result: audit.OK, Detail: detail, At: Now()}
}

// note keeps which backup is the last good one.
func (b *backups) note(ctx context.Context, made server.Backup) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := lastBackup{
		Schema: backupSchema, To: made.Folder, Name: made.Name, Made: made.Made, Bytes: made.Bytes, SHA256: made.SHA256, Events: made.Events,
	}
	data, err := json.Marshal(last)
	if err != nil {
		return err
	}
	if last.revision, err = b.parts.values.Put(ctx, backupKey, b.last.revision, data); err != nil {
		return err
	}
	b.last, b.failed, b.since, b.why = last, time.Time{}, time.Time{}, ""
	return nil
}

func (b *backups) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed, b.why = Now(), err.Error()
	if b.since.IsZero() {
		b.since = b.failed
	}
}
