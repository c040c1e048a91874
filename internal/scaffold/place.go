// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/root"
)

// free refuses a folder in which a platform, or the keys or state of one, already is.
func free(dir string) error {
	var taken []string
	for _, name := range []string{hostFile, grantsFile, estateDir, keysDir, stateDir, runDir, sopsFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			taken = append(taken, name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking at %s: %w", dir, err)
		}
	}
	if len(taken) > 0 {
		return &root.Error{Doing: "making a platform in " + dir, Class: ErrExists, Detail: "there is " + strings.Join(taken, ", "),
			Next: "choose another folder; to add a secret to an estate, write its document and use custody seal"}
	}
	return nil
}

// place moves what is in fresh to dir without replacing anything, or takes all of it back. It reports whether a
// .gitignore that was there gained lines.
func place(fresh, dir string) (extended bool, err error) {
	entries, err := os.ReadDir(fresh)
	if err != nil {
		return false, fmt.Errorf("moving into place: %w", err)
	}
	var placed []string
	defer func() {
		if err != nil {
			for _, name := range slices.Backward(placed) {
				_ = os.RemoveAll(filepath.Join(dir, name))
			}
		}
	}()
	for _, entry := range entries {
		name := entry.Name()
		from, to := filepath.Join(fresh, name), filepath.Join(dir, name)
		if name == ignore {
			if _, err := os.Lstat(to); err == nil {
				extended = true
				continue
			}
		}
		// A link fails where something is; so does renaming a folder, unless onto an empty one.
		move := os.Link
		if entry.IsDir() {
			move = os.Rename
		}
		if err := move(from, to); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return false, &root.Error{Doing: "moving into place", Class: ErrExists, Detail: to, Next: "choose another folder"}
			}
			return false, fmt.Errorf("moving into place: %w", err)
		}
		placed = append(placed, name)
	}
	if extended {
		if err := extendIgnore(fresh, dir); err != nil {
			return false, err
		}
	}
	return extended, syncFolder(dir)
}

// extendIgnore adds the lines that the .gitignore in dir does not have yet.
func extendIgnore(fresh, dir string) error {
	wanted, err := os.ReadFile(filepath.Join(fresh, ignore))
	if err != nil {
		return fmt.Errorf("extending %s: %w", ignore, err)
	}
	folder, err := durable.Open(dir)
	if err != nil {
		return fmt.Errorf("extending %s: %w", ignore, err)
	}
	defer func() { _ = folder.Close() }()
	info, err := folder.Stat(ignore)
	if err != nil {
		return fmt.Errorf("extending %s: %w", ignore, err)
	}
	data, err := folder.Read(ignore)
	if err != nil {
		return fmt.Errorf("extending %s: %w", ignore, err)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	have := strings.Split(string(data), "\n")
	for line := range strings.Lines(string(wanted)) {
		if !slices.Contains(have, strings.TrimSuffix(line, "\n")) {
			data = append(data, line...)
		}
	}
	if err := folder.Replace(ignore, data, durable.Attributes{Mode: info.Mode().Perm(), UID: durable.Keep, GID: durable.Keep}); err != nil {
		return fmt.Errorf("extending %s: %w", ignore, err)
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
