// SPDX-License-Identifier: Apache-2.0

package file

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"custody.dev/custody/internal/authority"
)

const (
	// leftoverLimit is how many names are looked at beneath one folder, and leftoverStamp how long a stamp may be.
	leftoverLimit = 20_000
	leftoverStamp = 16 << 10
)

// Leftover is a file that was delivered once, and that nothing is delivered to any more.
type Leftover struct {
	// File and Stamp are absolute.
	File, Stamp string
	Secret      authority.Path
	Version     authority.VersionID
}

// Leftovers finds, beneath a folder, files with a stamp that are none of those that wanted reports as delivered to now
// (absolute paths). It follows no link, changes nothing and reads stamps alone. Of a folder with more than 20,000 names it
// sees a part.
func Leftovers(folder string, wanted func(file string) bool) ([]Leftover, error) {
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var found []Leftover
	names := 0
	err = fs.WalkDir(root.FS(), ".", func(at string, entry fs.DirEntry, err error) error {
		if names++; names > leftoverLimit {
			return fs.SkipAll
		}
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be listed has no files that are seen
		}
		base, is := strings.CutSuffix(path.Base(at), stampSuffix)
		base, hidden := strings.CutPrefix(base, ".")
		file := path.Join(path.Dir(at), base)
		if !is || !hidden || wanted(filepath.Join(folder, file)) {
			return nil
		}
		if info, err := root.Lstat(file); err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // a stamp alone holds no value
		}
		if s, ok := stampAt(root, at); ok {
			found = append(found, Leftover{filepath.Join(folder, file), filepath.Join(folder, at), s.Secret, s.Version})
		}
		return nil
	})
	return found, err
}

func stampAt(root *os.Root, name string) (s stamp, ok bool) {
	if info, err := root.Lstat(name); err != nil || info.Size() > leftoverStamp {
		return stamp{}, false
	}
	data, err := root.ReadFile(name)
	return s, err == nil && json.Unmarshal(data, &s) == nil && s.Secret != ""
}
