// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trust"
)

// TrustHost refuses the host file when somebody besides root and this user could have changed the host file: directly,
// by a folder above it or a link that leads to it, or by a push to the Git repository that tracks it. It names the programs
// that Custody runs and the server that is given values. A file that is not there is believed.
func TrustHost(file string) error {
	return refused("the host file "+file+" is not used", trustHost(file))
}

func trustHost(file string) error {
	err := untracked(file, "take it out of Git: `git rm --cached %s`, and list it in .gitignore: it belongs to this machine alone")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// untracked wants that only root and this user could have changed what is at path, and that no Git repository tracks it; move
// is then the operator's move, with a place for the path.
func untracked(path, move string) error {
	places, err := trust.Check(path, os.Geteuid())
	if err != nil {
		return err
	}
	for _, place := range places {
		tree, err := tracked(place)
		if err != nil {
			return err
		}
		if tree != "" {
			return &trust.Untrusted{
				Path: place, Reason: "is tracked by Git in " + tree + ", so that a pull could change it",
				Next: fmt.Sprintf(move, next.Word(place)),
			}
		}
	}
	return nil
}

// Git holds its lock for moments; one that stays was left by a crash, and is reported.
const (
	gitLooks = 20
	gitPause = 100 * time.Millisecond
)

// tracked is trust.Tracked once Git lets it tell.
func tracked(place string) (tree string, err error) {
	for range gitLooks {
		if tree, err = trust.Tracked(place); !errors.Is(err, trust.ErrBusy) {
			break
		}
		time.Sleep(gitPause)
	}
	return tree, err
}

// trustState wants that nobody else can put another state folder in its place: whoever could would be given what is handed
// in. Its own owner may be another than this user; see runBy and server.Dial.
func trustState(state string) error {
	for at := state; ; at = filepath.Dir(at) {
		owner, err := ownerOf(at)
		if err != nil {
			if at == filepath.Dir(at) {
				return nil // what is wrong shows when it is opened
			}
			continue
		}
		if _, err = trust.Check(at, os.Geteuid(), owner); errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return refused("the state folder "+state+" is not safe", err)
	}
}

// trustProgram wants that only root and this user can change a program that is run, and that no pull brings another. One that
// is not there is reported when it is run.
func trustProgram(argv []string) error {
	if len(argv) == 0 {
		return nil
	}
	err := untracked(argv[0], "install a copy of %s where Git tracks nothing, such as /usr/local/lib/custody, and name that in the host file")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return refused("the program "+argv[0]+" is not run", err)
}

// refused gives what is not trusted the class of what is not allowed, and the next move.
func refused(what string, err error) error {
	if err == nil {
		return nil
	}
	if untrusted, is := errors.AsType[*trust.Untrusted](err); is {
		return &server.Problem{Class: server.Refused, Text: what + ": " + untrusted.Error(), Hint: untrusted.Next}
	}
	return fmt.Errorf("%s: %w", what, err)
}
