// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

// runBy refuses every user but the one that runs the platform: what another leaves in the state folder, root too, keeps that
// one from starting it again.
//
// That user is the owner of the authority's folder. Before there is one it is whoever makes it, with two exceptions: root
// makes none beneath a folder of somebody else, and who may not look there is told whose it is.
func (p *parts) runBy(me int, ownerOf func(path string) (int, error)) error {
	barred := false
	for at := authorityFolder(p.host.State); ; at = filepath.Dir(at) {
		owner, err := ownerOf(at)
		switch {
		case err != nil && at == filepath.Dir(at):
			return nil // what is wrong shows when it is opened
		case err != nil:
			barred = barred || errors.Is(err, fs.ErrPermission)
			continue
		case owner == me || at != authorityFolder(p.host.State) && me != 0 && !barred:
			return nil
		}
		problem := &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("this platform is run by %s, and this is %s", userName(owner), userName(me)),
			Hint: "ask as that user: " + p.as(account(owner), me == 0),
		}
		if owner == 0 {
			problem.Hint += fmt.Sprintf("; if only a restore or a mistake made it root's: `chown -R %s %s`", account(me), next.Word(p.host.State))
		}
		return problem
	}
}

// as is how a command is run as a user, where root or somebody else types it.
func (p *parts) as(user string, root bool) string {
	switch {
	case p.host.Unseal.Credential != "":
		return fmt.Sprintf("`systemd-run --pipe --wait -p User=%s -p LoadCredentialEncrypted=%s:/etc/custody/%[2]s.cred custody … --host %s`, with the file that the service's unit names",
			user, p.host.Unseal.Credential, next.Word(p.hostFile))
	case root:
		return "`runuser -u " + user + " -- custody … --host " + next.Word(p.hostFile) + "`"
	}
	return "`sudo -u " + user + " custody … --host " + next.Word(p.hostFile) + "`"
}

// noKey says how the unseal key comes to a command that no service runs.
func (p *parts) noKey(err error) error {
	if p.host.Unseal.Credential == "" || os.Getenv("CREDENTIALS_DIRECTORY") != "" {
		return err
	}
	problem := server.Problems(err)
	problem.Hint = "systemd gives it to the service; to a command, while that is down: " + p.as(account(os.Geteuid()), false)
	return problem
}

// account is a user as commands take it: the name, else the number.
func account(uid int) string { return strings.TrimPrefix(userName(uid), "uid ") }

// ownerOf returns the number of the user whose path is.
func ownerOf(path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	status, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, fmt.Errorf("looking at %s: %w", path, errors.ErrUnsupported)
	}
	return int(status.Uid), nil
}
