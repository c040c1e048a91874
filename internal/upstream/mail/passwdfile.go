// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/upstream"
)

const (
	// markerField is the extra field of a line that carries the marker. Dovecot hands it to nobody who does not ask.
	markerField = "userdb_custody="
	// columns of a line: user, password, uid, gid, gecos, home, shell, extra fields.
	columns     = 8
	waitForLock = 20 * time.Millisecond
)

// PasswdFile is a passwd-file of Dovecot.
type PasswdFile struct {
	// Folder is absolute, and chosen by the host. File and Second lie beneath it; Second is for mode dual.
	Folder, File, Second string

	random io.Reader
	cost   int
}

func (p *PasswdFile) check(mode upstream.Capability) error {
	switch {
	case !filepath.IsAbs(p.Folder):
		return errors.New("the folder of the passwd-file is not absolute")
	case !filepath.IsLocal(p.File):
		return fmt.Errorf("%q is not inside its folder", p.File)
	case mode == upstream.Dual && (!filepath.IsLocal(p.Second) || filepath.Clean(p.File) == filepath.Clean(p.Second)):
		return errors.New("mode dual needs a second file, also inside the folder")
	}
	return nil
}

// document is one file as it was read.
type document struct {
	name  string
	data  []byte
	info  fs.FileInfo
	lines [][]byte // without their ends
}

func (p *PasswdFile) change(ctx context.Context, doing string, places []row, body func([]*row) error) error {
	fail := func(err error) error {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		next := "see that the file is there and that Custody's account may write to its folder"
		if errors.Is(err, errEdited) {
			next = "nothing: the call is repeated"
		}
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err, Next: next}
	}
	release, err := lock(ctx, p.Folder)
	if err != nil {
		return fail(err)
	}
	defer release()
	folder, err := durable.Open(p.Folder)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = folder.Close() }()
	documents, rows, err := p.rows(folder, places)
	if err != nil {
		return fail(err)
	}
	for _, r := range rows {
		if r.password == "" { // no line yet, or one that lets nobody in for sure only once it holds a hash
			if r.password, err = locked(p.random, p.cost); err != nil {
				return fail(err)
			}
		}
	}
	before := make([]row, len(rows))
	for i, r := range rows {
		before[i] = *r
	}
	if err := body(rows); err != nil {
		return err
	}
	changed := false
	// The marker is in every file before a password changes in any: from then on no earlier run can change one.
	for _, markerOnly := range []bool{true, false} {
		if markerOnly && len(documents) == 1 {
			continue
		}
		for slot := range 2 {
			d := documents[slot+1]
			if d == nil {
				continue
			}
			next := slices.Clone(d.lines)
			for i, r := range rows {
				if r.slot != slot+1 {
					continue
				}
				written := *r
				if markerOnly {
					written.password = before[i].password
				}
				next = d.put(next, written)
			}
			replaced, err := d.replace(ctx, folder, next)
			changed = changed || replaced && !markerOnly
			switch {
			case err != nil && changed:
				return &upstream.Error{Doing: doing, Detail: "a password may have been replaced", Cause: err}
			case err != nil:
				return fail(err)
			}
		}
	}
	return nil
}

func (p *PasswdFile) read(_ context.Context, doing string, places []row) ([]*row, error) {
	folder, err := durable.Open(p.Folder)
	if err != nil {
		return nil, &upstream.Error{Doing: doing, Cause: err}
	}
	defer func() { _ = folder.Close() }()
	_, rows, err := p.rows(folder, places)
	if err != nil {
		return nil, &upstream.Error{Doing: doing, Cause: err}
	}
	return rows, nil
}

// rows reads the files, by slot, and the lines of places in them.
func (p *PasswdFile) rows(folder *durable.Folder, places []row) (map[int]*document, []*row, error) {
	documents, rows := map[int]*document{}, make([]*row, len(places))
	var err error
	for i, place := range places {
		if documents[place.slot] == nil {
			name := p.File
			if place.slot == 2 {
				name = p.Second
			}
			if documents[place.slot], err = readDocument(folder, name); err != nil {
				return nil, nil, err
			}
		}
		if rows[i], err = documents[place.slot].row(place); err != nil {
			return nil, nil, err
		}
	}
	return documents, rows, nil
}

var errEdited = errors.New("somebody edits the passwd-file at this moment")

func readDocument(folder *durable.Folder, name string) (*document, error) {
	info, err := folder.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading passwd-file: %w", err)
	}
	data, err := folder.Read(name)
	if err != nil {
		return nil, fmt.Errorf("reading passwd-file: %w", err)
	}
	return &document{name: name, data: data, info: info, lines: bytes.Split(data, []byte("\n"))}, nil
}

