// SPDX-License-Identifier: Apache-2.0

package file

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrHeld: somebody reads the file by other means than its path, and would go on reading the old one if it were replaced.
// Nothing was changed.
var ErrHeld = errors.New("a reader holds on to the file that is there and would not see another one in its place")

// proc is where the kernel tells of processes.
const proc = "/proc"

// heldElsewhere looks for such a reader: another hard link, or a mount of the one file, in this or another mount namespace
// (a container's). next is what its finder is to do. Its cost is that of Mounts.of, paid only when the content is about to
// change.
func (c *Consumer) heldElsewhere(seen sight, next string) error {
	path := filepath.Join(c.config.Folder, c.config.Path)
	if stat, ok := seen.info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		return fmt.Errorf("%w: %s has %d hard links; %s", ErrHeld, path, stat.Nlink, next)
	}
	reader, err := c.config.Mounts.of(path, "", removed)
	if err != nil || reader == "" {
		return err
	}
	return fmt.Errorf("%w: %s; %s", ErrHeld, reader, next)
}

// heldFromBefore looks for a reader of a file that was there and was removed: it does not see the one that was written since.
// Its cost is that of Mounts.of, paid only where heldElsewhere could not look.
func (c *Consumer) heldFromBefore() error {
	reader, err := c.config.Mounts.of(filepath.Join(c.config.Folder, c.config.Path), removed)
	if err != nil || reader == "" {
		return err
	}
	return fmt.Errorf("%w: the file is in place, but %s, as it was before it was removed: restart it", ErrHeld, reader)
}

// removed is what the kernel adds to the name of what was mounted and is there no more.
const removed = "//deleted"

// of says which process has the one file at path mounted by itself, in a form: as it is there, or removed. "" when none
// does, or nothing can be told. Its cost is a link in /proc for each process, and a file for each mount namespace; who asks at the same
// time shares it.
func (m *Mounts) of(path string, forms ...string) (reader string, err error) {
	folder, err := filepath.EvalSymlinks(filepath.Dir(path)) // which may hold links; the file is none
	if err != nil {
		return "", fmt.Errorf("looking for readers of the file: %w", err)
	}
	resolved := filepath.Join(folder, filepath.Base(path))
	var stat unix.Stat_t
	if err = unix.Stat(resolved, &stat); errors.Is(err, fs.ErrNotExist) {
		err = unix.Stat(folder, &stat)
	}
	if err != nil {
		return "", fmt.Errorf("looking for readers of the file: %w", err)
	}
	seen := m.look()
	device := fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev))
	within, found := inFileSystem(seen.own, device, resolved)
	if !found {
		return "", nil // or there is no /proc: nothing can be told
	}
	for _, process := range seen.processes {
		for _, one := range process.mounts {
			if form, beneath := strings.CutPrefix(one.root, within); beneath && one.device == device && slices.Contains(forms, form) {
				return fmt.Sprintf("process %s has %s mounted by itself, at %s", process.number, path, one.point), nil
			}
		}
	}
	return "", nil
}

// mount is one line of a process's mountinfo: what of which device is mounted where.
type mount struct{ device, root, point string }

func mounts(process string) ([]mount, error) {
	file, err := os.Open(filepath.Join(proc, process, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var all []mount
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if fields := strings.Fields(scanner.Text()); len(fields) > 4 {
			all = append(all, mount{fields[2], unoctal(fields[3]), unoctal(fields[4])})
		}
	}
	return all, scanner.Err()
}

// unoctal undoes how mountinfo writes spaces and other signs.
func unoctal(text string) string {
	if !strings.Contains(text, `\`) {
		return text // nearly always: a replacer costs more than the rest
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// inFileSystem is path as seen from the root of its file system.
func inFileSystem(own []mount, device, path string) (string, bool) {
	best, found := mount{}, false
	for _, m := range own {
		rest, beneath := strings.CutPrefix(path, strings.TrimSuffix(m.point, "/"))
		if m.device == device && beneath && (rest == "" || rest[0] == '/') && len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	if !found {
		return "", false
	}
	return filepath.Join(best.root, strings.TrimPrefix(path, strings.TrimSuffix(best.point, "/"))), true
}
