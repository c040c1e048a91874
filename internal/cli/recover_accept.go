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
		Short: "go on with the older state that was put back",
		Long: `Tries each credential at its upstream and says what becomes of it. What the upstream accepts is kept. What it refuses is
replaced by a run where that disturbs nobody, and otherwise waits for a person, with the command to run. The authority
begins a new incarnation, so that consumers take its versions whatever their numbers; runs and requests of the older state
are given up. All of that is one change: when it is cut off, the platform is either still recovering or done.

It waits up to 2m for what was begun before the older state showed, and lets nothing else begin until all of it is on
record. An estate in force that is only the copy which came with the older state may lack newer secrets: they would be
kept without being tried, so mend the estate first, or say --kept-estate.

Run it again for secrets whose upstream could not answer. With --dry-run it tries everything and changes nothing.`,
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
	cmd.Flags().StringVar(&reason, "reason", "", "why, in `text` that goes on record")
	cmd.Flags().BoolVar(&how.Dry, "dry-run", false, "try every credential, say what would be done, and change nothing")
	cmd.Flags().BoolVar(&how.KeptEstate, "kept-estate", false, "go on though the estate in force is the copy that came with the older state")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (p *printer) recovered(report recovery.Report, dry bool) {
	p.list("recovering:", report.Was)
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
	p.linef("accepted: the authority is incarnation %s", report.Incarnation)
}
