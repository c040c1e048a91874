// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/secret"
)

// Held is a value that a place holds now.
type Held struct {
	Source, Name string
	Line         int
	Value        secret.Value
}

// ErrUnread: a file in which something was found cannot be read any more.
var ErrUnread = errors.New("it cannot be read")

// Values reads one file of a folder again, and returns what it has as a whole and the values in it. It is for taking the
// values over: what Scan answers has none. It follows no symbolic link.
func Values(folder, file string, limits Limits) (whole secret.Value, held []Held, err error) {
	data, err := contents(folder, file, limits)
	if err != nil {
		return secret.Value{}, nil, err
	}
	s := &scan{readers: readers()}
	err = s.read(&clue.File{Path: file, Data: data}, func(c clue.Clue) {
		if c = withheld(c); c.Role == clue.Holds && !c.Value.Empty() {
			held = append(held, Held{Source: c.Source, Name: c.Name, Line: c.Line, Value: c.Value})
		}
	})
	if err != nil {
		return secret.Value{}, nil, err
	}
	if len(data) <= secret.MaxBytes-len(secret.SingleField) { // a larger file is no secret's, though it may have some
		if whole, err = secret.New(map[string][]byte{secret.SingleField: data}); err != nil {
			return secret.Value{}, nil, fmt.Errorf("reading %s again: %w", file, err)
		}
	}
	return whole, held, nil
}

// Digest is what stands for a value in an answer, by the key of its scan.
func Digest(v secret.Value, key []byte) string {
	return hex.EncodeToString(v.Digest(key)[:digestBytes])
}

// Seen is how files stand now.
type Seen struct {
	// Repository: the folder is a Git repository, of which the newest commit has the files in Tracked.
	Repository bool
	Tracked    map[string]bool
	// Places are what each file has; none for one that is gone. Unread says why a file could not be read.
	Places map[string][]Place
	Unread map[string]string
}

// Look reads some files of a folder, and nothing else. No value and no digest is in what it returns.
func Look(folder string, files []string, limits Limits) (Seen, error) {
	repo, err := open(folder)
	if err != nil {
		return Seen{}, err
	}
	seen := Seen{Repository: repo != nil, Tracked: repo.tracked(files), Places: map[string][]Place{}, Unread: map[string]string{}}
	s := &scan{readers: readers()}
	for _, file := range files {
		data, err := contents(folder, file, limits)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			seen.Unread[file] = err.Error()
			continue
		}
		err = s.read(&clue.File{Path: file, Data: data}, func(c clue.Clue) {
			c = withheld(c)
			seen.Places[file] = append(seen.Places[file], Place{Source: c.Source, Role: c.Role, File: file, Line: c.Line, Name: c.Name, By: c.By, Why: c.Why})
		})
		if err != nil {
			seen.Unread[file] = err.Error()
		}
	}
	return seen, nil
}

// contents is what a file of a folder has. It follows no symbolic link.
func contents(folder, file string, limits Limits) ([]byte, error) {
	fail := func(why string) ([]byte, error) {
		return nil, fmt.Errorf("reading %s again: %s: %w", file, why, ErrUnread)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("reading %s again: %w", file, err)
	}
	defer func() { _ = root.Close() }()
	name := filepath.FromSlash(file)
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("reading %s again: the file is gone: %w", file, os.ErrNotExist)
	case err != nil:
		return fail("the system refuses to look at it")
	case !info.Mode().IsRegular():
		return fail("it is not a regular file")
	case info.Size() > limits.File:
		return fail("it is larger than what is read")
	}
	opened, err := root.Open(name)
	if err != nil {
		return fail("the system refuses to open it")
	}
	defer func() { _ = opened.Close() }() // it was read only
	data, err := io.ReadAll(io.LimitReader(opened, limits.File))
	if err != nil {
		return fail("the system refuses to read it")
	}
	return data, nil
}
