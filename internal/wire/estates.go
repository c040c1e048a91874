// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/wire/kinds"
)

// estates loads the estate, and keeps a copy of the last one that was in force.
type estates struct {
	parts  *parts
	folder *estateFolder
	git    *gitEstate // nil where the estate is a folder
	// sound is the digest of the estate that CheckEstate found nothing wrong with last.
	sound string
	// judged is what a look found last, so that the same files are not judged again beside the same estate.
	judged judged
	// agreed is the sum of the files that two looks agreed on last.
	agreed string
	// newest are the files that were agreed on last, read at a time before which the kernel had told of mark.
	newest *intent.Files
	mark   uint64
	read   time.Time
	// stale is set by somebody who wants the next look to read them.
	stale atomic.Bool
	// pause waits between two looks.
	pause func()
}

// judged is an estate, and the sums of the files that it was made of and of what was in force before.
type judged struct {
	newest, before string
	estate         *intent.Estate
}

func newEstates(p *parts) *estates {
	e := &estates{parts: p, folder: newEstateFolder(p.host.Estate), git: newGitEstate(p), pause: func() { time.Sleep(lookGap) }}
	e.agreed, _ = e.keptSum(keptEstate) // what is kept was agreed on
	return e
}

const (
	keptEstate = "estate"
	// keptNext is where the copy is written; it takes the place of the one before once it is whole.
	keptNext = "estate.next"
	// keptDigest is the sum of the files beside it. The loader skips it, as every dot file.
	keptDigest = ".digest"
	// lookGap is the time between two looks at an estate that changed, and looks how many are made at most.
	lookGap = 500 * time.Millisecond
	looks   = 5
)

var errChanging = errors.New("its files are being changed: no two looks agreed; it is looked at again soon")

// source is nil where the estate is a folder.
func (e *estates) source() platform.Source {
	if e.git == nil {
		return nil
	}
	return e.git
}

// load makes the estate that is to be in force after current; without one, after the copy that is kept, if there is one.
func (e *estates) load(current *intent.Estate) (*intent.Estate, error) {
	newest, err := e.settled()
	if err != nil {
		return nil, err
	}
	if current != nil && current.Files.Sum() == newest.Sum() {
		e.newest = current.Files // the same, once
		return current, nil
	}
	var before *intent.Files
	if current != nil {
		before = current.Files
	} else if before, err = e.keptFiles(); err != nil {
		before = nil // it is not what was kept, and so nothing was
	}
	return e.check(newest, before)
}

// settled reads the estate until two looks agree: a checkout that is caught in the middle may lint, and declare half of what
// is meant. One that is as it was agreed on before takes one look, and none while the kernel told of no change since. A folder that
// hangs is given up after one. A commit does not change.
func (e *estates) settled() (*intent.Files, error) {
	if e.git != nil {
		return e.git.newest()
	}
	if !e.stale.Swap(false) && e.newest != nil && Now().Sub(e.read) < estateSweep && e.folder.quiet(e.mark) {
		return e.newest, nil
	}
	e.newest, e.mark, e.read = nil, e.folder.mark(), Now()
	files, err := e.agree()
	e.newest = files
	return files, err
}

// forget has the next look read the files.
func (e *estates) forget() { e.stale.Store(true) }

func (e *estates) agree() (*intent.Files, error) {
	before, err := e.folder.files()
	if err != nil {
		return nil, err
	}
	for range looks - 1 {
		if before.Sum() == e.agreed {
			return before, nil
		}
		e.pause()
		after, err := e.folder.files()
		if err != nil {
			return nil, err
		}
		if after.Sum() == before.Sum() {
			e.agreed = after.Sum()
		}
		before = after
	}
	if before.Sum() == e.agreed {
		return before, nil
	}
	return nil, fmt.Errorf("reading estate %s: %w", e.parts.host.Estate, errChanging)
}

// check judges what was read, beside what was in force before; see intent.Files.LoadOver.
func (e *estates) check(newest, before *intent.Files) (*intent.Estate, error) {
	now := judged{newest: newest.Sum()}
	if before != nil {
		now.before = before.Sum()
	}
	if e.judged.estate != nil && e.judged.newest == now.newest && e.judged.before == now.before && e.stillLeaves(e.judged.estate) {
		return e.judged.estate, nil
	}
	estate, faults := newest.LoadOver(before, intent.Options{
		Environment: e.parts.host.Environment, Types: kinds.Upstreams(), Host: &e.parts.host, Privileged: os.Geteuid() == 0,
		Check: e.unservable, At: Now(), Keeps: e.keeps, Runs: e.runs,
	})
	if estate == nil { // else what is wrong is so on this machine alone, and holds a consumer, or of documents that are kept as they were
		return nil, faultsError(faults)
	}
	if estate.Platform.Metadata.Name != e.parts.host.Platform {
		return nil, fmt.Errorf("the estate declares platform %s, this host runs %s", estate.Platform.Metadata.Name, e.parts.host.Platform)
	}
	now.estate = estate
	e.judged = now
	return estate, nil
}

