// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/format"
)

const (
	schema      = 1
	stampSuffix = materialize.StampSuffix
)

// Stages of a delivery, as the stamp records them.
const (
	stageBegun    = "begun"    // the file may hold the version or what was there before
	stageWritten  = "written"  // the file holds it; there was nothing to reload
	stageReloaded = "reloaded" // the file holds it and the reload succeeded
)

// stamp records what was delivered. The zero stamp is that of a file to which nothing was.
type stamp struct {
	Schema  int                 `json:"schema"`
	Secret  authority.Path      `json:"secret"`
	Version authority.VersionID `json:"version"`
	Stage   string              `json:"stage"`
	As      declaration         `json:"as"`
}

// declaration is how the file was asked for, so that a changed estate is not taken for a changed file.
type declaration struct {
	Format     format.Name       `json:"format"`
	Field      string            `json:"field,omitempty"`
	Keys       map[string]string `json:"keys,omitempty"`
	VersionKey string            `json:"versionKey,omitempty"`
	Reader     format.Reader     `json:"reader,omitempty"`
	Mode       fs.FileMode       `json:"mode"`
	UID        int               `json:"uid"`
	GID        int               `json:"gid"`
}

func (d declaration) equal(e declaration) bool {
	same := maps.Equal(d.Keys, e.Keys)
	return same && d.Format == e.Format && d.Field == e.Field && d.VersionKey == e.VersionKey && d.Reader == e.Reader &&
		d.Mode == e.Mode && d.UID == e.UID && d.GID == e.GID
}

func (s stamp) equal(t stamp) bool {
	return s.Schema == t.Schema && s.Secret == t.Secret && s.Version == t.Version && s.Stage == t.Stage && s.As.equal(t.As)
}

// names reports that the stamp is about v's very version.
func (s stamp) names(v authority.Versioned) bool { return s.Secret == v.Path && s.Version == v.ID }

// olderThanHeld reports that v precedes what the stamp names. Numbers compare only within one secret and incarnation.
func (s stamp) olderThanHeld(v authority.Versioned) bool {
	return s.Secret == v.Path && s.Version.Incarnation == v.ID.Incarnation && v.ID.Number < s.Version.Number
}

// Given implements materialize.Rememberer: the stamp names a version before the file holds it.
func (c *Consumer) Given(_ context.Context, path authority.Path) (authority.VersionID, bool, error) {
	folder, err := durable.Open(c.config.Folder)
	if err != nil {
		return authority.VersionID{}, false, fmt.Errorf("reading what file consumer %q was given: %w", c.config.Name, err)
	}
	defer func() { _ = folder.Close() }()
	held, err := c.readStamp(folder)
	if err != nil {
		return authority.VersionID{}, false, fmt.Errorf("reading what file consumer %q was given: %w", c.config.Name, err)
	}
	return held.Version, held.Schema != 0 && held.Secret == path, nil
}

func (c *Consumer) stampPath() string {
	return filepath.Join(filepath.Dir(c.config.Path), "."+c.base+stampSuffix)
}

// readStamp returns the zero stamp when there is none or what is there is not one: it is derived state. A newer schema
// is an error, because a newer program may know something that forbids the delivery.
func (c *Consumer) readStamp(folder *durable.Folder) (stamp, error) {
	info, err := folder.Stat(c.stampPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stamp{}, nil
	case err != nil:
		return stamp{}, err
	case info.Mode()&fs.ModeSymlink != 0:
		return stamp{}, fmt.Errorf("%w: %s", durable.ErrSymlink, c.stampPath())
	case !info.Mode().IsRegular():
		return stamp{}, fmt.Errorf("%w: %s", ErrInTheWay, c.stampPath())
	}
	data, err := folder.Read(c.stampPath())
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, err
	}
	var s stamp
	if json.Unmarshal(data, &s) != nil {
		return stamp{}, nil
	}
	switch {
	case s.Schema > schema:
		return stamp{}, fmt.Errorf("%w: %d in %s", ErrNewerStamp, s.Schema, c.stampPath())
	case s.Schema != schema:
		return stamp{}, nil
	}
	return s, nil
}

func (c *Consumer) putStamp(folder *durable.Folder, s stamp) error {
	if err := c.effect("stamp " + s.Stage); err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding stamp: %w", err)
	}
	as := durable.Private
	as.Alone = true
	return folder.Replace(c.stampPath(), append(data, '\n'), as)
}
