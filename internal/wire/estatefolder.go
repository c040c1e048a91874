// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/server"
)

// estateLimit bounds one look at an estate's folder, which may be a network mount that hangs.
const estateLimit = 20 * time.Second

// estateFolder is looked at within a bound, and by nobody while an earlier look has not ended. Nil is no folder.
type estateFolder struct {
	path  string
	calls *outward.Calls
	watch estateWatch
	// read is intent.Read, and resolve filepath.EvalSymlinks.
	read    func(string) (*intent.Files, error)
	resolve func(string) (string, error)
}

func newEstateFolder(path string) *estateFolder {
	if path == "" {
		return nil
	}
	return &estateFolder{path: path, calls: outward.New(Now), read: intent.Read, resolve: filepath.EvalSymlinks}
}

// files reads the estate.
func (f *estateFolder) files() (*intent.Files, error) {
	if f == nil {
		return intent.Read("")
	}
	return lookAt(context.Background(), f, func() (*intent.Files, error) {
		f.watch.follow(f.path)
		return f.read(f.path)
	})
}

// prints are the same later if no file or folder of the estate was written, replaced, removed or made in between, as far as their
// metadata tell.
func (f *estateFolder) prints() (string, error) {
	if f == nil {
		return "", nil
	}
	return lookAt(context.Background(), f, func() (string, error) {
		root, err := f.resolve(f.path) // a link is walked to its end only there
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name != root && strings.HasPrefix(entry.Name(), ".") {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if stat, known := info.Sys().(*syscall.Stat_t); known {
				_, _ = fmt.Fprintf(sum, "%q %d %d %d %d.%d\n", name, stat.Ino, stat.Mode, stat.Size, stat.Ctim.Sec, stat.Ctim.Nsec)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
		return string(sum.Sum(nil)), nil
	})
}

// mark is the same later if the kernel told of no change in between. quiet reports whether it is.
func (f *estateFolder) mark() uint64 {
	if f == nil {
		return 0
	}
	return f.watch.mark()
}

func (f *estateFolder) quiet(mark uint64) bool { return f != nil && f.watch.quiet(mark) }

// resolved is the folder's path without links.
func (f *estateFolder) resolved() (string, error) {
	return lookAt(context.Background(), f, func() (string, error) { return f.resolve(f.path) })
}

func lookAt[T any](ctx context.Context, f *estateFolder, look func() (T, error)) (T, error) {
	call := outward.Call{Part: "the estate's folder", Limit: estateLimit, Own: true}
	found, err := outward.Do(ctx, f.calls, call, func(context.Context) (T, error) { return look() })
	if outward.GoesOn(err) {
		err = &server.Problem{
			Class: server.Unavailable, Text: fmt.Sprintf("looking at the estate's folder %s: %s", f.path, err),
			Hint: "if it is on a network mount, check that the mount answers; running secrets do not wait for it",
		}
	}
	return found, err
}

// WithinBounds has look read the estate in a folder, and gives it up where the folder hangs. For commands that read it
// themselves.
func WithinBounds[T any](ctx context.Context, folder string, look func() (T, error)) (T, error) {
	if folder == "" {
		return look()
	}
	return lookAt(ctx, newEstateFolder(folder), look)
}

// Reachable is nil unless the estate's folder hangs: what else is wrong with it shows when it is read.
func Reachable(ctx context.Context, folder string) error {
	_, err := WithinBounds(ctx, folder, func() (struct{}, error) {
		if opened, err := os.Open(folder); err == nil {
			_, _ = opened.Readdirnames(1)
			_ = opened.Close()
		}
		return struct{}{}, nil
	})
	return err
}
