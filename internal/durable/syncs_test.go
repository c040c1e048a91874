// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
)

// Each of many deliveries to one folder synced it by itself, one after the other.
func TestSyncsOfOneFolderAreShared(t *testing.T) {
	const callers = 20
	dirs := make([]*os.File, callers+1)
	folder := t.TempDir()
	for i := range dirs {
		dir, err := os.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dir.Close() }()
		dirs[i] = dir
	}
	synctest.Test(t, func(t *testing.T) {
		failed := errors.New("the disk failed")
		hold, made := make(chan error), 0
		syncs := &Syncs{do: func(*os.File) error { made++; return <-hold }}
		first := make(chan error, 1)
		go func() { first <- syncs.sync(dirs[callers]) }()
		synctest.Wait() // it is under way, and covers nothing of what comes now
		var others sync.WaitGroup
		errs := make([]error, callers)
		for i := range callers {
			others.Go(func() { errs[i] = syncs.sync(dirs[i]) })
		}
		synctest.Wait()
		hold <- nil
		if err := <-first; err != nil {
			t.Errorf("the first sync: %v", err)
		}
		synctest.Wait()
		hold <- failed
		others.Wait()
		for i, err := range errs {
			if !errors.Is(err, failed) {
				t.Errorf("caller %d was told %v of a sync that failed", i, err)
			}
		}
		if made != 2 {
			t.Errorf("%d callers took %d syncs, want the one under way and one for all others", callers+1, made)
		}
		if len(syncs.folders) > 0 {
			t.Errorf("%d folders are remembered that nobody syncs", len(syncs.folders))
		}
	})
}

// A folder that is not the same shares nothing.
func TestSyncsOfOtherFoldersAreTheirOwn(t *testing.T) {
	made := map[string]int{}
	syncs := &Syncs{do: func(dir *os.File) error { made[dir.Name()]++; return nil }}
	for range 2 {
		folder, err := OpenSharing(t.TempDir(), syncs)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = folder.Close() }()
		if err := folder.Replace("a", []byte("a"), Private); err != nil {
			t.Fatal(err)
		}
	}
	if len(made) != 2 {
		t.Errorf("synced were %v, want each of two folders", made)
	}
}
