// SPDX-License-Identifier: Apache-2.0

// Package discover finds the secrets of a platform that Custody does not manage yet: which exist, where their values are,
// what makes and what uses them, whose they are, when they end, and what is wrong with where they are.
//
// Guaranteed: it reads one folder and, if that is a Git repository, its objects. It writes nothing, runs nothing, opens no
// connection, decrypts nothing. It follows no symbolic links and leaves the folder only for the Git directory that belongs to
// a worktree. Values leave the package neither in answers nor in errors, only by Values, which reads one file for whoever takes
// its values over. What stands for one is a digest with a key that is random for each scan, so that digests of two scans cannot be compared and a digest cannot be guessed at.
//
// Not guaranteed: that everything is found, and that everything found is a secret. Each guess says why it was made; Compare
// measures them against a table made by hand.
//
// Cost: each file is read once, up to its limit, and each object of Git once. What is kept grows with what is found and, for
// history, with about 40 bytes for each object.
package discover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/discover/ansible"
	"custody.dev/custody/internal/discover/ci"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/compose"
	"custody.dev/custody/internal/discover/dotenv"
	"custody.dev/custody/internal/discover/keyfile"
	"custody.dev/custody/internal/discover/kube"
	"custody.dev/custody/internal/discover/script"
	"custody.dev/custody/internal/discover/sops"
	"custody.dev/custody/internal/discover/systemd"
	"custody.dev/custody/internal/discover/terraform"
)

// Limits bound what is read.
type Limits struct {
	// File bounds one file, in bytes. A larger one is not read, and counted.
	File int64
	// Clues bounds what is kept. What is found beyond it is counted.
	Clues int
	// Objects bounds the trees and files of the history.
	Objects int
}

// Usual are the limits for people's repositories.
var Usual = Limits{File: 8 << 20, Clues: 1 << 20, Objects: 8 << 20}

// Config is what a scan needs.
type Config struct {
	// Folder is read.
	Folder string
	// Key is random, for the digests of this scan.
	Key []byte
	// Now is the time by which a secret has expired.
	Now    time.Time
	Limits Limits
	// NoHistory leaves the history of Git out.
	NoHistory bool
	// Progress is told how far the scan is, by one caller at a time. It may be nil.
	Progress func(Progress)
}

// Progress is how far a scan is.
type Progress struct {
	Files, Found int
	// Commits of all the commits of the history, 0 of 0 before it is read.
	Commits, OfCommits int
}

// Counts says what a scan has read and what it has left out.
type Counts struct {
	Files    int   `json:"files"`
	Bytes    int64 `json:"bytes"`
	Binary   int   `json:"binary"`
	TooLarge int   `json:"tooLarge"`
	// Unreadable files are those that the system refuses to open.
	Unreadable int `json:"unreadable"`
	Commits    int `json:"commits"`
	// Objects are the files of the history that the worktree does not have.
	Objects int `json:"objects"`
	// TestData counts what was found in test data and examples, and left out.
	TestData int `json:"testData"`
	// Dropped counts what was found beyond the limit.
	Dropped int `json:"dropped"`
}

// readers is the one list of what is read. The order matters where two want a file: the first that understands it names what
// is in it.
func readers() []clue.Reader {
	list := []clue.Reader{sops.Reader(), dotenv.Reader(), keyfile.Reader(), compose.Reader(), systemd.Reader(), script.Reader()}
	list = append(list, ci.Readers()...)
	list = append(list, kube.Readers()...)
	list = append(list, terraform.Readers()...)
	return append(list, ansible.Reader())
}

// Sources are the names of all readers, with that of the rules.
func Sources() []string {
	var names []string
	for _, r := range readers() {
		if len(names) == 0 || names[len(names)-1] != r.Source {
			names = append(names, r.Source)
		}
	}
	return append(names, "sealed-secrets", "external-secrets", "vault-operator", "shapes")
}

// ErrFolder: what is to be read is no folder.
var ErrFolder = errors.New("not a folder")

// Scan reads a folder. It can be repeated; it has no effects.
func Scan(ctx context.Context, c Config) (*Answer, error) {
	if info, err := os.Stat(c.Folder); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.Folder, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("reading %s: %w", c.Folder, ErrFolder)
	}
	folder, err := filepath.EvalSymlinks(c.Folder) // the folder itself may be reached by a link; none within is followed
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.Folder, err)
	}
	shown := c.Folder
	c.Folder = folder
	repo, err := open(c.Folder)
	if err != nil {
		return nil, err
	}
	s := &scan{Config: c, readers: readers(), repo: repo, places: map[string]int{}, blobs: map[blobKey]bool{}, ids: map[string]string{}}
	if err := s.tree(ctx); err != nil {
		return nil, err
	}
	if repo != nil && !c.NoHistory {
		if err := s.history(ctx); err != nil {
			return nil, err
		}
	}
	s.progress(true)
	a, err := s.answer()
	if err == nil {
		a.Folder = shown
	}
	return a, err
}

