// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"custody.dev/custody/internal/secret"
)

// clusters are what initdb made in this process, by its program. initdb takes more than a second of processor time, and a
// package of tests starts dozens of servers: writing the same files again takes a tenth of that. All those servers have one
// superuser and one password, which this process alone knows.
var clusters = templates{made: map[string]cluster{}}

type templates struct {
	mu   sync.Mutex
	made map[string]cluster
}

// of returns what create made when it was first asked for, and whether that was just now. A creation that fails is tried
// again by the next that asks.
func (t *templates) of(key string, create func() (cluster, error)) (made cluster, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	made, ok := t.made[key]
	if ok {
		return made, false, nil
	}
	if made, err = create(); err != nil {
		return cluster{}, false, err
	}
	t.made[key] = made
	return made, true, nil
}

// cluster is a data folder that no server has used yet.
type cluster struct {
	admin secret.Value
	files []dataFile // a folder before what it holds
}

// dataFile is a folder or a regular file of a data folder.
type dataFile struct {
	path string // beneath the data folder
	mode fs.FileMode
	data []byte
}

// remember reads the data folder at dir into memory.
func remember(dir string, admin secret.Value) (cluster, error) {
	made := cluster{admin: admin}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		one := dataFile{mode: info.Mode()}
		if one.path, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		if entry.Type().IsRegular() {
			if one.data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		made.files = append(made.files, one)
		return nil
	})
	if err != nil {
		return cluster{}, fmt.Errorf("remembering a new data folder: %w", err)
	}
	return made, nil
}

// write makes a data folder at dir, which must not exist, as the user as.
func (c cluster) write(as *syscall.Credential, dir string) error {
	for _, one := range c.files {
		path := filepath.Join(dir, one.path)
		var err error
		if one.mode.IsDir() {
			err = os.Mkdir(path, one.mode.Perm())
		} else {
			err = os.WriteFile(path, one.data, one.mode.Perm())
		}
		if err == nil && as != nil {
			err = os.Chown(path, int(as.Uid), int(as.Gid))
		}
		if err != nil {
			return fmt.Errorf("writing a data folder: %w", err)
		}
	}
	return nil
}