// keeps reports whether a secret that the newest estate does not declare may have effects outside. What the journal does not tell
// now may.
func (e *estates) keeps(_ string, path authority.Path) bool {
	if e.parts.store == nil || e.parts.store == (uninitialised{}) || e.parts.platform == nil {
		return false
	}
	entry, err := e.parts.entries().Load(context.Background(), path)
	return err != nil || entry.Effects()
}

// runs reports whether a rotation of a secret is under way, as far as the journal tells.
func (e *estates) runs(_ string, path authority.Path) bool {
	if e.parts.store == nil || e.parts.store == (uninitialised{}) || e.parts.platform == nil {
		return false
	}
	entry, err := e.parts.entries().Load(context.Background(), path)
	return err == nil && entry.Live != nil && entry.Live.Workflow == journal.Rotation
}

// stillLeaves reports whether each secret that is in force as it was declared before is still to be kept so.
func (e *estates) stillLeaves(estate *intent.Estate) bool {
	for name := range estate.Leaving {
		if !e.keeps(name, estate.Secrets[name].Path) {
			return false
		}
	}
	for name := range estate.Finishing {
		if !e.runs(name, estate.Secrets[name].Path) {
			return false
		}
	}
	return true
}

// unservable is CheckEstate, once for each estate.
func (e *estates) unservable(estate *intent.Estate) []intent.Fault {
	if estate.Digest == e.sound {
		return nil
	}
	faults := CheckEstate(estate)
	if len(faults) == 0 {
		e.sound = estate.Digest
	}
	return faults
}

// keptSum reads which files a copy is of, "" where an older custody made it.
func (e *estates) keptSum(name string) (string, error) {
	sum, err := os.ReadFile(filepath.Join(e.parts.host.State, name, keptDigest))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(sum), err
}

// saved loads the copy, if it is what was saved; nil when there is none.
func (e *estates) saved() (*intent.Estate, error) {
	files, err := e.keptFiles()
	if err != nil || files == nil {
		return nil, err
	}
	return e.check(files, nil)
}

// keptFiles reads the copy. A crash between removing the copy before and putting the next in its place leaves the next, which
// is taken only as a whole.
func (e *estates) keptFiles() (*intent.Files, error) {
	name := keptEstate
	if _, err := os.Stat(filepath.Join(e.parts.host.State, name)); err != nil {
		name = keptNext
		if sum, err := e.keptSum(name); err != nil || sum == "" {
			return nil, nil //nolint:nilerr // nothing kept is no fault
		}
	}
	files, err := intent.ReadCopy(filepath.Join(e.parts.host.State, name))
	if err != nil {
		return nil, err
	}
	sum, err := e.keptSum(name)
	if err != nil {
		return nil, err
	}
	if sum != "" && sum != files.Sum() {
		return nil, fmt.Errorf("the copy of the estate in %s is not what was kept there: it is not used", filepath.Join(e.parts.host.State, name))
	}
	return files, nil
}

// save writes what the estate was made of, which holds no plaintext, over the copy saved before. There is none before the
// authority is made.
func (e *estates) save(estate *intent.Estate) error {
	if e.parts.store == (uninitialised{}) {
		return nil
	}
	next := filepath.Join(e.parts.host.State, keptNext)
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("clearing the copy: %w", err)
	}
	if err := writeDocuments(estate.Files, next); err != nil {
		return err
	}
	kept := filepath.Join(e.parts.host.State, keptEstate)
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("replacing the copy: %w", err)
	}
	return os.Rename(next, kept)
}

// writeDocuments writes an estate's files, and their sum last: it is there once all of them are.
func writeDocuments(files *intent.Files, to string) error {
	folder, err := durable.Make(to)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Fill(files.All()); err != nil { // the sum tells a copy that a crash cut short
		return err
	}
	return folder.Replace(keptDigest, []byte(files.Sum()), durable.Private)
}