// row finds a login's line. Of the second file, one that is missing is made.
func (d *document) row(place row) (*row, error) {
	found := -1
	for i, line := range d.lines {
		if bytes.HasPrefix(line, []byte(place.login+":")) {
			if found >= 0 {
				return nil, fmt.Errorf("%s has several lines for %q", d.name, place.login)
			}
			found = i
		}
	}
	if found < 0 {
		if place.slot == 2 {
			return &place, nil
		}
		return nil, fmt.Errorf("%s has no line for %q: make one", d.name, place.login)
	}
	fields := strings.SplitN(strings.TrimSuffix(string(d.lines[found]), "\r"), ":", columns)
	place.password = fields[1]
	if len(fields) == columns {
		for _, field := range strings.Fields(fields[columns-1]) {
			if text, ok := strings.CutPrefix(field, markerField); ok {
				place.marker = text
			}
		}
	}
	return &place, nil
}

// put returns lines with r's line as r says, everything else in it kept.
func (d *document) put(lines [][]byte, r row) [][]byte {
	for i, line := range lines {
		if !bytes.HasPrefix(line, []byte(r.login+":")) {
			continue
		}
		text, end := string(line), ""
		if strings.HasSuffix(text, "\r") {
			text, end = text[:len(text)-1], "\r"
		}
		fields := strings.SplitN(text, ":", columns)
		for len(fields) < columns {
			fields = append(fields, "")
		}
		fields[1] = r.password
		fields[columns-1] = withMarker(fields[columns-1], r.marker)
		lines[i] = []byte(strings.Join(fields, ":") + end)
		return lines
	}
	made := []byte(r.login + ":" + r.password + strings.Repeat(":", columns-2) + withMarker("", r.marker))
	if last := len(lines) - 1; last >= 0 && len(lines[last]) == 0 { // what follows the last line's end
		return append(lines[:last:last], made, nil)
	}
	return append(lines, made)
}

// withMarker replaces the marker among a line's extra fields, or appends it.
func withMarker(extra, text string) string {
	word := markerField + text
	if start := strings.Index(" "+extra, " "+markerField); start >= 0 {
		end := strings.IndexAny(extra[start:], " \t")
		if end < 0 {
			return extra[:start] + word
		}
		return extra[:start] + word + extra[start+end:]
	}
	if extra == "" || strings.HasSuffix(extra, " ") {
		return extra + word
	}
	return extra + " " + word
}

// replace writes the file anew unless it has been edited since it was read. Its time grows by whole seconds with each
// change: by time and size Dovecot tells whether to read it again. With an error, replaced says that the file may be
// another one all the same.
func (d *document) replace(ctx context.Context, folder *durable.Folder, lines [][]byte) (replaced bool, err error) {
	next := bytes.Join(lines, []byte("\n"))
	if bytes.Equal(next, d.data) {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now, err := folder.Read(d.name)
	if err != nil {
		return false, fmt.Errorf("reading passwd-file: %w", err)
	}
	if !bytes.Equal(now, d.data) {
		return false, errEdited
	}
	as := durable.Attributes{Mode: d.info.Mode().Perm(), UID: durable.Keep, GID: durable.Keep}
	if owner, ok := d.info.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		as.UID, as.GID = int(owner.Uid), int(owner.Gid)
	}
	if err := folder.Replace(d.name, next, as); err != nil {
		early := errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) // the others may be its folder's sync
		return !early, fmt.Errorf("replacing passwd-file: %w", err)
	}
	before := d.info.ModTime().Unix()
	if d.info, err = folder.Stat(d.name); err != nil {
		return true, fmt.Errorf("looking at passwd-file: %w", err)
	}
	d.data, d.lines = next, lines
	if d.info.ModTime().Unix() > before {
		return true, nil
	}
	return true, d.age(folder, time.Unix(before+1, 0))
}

func (d *document) age(folder *durable.Folder, to time.Time) error {
	root, err := os.OpenRoot(folder.Dir())
	if err != nil {
		return fmt.Errorf("opening folder: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.Chtimes(d.name, to, to); err != nil {
		return fmt.Errorf("setting the passwd-file's time: %w", err)
	}
	if d.info, err = folder.Stat(d.name); err != nil {
		return fmt.Errorf("looking at passwd-file: %w", err)
	}
	return nil
}

// lock waits for whoever else changes files in this folder. It leaves nothing there, and ends with the process.
func lock(ctx context.Context, folder string) (release func(), err error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("locking folder: %w", err)
	}
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = dir.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking folder: %w", err), dir.Close())
		}
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), dir.Close())
		}
		pause(ctx, waitForLock)
	}
}

// pause waits without a clock of its own.
func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}
