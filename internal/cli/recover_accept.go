// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/wire"
)

func (a *app) recoverAcceptCommand() *cobra.Command {
	reason, how := "", recovery.How{}
	cmd := &cobra.Command{
		Use:   "accept --reason TEXT",
		Short: "continue with an older state that was restored, or a record that was cut",
		Long: `Tests each credential of the older state at its upstream and says what it does with it. A credential that the upstream accepts is kept.
One that it refuses is replaced by a run, if that disturbs nobody; otherwise the secret waits for a person, and the command to run is
printed. The authority begins a new incarnation, so that consumers accept its versions even if their numbers are lower. Runs and
requests of the older state are abandoned. All of this is one change: if the command is interrupted, the platform is either still
recovering or done.

The command waits up to 2m for work that began before the older state was detected, and lets no other work begin until everything is
recorded. If the estate in force is only the copy that was restored with the older state, it may lack newer secrets, which would be
kept without a test. In that case, repair the estate first, or add --kept-estate to continue anyway.

If only the record (audit log) lacks its newest events, no credential is tested and nothing else changes. In every case, what the
record continues without becomes an event of the record, which custody audit verify reports from then on.

Run it again for secrets whose upstream did not answer. With --dry-run it tests everything and changes nothing.`,
		Example: `  custody recover accept --dry-run --reason "the disk was lost; copy of Sunday"
  custody recover accept --reason "the disk was lost; copy of Sunday"`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
				report, err := platform.AcceptRecovery(ctx, reason, how)
				if err != nil {
					return err
				}
				return a.answer(report, func(p *printer) { p.recovered(report, how.Dry) })
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: a `text` for the record")
	cmd.Flags().BoolVar(&how.Dry, "dry-run", false, "test every credential, print what would be done, and change nothing")
	cmd.Flags().BoolVar(&how.KeptEstate, "kept-estate", false, "continue although the estate in force is the copy that was restored with the older state")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (p *printer) recovered(report recovery.Report, dry bool) {
	p.list("recovering:", report.Was)
	if report.Gap != "" {
		p.linef("on record for ever: %s", report.Gap)
	}
	if report.Estate != "" {
		p.linef("%s: secrets that only a newer estate declares are kept without being tried", report.Estate)
	}
	for _, one := range report.Grants {
		p.linef("%s", visible(one))
	}
	for _, s := range report.Secrets {
		p.linef("%s: %s: %s", s.Secret, s.Action, s.Why)
		if s.GaveUp != "" {
			p.linef("  its run %s is given up", s.GaveUp)
		}
		if s.Next != "" {
			p.linef("  next: %s", s.Next)
		}
	}
	if report.Requests > 0 {
		p.linef("open requests that are dropped: %d", report.Requests)
	}
	if dry {
		p.linef("nothing was changed")
		return
	}
	if report.RecordAlone {
		p.linef("accepted: the gap is on record, and `custody audit verify` names it; values, runs and requests are as they were")
		return
	}
	p.linef("accepted: the authority is incarnation %s", report.Incarnation)
}
