// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/authority"
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
	// newest are the files that were agreed on last, read at a time before which the kernel had told of mark and their metadata were
	// prints. These were found so again at compared.
	newest         *intent.Files
	mark           uint64
	prints         string
	read, compared time.Time
	// stale is set by somebody who wants the next look to read them.
	stale atomic.Bool
	// pause waits between two looks.
	pause func()
	// base is the copy that is kept, as far as it is known; see save.
	base *keptBase
}

// judged is an estate, and the sums of the files that it was made of and of what was in force before.
type judged struct {
	newest, before string
	estate         *intent.Estate
}

func newEstates(p *parts) *estates {
	e := &estates{parts: p, folder: newEstateFolder(p.host.Estate), git: newGitEstate(p), pause: func() { time.Sleep(lookGap) }}
	e.agreed = e.keptState() // what is kept was agreed on
	return e
}

const (
	// lookGap is the time between two looks at an estate that changed, and looks how many are made at most.
	lookGap = 500 * time.Millisecond
	looks   = 5
)

var errChanging = errors.New("its files are being changed: it changed while it was read; Custody reads it again soon")

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
// is meant. One that is as it was agreed on before takes one look, and none while the kernel told of no change since and, once a
// minute, no file's metadata do. A folder that hangs is given up after one. A commit does not change.
func (e *estates) settled() (*intent.Files, error) {
	if e.git != nil {
		return e.git.newest()
	}
	if !e.stale.Swap(false) && e.newest != nil && e.folder.quiet(e.mark) && e.untouched() {
		return e.newest, nil
	}
	e.newest, e.mark, e.read = nil, e.folder.mark(), Now()
	e.prints, _ = e.folder.prints() // "" is like no other
	e.compared = e.read
	files, err := e.agree()
	e.newest = files
	return files, err
}

// untouched reports whether the files that were read last need not be read again.
func (e *estates) untouched() bool {
	switch now := Now(); {
	case now.Sub(e.read) >= estateReread:
		return false
	case now.Sub(e.compared) >= estateSweep:
		prints, err := e.folder.prints()
		e.compared = now
		return err == nil && prints == e.prints
	}
	return true
}

// forget has the next look read the files.
func (e *estates) forget() { e.stale.Store(true) }

// agree reads the files until nothing changes them for lookGap: their metadata stay, or another reading finds the same.
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
		prints, err := e.folder.prints()
		if err == nil && prints != "" && prints == e.prints {
			e.agreed = before.Sum()
			return before, nil
		}
		e.prints = prints
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
