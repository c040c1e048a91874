// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

// toOpen gives an error that keeps the state from being opened, and names no next command itself, one: who reads it is woken by
// it, and has nothing else to go by.
func (p *parts) toOpen(err error) error {
	if err == nil || server.Problems(err).Hint != "" {
		return err
	}
	problem := *server.Problems(err)
	problem.Hint = p.reopen(err)
	return &problem
}

func (p *parts) reopen(err error) string {
	state := next.Word(p.host.State)
	for _, move := range []struct {
		is   error
		next string
	}{
		{fs.ErrPermission, fmt.Sprintf("give it to the user that runs custody, then start custody again: `chown -R %s %s`", account(os.Geteuid()), state)},
		{audit.ErrInUse, fmt.Sprintf("end the process that has it open, which `fuser %s` names; then start custody again", next.Word(AuditFolder(p.host.State)+"/lock"))},
		{audit.ErrNewer, "run the newer custody that wrote it"},
		{syscall.EROFS, "mount the file system writable, then start custody again: `mount -o remount,rw \"$(stat -c %m " + state + ")\"`"},
	} {
		if errors.Is(err, move.is) {
			return move.next
		}
	}
	return fmt.Sprintf("check the file that it names: `ls -lR %s`. If a disk failed (`dmesg`) or a file is damaged, restore the newest copy of %[1]s while no server runs", state)
}

// notKeyed gives an error of reading the unseal key, or of what it opens, its next move.
func (p *parts) notKeyed(err error) error {
	if err == nil || server.Problems(err).Hint != "" || errors.Is(err, fs.ErrPermission) {
		return err
	}
	problem := *server.Problems(err)
	problem.Hint = fmt.Sprintf("put the unseal key back from its copy; `unseal` in %s says where it is read from. Where an age identity is lost, the root's opens the authority too: `custody root combine SHARE... --out FILE`.",
		next.Word(p.hostFile))
	return &problem
}

// notBegun gives an error of the estate's root recipients its next move.
func notBegun(err error) error {
	if err == nil || server.Problems(err).Hint != "" {
		return err
	}
	problem := *server.Problems(err)
	problem.Hint = "run `custody lint` and fix the faults that it lists"
	return &problem
}
