// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"time"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// Backups makes backups of this platform's authority and record.
type Backups interface {
	// Make makes one in a folder, that of the host file with "", and puts that on record. Each call makes another.
	Make(ctx context.Context, by, to string) (server.Backup, error)
	// Reasons are what a person should know of: a backup that failed, or one that is too old. Last is when the last good one in the
	// folder of the host file was begun, zero when none is known. Neither asks anybody.
	Reasons() []reason.Reason
	Last() time.Time
}

// Backup implements server.Service. While the platform is recovering it is refused: a copy of an older state would look like the newest
// backup.
func (p *Platform) Backup(ctx context.Context, by, to string) (server.Backup, error) {
	if err := p.refuseWhileRecovering(); err != nil {
		return server.Backup{}, err
	}
	if p.Backups == nil {
		return server.Backup{}, &server.Problem{Class: server.Refused, Text: "there is no authority yet, so there is nothing to back up", Hint: "`custody serve` makes it when it first runs"}
	}
	return p.Backups.Make(ctx, by, to)
}
