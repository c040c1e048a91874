// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is how Git names objects
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// repository is a Git repository, read by its objects. No setting of it is used but the
// address that it was cloned from, which is shown, and no program is run.
type repository struct {
	store *filesystem.Storage
	head  plumbing.Hash
	// remote is the web address of where it was cloned from.
	remote string
}

// cacheSize bounds the unpacked objects that are kept for those that are made of them.
const cacheSize = 64 * cache.MiByte

// deepestTree bounds how far folders of a commit are nested.
const deepestTree = 200

// open finds the repository of a folder, nil where there is none. A worktree has its objects in the repository it belongs to.
func open(folder string) (*repository, error) {
	at := filepath.Join(folder, ".git")
	info, err := os.Stat(at)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Git repository: %w", err)
	}
	common := ""
	if !info.IsDir() {
		if at, err = pointer(at, "gitdir:"); err != nil {
			return nil, err
		}
		if common, err = pointer(filepath.Join(at, "commondir"), ""); errors.Is(err, os.ErrNotExist) {
			common = ""
		} else if err != nil {
			return nil, err
		}
	}
	files := osfs.New(at)
	if common != "" {
		files = dotgit.NewRepositoryFilesystem(files, osfs.New(common))
	}
	settings := at
	if common != "" {
		settings = common
	}
	r := &repository{store: filesystem.NewStorage(files, cache.NewObjectLRU(cacheSize)), remote: remote(settings)}
	ref, err := r.store.Reference(plumbing.HEAD)
	for range 10 { // a name may stand for another
		if err != nil || ref.Type() == plumbing.HashReference {
			break
		}
		ref, err = r.store.Reference(ref.Target())
	}
	if err == nil {
		r.head = ref.Hash()
	}
	return r, nil // without a commit there is no history, and the files are read all the same
}

// pointer is the folder that a file names, after a word.
func pointer(file, word string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the Git repository: %w", err)
	}
	to := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(data)), word))
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(file), to)
	}
	return to, nil
}

// blobKey is an object under a name: a file that is renamed may be read by another reader.
type blobKey struct {
	id   plumbing.Hash
	name uint64
}

func keyed(id plumbing.Hash, name string) blobKey {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // never fails
	return blobKey{id, h.Sum64()}
}

// seen notes the object that a file of the worktree is, and returns its name.
func (s *scan) seen(file string, data []byte) string {
	h := sha1.New() //nolint:gosec // it is how Git names objects
	_, _ = io.WriteString(h, "blob "+strconv.Itoa(len(data))+"\x00")
	_, _ = h.Write(data)
	id := plumbing.Hash(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[keyed(id, file)] = true
	return hex.EncodeToString(id[:])
}

// commit is what is kept of one.
type commit struct {
	moment
	tree plumbing.Hash
}

// history reads what the commits of all branches and tags have that the worktree does not have, from the oldest on, so that
// each file is found in the commit that brought it.
func (s *scan) history(ctx context.Context) error {
	commits, err := s.repo.commits(ctx)
	if err != nil {
		return err
	}
	s.counts.Commits = len(commits)
	s.done.OfCommits = len(commits)
	wanted := map[string]bool{}
	for file, id := range s.ids {
		wanted[file+"\x00"+id] = true
	}
	s.authors = map[string]author{}
	queue := make(chan work, 64)
	wait := s.workers(queue)
	w := &walk{scan: s, ctx: ctx, queue: queue, wanted: wanted, trees: map[blobKey]bool{}}
	for i := range commits {
		if err = w.tree(commits[i].tree, "", &commits[i].moment, 0); err != nil {
			break
		}
		s.mu.Lock()
		s.done.Commits = i + 1
		s.mu.Unlock()
	}
	close(queue)
	wait()
	if err != nil {
		return fmt.Errorf("reading the history: %w", err)
	}
	return s.failed
}

// commits are those that any branch or tag leads to, oldest first. What a shallow clone lacks is left out.
func (r *repository) commits(ctx context.Context) ([]commit, error) {
	refs, err := r.store.IterReferences()
	if err != nil {
		return nil, fmt.Errorf("reading the branches: %w", err)
	}
	next := []plumbing.Hash{r.head}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference {
			next = append(next, ref.Hash())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the branches: %w", err)
	}
	var list []commit
	seen := map[plumbing.Hash]bool{plumbing.ZeroHash: true}
	for len(next) > 0 {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading the commits: %w", err)
		}
		c, err := object.GetCommit(r.store, id)
		if err != nil {
			if tag, err := object.GetTag(r.store, id); err == nil {
				next = append(next, tag.Target)
			}
			continue // a tag of something else, or a commit that a shallow clone lacks
		}
		list = append(list, commit{moment{commit: id.String(), when: c.Committer.When.UTC(), author: c.Author.Name + " <" + c.Author.Email + ">"}, c.TreeHash})
		next = append(next, c.ParentHashes...)
	}
	slices.SortStableFunc(list, func(a, b commit) int { return a.when.Compare(b.when) })
	return list, nil
}

