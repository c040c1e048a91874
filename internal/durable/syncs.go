// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Syncs lets callers that sync one folder at the same time share a sync. What a caller changed in the folder before is on disk when
// the call returns nil: it waits for a sync that begins after it came. The zero value is ready; nil shares with nobody.
type Syncs struct {
	mu      sync.Mutex
	folders map[folderID]*folderSyncs
	// do is (*os.File).Sync, unless a test sets another.
	do func(*os.File) error
}

type folderID struct{ device, inode uint64 }

// folderSyncs are those of one folder.
type folderSyncs struct {
	turn    chan struct{} // holds one while a sync is under way
	next    *syncRound    // has not begun
	callers int
}

// syncRound is one sync, and what came of it once done is closed.
type syncRound struct {
	done chan struct{}
	err  error
}

func (s *Syncs) sync(dir *os.File) error {
	if s == nil {
		return dir.Sync()
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &stat); err != nil {
		return fmt.Errorf("looking at the folder: %w", err)
	}
	id := folderID{stat.Dev, stat.Ino}
	folder, round, first := s.join(id)
	defer s.leave(id)
	if !first {
		<-round.done
		return round.err
	}
	folder.turn <- struct{}{}
	s.begin(folder)
	if s.do != nil {
		round.err = s.do(dir)
	} else {
		round.err = dir.Sync()
	}
	close(round.done)
	<-folder.turn
	return round.err
}

// join returns the round that has not begun, and whether the caller is the first in it, who makes it.
func (s *Syncs) join(id folderID) (folder *folderSyncs, round *syncRound, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folders == nil {
		s.folders = map[folderID]*folderSyncs{}
	}
	if folder = s.folders[id]; folder == nil {
		folder = &folderSyncs{turn: make(chan struct{}, 1)}
		s.folders[id] = folder
	}
	folder.callers++
	if first = folder.next == nil; first {
		folder.next = &syncRound{done: make(chan struct{})}
	}
	return folder, folder.next, first
}

// begin has whoever comes now join another round.
func (s *Syncs) begin(folder *folderSyncs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder.next = nil
}

// leave forgets a folder that nobody syncs.
func (s *Syncs) leave(id folderID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder := s.folders[id]
	if folder.callers--; folder.callers == 0 {
		delete(s.folders, id)
	}
}
