// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"custody.dev/custody/internal/trust"
)

// digestOf is that of a file's content; the zero one of a file that cannot be read.
func digestOf(file string) (sum [sha256.Size]byte) {
	data, err := os.ReadFile(file)
	if err != nil {
		return sum
	}
	return sha256.Sum256(data)
}

// machine says what a person should know of this machine's own files: a host file that changed since this process read it,
// and folders and files of the platform that others can write to. The platform goes on all the same.
func (p *parts) machine() []string {
	var found []string
	if now := digestOf(p.hostFile); now != p.hostDigest {
		found = append(found, "the host file "+p.hostFile+" changed since this process read it, and the former one counts until custody is started again: `custody lint` checks the new one")
	}
	for _, name := range slices.Sorted(maps.Keys(p.host.Folders)) {
		found = append(found, writable("folder "+name, p.host.Folders[name])...)
	}
	state := p.host.State
	for what, path := range map[string]string{
		"the state folder": state, "the authority's folder": authorityFolder(state), "the record's folder": AuditFolder(state), "the socket": SocketPath(state),
	} {
		found = append(found, writable(what, path)...)
	}
	for _, file := range p.host.Checkpoints {
		found = append(found, writable("the folder of checkpoint "+filepath.Base(file), filepath.Dir(file))...)
	}
	if left := p.seeds.unretired(); left != "" {
		found = append(found, left)
	}
	slices.Sort(found)
	return found
}

// writable warns of what others than its owner, root and this user can write to. What is not there, or cannot be looked at,
// says so where it is used.
func writable(what, path string) []string {
	owner, err := ownerOf(path)
	if err != nil {
		return nil
	}
	_, err = trust.Check(path, os.Geteuid(), owner)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if untrusted, is := errors.AsType[*trust.Untrusted](err); is {
		return []string{what + " is not safe: " + untrusted.Error() + "; " + untrusted.Next}
	}
	return nil
}