// scan is one run.
type scan struct {
	Config
	readers []clue.Reader
	repo    *repository

	mu      sync.Mutex
	counts  Counts
	records []record
	// places are the records by what they are and where, so that each is kept once.
	places map[string]int
	// blobs are the objects of Git that were read, from the worktree or the history.
	blobs map[blobKey]bool
	// ids are the objects of the files in which something was found, by path.
	ids     map[string]string
	authors map[string]author
	done    Progress
	failed  error
}

// work is a file to be read: one of the worktree, or one of the history with its data.
type work struct {
	path    string
	data    []byte
	history *moment
}

// skipped are the folders that hold what was installed or built, and nothing that anybody wrote.
var skipped = map[string]bool{".git": true, "node_modules": true, "__pycache__": true, ".venv": true, ".terraform": true, ".tox": true, ".gradle": true}

// media are the ends of names of files that hold no text.
var media = map[string]bool{
	".png": true, ".jpg": true, ".jpeg": true, ".gif": true, ".ico": true, ".webp": true, ".pdf": true, ".woff": true, ".woff2": true, ".ttf": true,
	".otf": true, ".eot": true, ".zip": true, ".gz": true, ".xz": true, ".zst": true, ".bz2": true, ".tar": true, ".jar": true, ".class": true,
	".so": true, ".o": true, ".a": true, ".exe": true, ".dll": true, ".mp4": true, ".mp3": true, ".wasm": true, ".pyc": true, ".sum": true,
}

// tree reads the files of the folder, as many at once as there are processors.
func (s *scan) tree(ctx context.Context) error {
	queue := make(chan work, 64)
	wait := s.workers(queue)
	err := filepath.WalkDir(s.Folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.count(func(c *Counts) { c.Unreadable++ })
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			if path != s.Folder && skipped[entry.Name()] {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular(), media[strings.ToLower(filepath.Ext(path))]:
			return nil
		}
		relative, err := filepath.Rel(s.Folder, path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		queue <- work{path: filepath.ToSlash(relative)}
		return nil
	})
	close(queue)
	wait()
	if err != nil {
		return fmt.Errorf("reading the folder: %w", err)
	}
	return s.failed
}

// workers read what is queued, until the queue is closed; what is returned waits for that.
func (s *scan) workers(queue <-chan work) (wait func()) {
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for w := range queue {
				s.file(w)
			}
		})
	}
	return group.Wait
}

func (s *scan) count(change func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.counts)
}

// file reads one file.
func (s *scan) file(w work) {
	data := w.data
	if w.history == nil {
		var skip func(*Counts)
		if data, skip = s.load(w.path); skip != nil {
			s.count(skip)
			return
		}
	}
	var id string
	if s.repo != nil && w.history == nil {
		id = s.seen(w.path, data)
	}
	var found []record
	f := &clue.File{Path: w.path, Data: data}
	err := s.read(f, func(c clue.Clue) {
		if w.history != nil && c.Role != clue.Holds {
			return // what the history says of today is in the worktree
		}
		found = append(found, s.record(c, w))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.failed == nil {
		s.failed = err
	}
	if w.history == nil {
		s.counts.Files++
	} else {
		s.counts.Objects++
	}
	s.counts.Bytes += int64(len(data))
	if clue.TestPath(w.path) {
		for _, r := range found {
			if r.Role == clue.Holds {
				s.counts.TestData++
			}
		}
		found = nil
	}
	if len(found) > 0 && id != "" {
		s.ids[w.path] = id
	}
	for _, r := range found {
		s.keep(r)
	}
	s.done.Files = s.counts.Files
	s.progress(false)
}

// progress tells how far the scan is, every so many files. The lock is held, but at the end.
func (s *scan) progress(end bool) {
	const every = 64
	if s.Config.Progress != nil && (end || (s.counts.Files+s.counts.Objects)%every == 0) {
		s.done.Found = len(s.records)
		s.Config.Progress(s.done)
	}
}

// load reads a file of the worktree, or says what is counted instead.
func (s *scan) load(path string) ([]byte, func(*Counts)) {
	file, err := os.Open(filepath.Join(s.Folder, filepath.FromSlash(path)))
	if err != nil {
		return nil, func(c *Counts) { c.Unreadable++ }
	}
	defer func() { _ = file.Close() }() // it was read only
	info, err := file.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return nil, func(c *Counts) { c.Unreadable++ }
	case info.Size() > s.Limits.File:
		return nil, func(c *Counts) { c.TooLarge++ }
	}
	data, err := io.ReadAll(io.LimitReader(file, s.Limits.File))
	switch {
	case err != nil:
		return nil, func(c *Counts) { c.Unreadable++ }
	case binary(data):
		return nil, func(c *Counts) { c.Binary++ }
	}
	return data, nil
}

// binary reports whether data is no text: as Git does, by a zero byte near its beginning.
func binary(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0
}
