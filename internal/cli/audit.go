// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/audit"
)

func (a *app) auditCommand() *cobra.Command {
	return group("audit", "read and verify the record (audit log)",
		`The record (audit log) has every transition of every secret, each once. Events are hashed into a Merkle tree whose head is signed
after each event, so that a later change of any event is detected.`,
		`  custody audit log --secret db-password
  custody audit verify --checkpoint /mnt/elsewhere/custody-checkpoint`,
		a.auditLogCommand(), a.auditVerifyCommand())
}

// events prints a table of events, with the secret or without.
func (p *printer) events(events []audit.Event, withSecret bool) {
	head := []string{"AT", "STEP", "RESULT", "BY", "WHY", "DETAIL"}
	if withSecret {
		head = append(head, "SECRET", "RUN")
	}
	rows := make([][]string, 0, len(events))
	for _, event := range events {
		row := []string{event.At.UTC().Format(time.RFC3339), event.Step, string(event.Result), or(event.By, "-"), or(event.Reason, "-"), or(event.Detail, "-")}
		if withSecret {
			row = append(row, or(event.Secret, "-"), string(event.Run))
		}
		rows = append(rows, row)
	}
	p.table("RESULT", head, rows)
}
