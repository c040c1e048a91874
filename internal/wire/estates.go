// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/intent"
)

// estates loads the estate, and keeps a copy of the last one that was in force.
type estates struct {
	parts *parts
	// sound is the digest of the estate that CheckEstate found nothing wrong with last.
	sound string
}

const keptEstate = "estate"

func (e *estates) load() (*intent.Estate, error) { return e.from(e.parts.host.Estate) }

func (e *estates) from(dir string) (*intent.Estate, error) {
	estate, faults, err := intent.Load(dir, intent.Options{
		Environment: e.parts.host.Environment, Host: &e.parts.host, Privileged: os.Geteuid() == 0,
	})
	if err != nil {
		return nil, err
	}
	if estate == nil { // else what is wrong is so on this machine alone, and holds a consumer
		return nil, faultsError(faults)
	}
	if estate.Digest != e.sound {
		if err := faultsError(CheckEstate(estate)); err != nil {
			return nil, err
		}
		e.sound = estate.Digest
	}
	if estate.Platform.Metadata.Name != e.parts.host.Platform {
		return nil, fmt.Errorf("the estate declares platform %s, this host runs %s", estate.Platform.Metadata.Name, e.parts.host.Platform)
	}
	return estate, nil
}

func (e *estates) kept() (*intent.Estate, error) {
	dir := filepath.Join(e.parts.host.State, keptEstate)
	if _, err := os.Stat(dir); err != nil {
		return nil, nil //nolint:nilerr // nothing kept is no fault
	}
	return e.from(dir)
}

// keep copies the estate's documents, which hold no plaintext, over the copy kept before. A crash in between leaves a
// copy that does not lint, or an older one; both are only used when the estate itself does not lint. There is none before
// the authority is made.
func (e *estates) keep() error {
	if e.parts.store == (unborn{}) {
		return nil
	}
	next := filepath.Join(e.parts.host.State, keptEstate+".next")
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("clearing the copy: %w", err)
	}
	if err := copyDocuments(e.parts.host.Estate, next); err != nil {
		return err
	}
	kept := filepath.Join(e.parts.host.State, keptEstate)
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("replacing the copy: %w", err)
	}
	return os.Rename(next, kept)
}

// copyDocuments copies what an estate is read from: YAML files, none of them in a dot folder.
func copyDocuments(from, to string) error {
	folder, err := durable.Make(to)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	return fs.WalkDir(os.DirFS(from), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case !entry.Type().IsRegular() || filepath.Ext(name) != ".yaml" && filepath.Ext(name) != ".yml":
			return nil
		}
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("reading the estate: %w", err)
		}
		if err := folder.MakeParents(name); err != nil {
			return err
		}
		return folder.Replace(name, data, durable.Private)
	})
}