// walk goes through the trees of commits, each once.
type walk struct {
	scan   *scan
	ctx    context.Context
	queue  chan<- work
	wanted map[string]bool
	trees  map[blobKey]bool
}

// errMany: the history has more objects than the limit.
var errMany = errors.New("it has more files and folders than the limit; leave it out with --no-history")

func (w *walk) tree(id plumbing.Hash, under string, at *moment, depth int) error {
	key := keyed(id, under)
	if w.trees[key] || depth > deepestTree {
		return nil
	}
	w.trees[key] = true
	if err := w.ctx.Err(); err != nil {
		return err
	}
	tree, err := object.GetTree(w.scan.repo.store, id)
	if err != nil {
		return nil //nolint:nilerr // a partial clone lacks some; what is there is read
	}
	for _, entry := range tree.Entries {
		name := path.Join(under, entry.Name)
		switch entry.Mode {
		case filemode.Dir:
			if skipped[entry.Name] {
				continue
			}
			if err := w.tree(entry.Hash, name, at, depth+1); err != nil {
				return err
			}
		case filemode.Regular, filemode.Executable, filemode.Deprecated:
			if err := w.blob(entry.Hash, name, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// blob queues a file that was not read yet. Of one that the worktree has, it notes who brought it.
func (w *walk) blob(id plumbing.Hash, name string, at *moment) error {
	s := w.scan
	if mark := name + "\x00" + id.String(); w.wanted[mark] {
		delete(w.wanted, mark)
		s.mu.Lock()
		s.authors[name] = author{at.author, at.when}
		s.mu.Unlock()
	}
	key := keyed(id, name)
	s.mu.Lock()
	known, many := s.blobs[key], len(s.blobs)+len(w.trees) > s.Limits.Objects
	s.blobs[key] = true
	s.mu.Unlock()
	switch {
	case many:
		return errMany
	case known || media[strings.ToLower(path.Ext(name))]:
		return nil
	}
	size, err := s.repo.store.EncodedObjectSize(id)
	if err != nil {
		return nil //nolint:nilerr // a partial clone lacks some; what is there is read
	}
	if size > s.Limits.File {
		s.count(func(c *Counts) { c.TooLarge++ })
		return nil
	}
	data, err := s.repo.contents(id)
	switch {
	case err != nil:
		s.count(func(c *Counts) { c.Unreadable++ })
	case binary(data):
		s.count(func(c *Counts) { c.Binary++ })
	default:
		w.queue <- work{path: name, data: data, history: at}
	}
	return nil
}

func (r *repository) contents(id plumbing.Hash) ([]byte, error) {
	blob, err := object.GetBlob(r.store, id)
	if err != nil {
		return nil, fmt.Errorf("reading object %s: %w", id, err)
	}
	reader, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading object %s: %w", id, err)
	}
	data, err := io.ReadAll(reader)
	if closed := reader.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fmt.Errorf("reading object %s: %w", id, err)
	}
	return data, nil
}

// tracked reports which of the files the newest commit has.
func (r *repository) tracked(files []string) map[string]bool {
	found := map[string]bool{}
	if r == nil || r.head.IsZero() {
		return found
	}
	c, err := object.GetCommit(r.store, r.head)
	if err != nil {
		return found
	}
	tree, err := c.Tree()
	if err != nil {
		return found
	}
	for _, file := range files {
		if _, err := tree.FindEntry(file); err == nil {
			found[file] = true
		}
	}
	return found
}
