// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

func (a *app) auditVerifyCommand() *cobra.Command {
	folder, key, checkpoints, gaps := "", "", []string(nil), []string(nil)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "check that nobody changed the record",
		Long: `Reads the whole record (audit log), computes every hash again, compares the result with every checkpoint, and says which
checkpoint it trusted. It needs no authority and no running server, only the folder of the record and its public key. Also give it
a checkpoint that is kept on another machine: without one, it cannot detect that somebody who can write to the folder removed the
newest events.

By default it uses the folder and key of this host and the checkpoints that the host file names.
A gap that somebody accepted (custody recover accept) is reported for ever. Once you have looked into it, name its place with
--known-gap, so that a timer notices the next one.
Exit code 3 means that it found something wrong.`,
		Example: `  custody audit verify
  custody audit verify --folder copy/audit --key audit.pub --checkpoint /mnt/elsewhere/custody-checkpoint`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			if folder == "" || key == "" {
				host, err := wire.LoadHost(a.hostFile())
				if err != nil {
					return err
				}
				folder, key = or(folder, wire.AuditFolder(host.State)), or(key, wire.AuditKeyPath(host.State))
				if len(checkpoints) == 0 {
					checkpoints = present(host.Checkpoints)
				}
			}
			return a.verify(ctx, folder, key, checkpoints, gaps)
		}),
	}
	cmd.Flags().StringVar(&folder, "folder", "", "`folder` of the record, or of a copy of it")
	cmd.Flags().StringVar(&key, "key", "", "`file` with the public key of the record, preferably a copy from another machine")
	cmd.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "`file` with a checkpoint that was kept on another machine; can be repeated")
	cmd.Flags().StringArrayVar(&gaps, "known-gap", nil, "`text` FILE:LINE of an accepted gap that you know of: it is printed, but is not a finding; can be repeated")
	return cmd
}

// present are the files that are there: a host's sinks are written while it serves.
func present(files []string) []string {
	var there []string
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			there = append(there, file)
		}
	}
	return there
}

// verified is the answer of audit verify.
type verified struct {
	audit.Report
	Sound bool `json:"sound"`
	// Checkpoints are the files that were compared, in the order in which findings number them.
	Checkpoints []string `json:"checkpoints"`
}

func (a *app) verify(ctx context.Context, dir, key string, checkpoints, gaps []string) error {
	config := audit.VerifyConfig{KnownGaps: gaps}
	text, err := os.ReadFile(key)
	if errors.Is(err, fs.ErrNotExist) {
		return &server.Problem{Class: server.NotFound, Text: "there is no public key " + key, Hint: "custody serve writes it when it first runs; give another with --key"}
	}
	if err != nil {
		return fmt.Errorf("reading the public key: %w", err)
	}
	config.Verifier = strings.TrimSpace(string(text))
	for _, file := range checkpoints {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading checkpoint: %w", err)
		}
		config.Checkpoints = append(config.Checkpoints, data)
	}
	if config.Folder, err = durable.Open(dir); err != nil {
		return fmt.Errorf("opening the record: %w", err)
	}
	defer func() { _ = config.Folder.Close() }()
	progress := newProgress(a)
	config.Progress = progress.reading
	defer progress.clear()
	report, err := audit.Verify(ctx, config)
	for tries := 0; err == nil && tries < settleTries && underWay(report); tries++ {
		pause(ctx, again)
		report, err = audit.Verify(ctx, config)
	}
	progress.clear()
	if err != nil {
		return err
	}
	if report.Findings == nil {
		report.Findings = []audit.Finding{}
	}
	err = a.answer(verified{report, report.Sound(), append([]string{}, checkpoints...)}, func(p *printer) { p.report(report, checkpoints) })
	if err == nil && !report.Sound() {
		return &server.Problem{Class: server.Found, Text: plural(len(report.Findings), "finding") + " in the record", Hint: afterwards(report)}
	}
	return err
}

// afterwards is what a person does about the findings.
func afterwards(r audit.Report) string {
	only := !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Kind != audit.Gap })
	if only {
		return "each of these gaps was accepted by the person that is named; once you have looked into it, add --known-gap " + r.Findings[0].Where
	}
	return "keep the folder as it is, and compare it with a copy and with checkpoints kept elsewhere"
}

// settleTries bounds how often a record that ends in an event without checkpoint is read again.
const settleTries = 5

// underWay reports whether all that was found may be an append that a running server has not finished yet.
func underWay(r audit.Report) bool {
	return !r.Sound() && !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Kind != audit.Uncovered })
}

func (p *printer) report(r audit.Report, checkpoints []string) {
	events := plural(int(r.Size), "event")
	if !r.First.IsZero() {
		events += ", from " + p.when(r.First) + " to " + p.when(r.Last)
	}
	trusted := "none"
	if r.Trusted != "" {
		trusted = fmt.Sprintf("%s, which vouches for %s", r.Trusted, plural(int(r.TrustedSize), "event"))
	}
	outside := fmt.Sprintf("checkpoints kept elsewhere vouch for %s", plural(int(r.OutsideSize), "event"))
	if len(checkpoints) == 0 {
		outside = "no checkpoint kept elsewhere was given: a tail that was cut off would not show"
	}
	p.fields("record", r.Origin, "holds", events, "trusted", trusted, "beyond this folder", outside)
	for i, file := range checkpoints {
		p.fields(fmt.Sprintf("outside checkpoint %d", i+1), file)
	}
	known := make([]string, 0, len(r.Gaps))
	for _, gap := range r.Gaps {
		if !slices.Contains(r.Findings, gap) {
			known = append(known, gap.String())
		}
	}
	p.list("gaps that you know of:", known)
	found := make([]string, 0, len(r.Findings))
	for _, finding := range r.Findings {
		found = append(found, finding.String())
	}
	p.list("findings:", found)
	switch {
	case len(found) == 0 && len(known) > 0:
		p.linef("sound but for the gaps that you know of")
	case len(found) == 0:
		p.linef("sound: the record is what was signed")
	}
}
