// SPDX-License-Identifier: Apache-2.0

package file

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Mounts lets deliveries at the same time share one look at what processes have mounted. What was mounted before a delivery asks is in
// what it is told: it waits for a look that begins after it came. The zero value is ready; nil shares with nobody.
type Mounts struct {
	mu   sync.Mutex
	turn chan struct{} // holds one while somebody looks
	next *mountsLook   // has not begun
	// do is lookAtMounts, unless a test sets another.
	do func() mountsSeen
}

// mountsLook is one look, and what it found once done is closed.
type mountsLook struct {
	done  chan struct{}
	found mountsSeen
}

// mountsSeen is what this process has mounted, and one process of each mount namespace.
type mountsSeen struct {
	own       []mount
	processes []processMounts
}

type processMounts struct {
	number string
	mounts []mount
}

func (m *Mounts) look() mountsSeen {
	if m == nil {
		return lookAtMounts()
	}
	m.mu.Lock()
	if m.turn == nil {
		m.turn = make(chan struct{}, 1)
	}
	look, first := m.next, m.next == nil
	if first {
		look = &mountsLook{done: make(chan struct{})}
		m.next = look
	}
	m.mu.Unlock()
	if !first {
		<-look.done
		return look.found
	}
	m.turn <- struct{}{}
	m.mu.Lock()
	m.next = nil // whoever comes now joins another
	m.mu.Unlock()
	if m.do != nil {
		look.found = m.do()
	} else {
		look.found = lookAtMounts()
	}
	close(look.done)
	<-m.turn
	return look.found
}

// lookAtMounts reads /proc. Nothing is seen where there is none; processes that end meanwhile, or that are not ours to look at, are left out.
func lookAtMounts() (seen mountsSeen) {
	var err error
	if seen.own, err = mounts("self"); err != nil {
		return mountsSeen{}
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return mountsSeen{}
	}
	looked := map[string]bool{}
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		if space, err := os.Readlink(filepath.Join(proc, entry.Name(), "ns", "mnt")); err == nil {
			if looked[space] {
				continue
			}
			looked[space] = true
		}
		if all, err := mounts(entry.Name()); err == nil {
			seen.processes = append(seen.processes, processMounts{entry.Name(), all})
		}
	}
	return seen
}
