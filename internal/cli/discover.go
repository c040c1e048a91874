// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/report"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// formats marks a command with the formats of output that it has beside table, json and yaml.
const formats = "formats"

func (a *app) discoverCommand() *cobra.Command {
	noHistory, details, exitCode, truth := false, false, false, ""
	cmd := &cobra.Command{
		Use:   "discover DIR",
		Short: "find the secrets of a platform that Custody does not manage yet",
		Long: `Reads a folder and finds secrets: dotenv files, definitions of CI systems, Docker Compose, systemd units, Ansible, Kubernetes, Helm,
Kustomize, SOPS, Terraform, shell scripts that make secrets, private keys, and credentials whose form tells who issued them. If DIR is a
Git repository, its history is read too. For each secret it says where its value is, what makes it, what uses it, whose it seems to be,
when it ends, what is wrong, and why it thinks so. docs/discover.md says what is read and what is not.

It changes nothing, runs nothing, opens no connection and decrypts nothing. Values never appear: a digest stands for each, with a key that
is made for this scan and kept nowhere.

With -o sarif or -o html it writes a report for code scanning, or a page that needs nothing else.

With --exit-code the exit code is 3 if a secret with the risk high is found: a value in clear in Git or in its history.

With --truth it compares what it found with a table made by hand (lines of "source | role | file | name | secret"), and prints precision
and recall for each source instead of the secrets.`,
		Example: `  custody discover .
  custody discover . --details
  custody discover . --no-history -o json | jq '.secrets[] | select(.risk == "high") | .name'
  custody discover . -o html > secrets.html
  custody discover . --truth truth.txt`,
		Args:        takes("DIR"),
		Annotations: map[string]string{answers: "yes", formats: "sarif,html"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			found, err := a.discover(ctx, args[0], noHistory)
			if err != nil {
				return err
			}
			if truth != "" {
				return a.compare(found, truth)
			}
			if err := a.tellDiscovered(found, details); err != nil || !exitCode {
				return err
			}
			high := 0
			for _, s := range found.Secrets {
				if s.Risk == discover.High {
					high++
				}
			}
			if high > 0 {
				return &server.Problem{Class: server.Found, Text: plural(high, "secret") + " with the risk high", Hint: "rotate what is in clear in Git; docs/discover.md explains each risk"}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&noHistory, "no-history", false, "do not read the history of Git")
	cmd.Flags().BoolVar(&details, "details", false, "show every place of each secret, and why it is thought to be one")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with code 3 if a secret with the risk high is found")
	cmd.Flags().StringVar(&truth, "truth", "", "compare with a table in a `file`, and print precision and recall")
	return cmd
}

func (a *app) discover(ctx context.Context, dir string, noHistory bool) (*discover.Answer, error) {
	key, err := scanKey()
	if err != nil {
		return nil, err
	}
	return a.scan(ctx, dir, noHistory, key)
}

// scanKey is a key for the digests of one scan.
func scanKey() ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making a key for digests: %w", err)
	}
	return key, nil
}

// scan reads a folder, and shows how far it is.
func (a *app) scan(ctx context.Context, dir string, noHistory bool, key []byte) (*discover.Answer, error) {
	progress := newProgress(a)
	shown := wire.Now()
	found, err := discover.Scan(ctx, discover.Config{
		Folder: dir, Key: key, Now: wire.Now(), Limits: discover.Usual, NoHistory: noHistory,
		Progress: func(at discover.Progress) {
			const every, lines = 200 * time.Millisecond, 5 * time.Second // for an eye, and for a log
			pause := lines
			if progress.tty {
				pause = every
			}
			if now := wire.Now(); now.Sub(shown) >= pause {
				shown = now
				text := fmt.Sprintf("reading: %d files, %d places found", at.Files, at.Found)
				if at.OfCommits > 0 {
					text += fmt.Sprintf(", %d of %d commits", at.Commits, at.OfCommits)
				}
				progress.wait(text)
			}
		},
	})
	progress.clear()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &server.Problem{Class: server.NotFound, Text: err.Error(), Hint: "name a folder that exists"}
	case errors.Is(err, discover.ErrFolder):
		return nil, usage(err.Error(), "name the folder that the file is in")
	}
	return found, err
}

func (a *app) tellDiscovered(found *discover.Answer, details bool) error {
	switch a.output {
	case "sarif":
		return report.SARIF(a.out, found, built().Version)
	case "html":
		return report.HTML(a.out, found)
	}
	return a.answer(found, func(p *printer) { p.discovered(found, details) })
}

func (p *printer) discovered(found *discover.Answer, details bool) {
	c := found.Counts
	read := plural(c.Files, "file")
	if found.Repository && c.Commits > 0 {
		read += fmt.Sprintf(" and %s of Git with %s that the folder does not have", plural(c.Commits, "commit"), plural(c.Objects, "file"))
	}
	p.linef("%s in %s.", plural(len(found.Secrets), "secret"), read)
	for _, left := range []struct {
		n    int
		text string
	}{
		{c.TestData, "values in test data and examples are left out"}, {c.TooLarge, "files are larger than 8 MiB and were not read"},
		{c.Unreadable, "files could not be read"}, {c.Dropped, "places are beyond the limit and were not kept"},
	} {
		if left.n > 0 {
			p.linef("%d %s.", left.n, left.text)
		}
	}
	if len(found.Secrets) == 0 {
		return
	}
	p.linef("")
	if details {
		for _, s := range found.Secrets {
			p.discoveredSecret(s)
		}
		return
	}
	rows := make([][]string, 0, len(found.Secrets))
	for _, s := range found.Secrets {
		rows = append(rows, []string{string(s.Risk), s.Name, s.Kind, held(s), used(s.Consumers), or(s.Owner.Name, "-"), or(ends(s), "-")})
	}
	p.table("RISK", []string{"RISK", "SECRET", "KIND", "WHERE", "USED BY", "OWNER", "ENDS"}, rows)
	p.linef("")
	p.linef("Every place of each, and why: custody discover %s --details", next.Word(found.Folder))
}

// held is where a secret's value is, or what makes it.
func held(s discover.Secret) string {
	places := s.Holders
	if len(places) == 0 {
		places = s.Origins
	}
	if len(places) == 0 {
		return "settings only"
	}
	return more(places[0].Text(), len(places))
}

func used(places []discover.Place) string {
	if len(places) == 0 {
		return "-"
	}
	return more(or(places[0].By, places[0].File), len(places))
}

func more(text string, n int) string {
	if n > 1 {
		text += fmt.Sprintf(" +%d", n-1)
	}
	return text
}

func ends(s discover.Secret) string {
	if s.Expires == nil {
		return ""
	}
	text := s.Expires.At.Format(time.DateOnly)
	if s.Expires.Expired {
		text += " (ended)"
	}
	return text
}

// discoveredSecret draws the way of one secret from its source to its consumers.
func (p *printer) discoveredSecret(s discover.Secret) {
	owner := s.Owner.Name
	if s.Owner.Why != "" {
		owner += " (" + s.Owner.Why + ")"
	}
	p.linef("%s", visible(s.Name))
	p.fields("  kind", s.Kind, "  owner", owner, "  ends", ends(s), "  one because", strings.Join(s.Why, "; "))
	for _, r := range s.Risks {
		p.linef("  %s: %s", r.Level, visible(r.Text))
	}
	for _, place := range s.Origins {
		p.linef("  makes  %s", visible(place.Text()+"  "+place.Name+": "+place.Why))
		for _, step := range place.Steps {
			to := ""
			if step.To != "" {
				to = " -> " + step.To
			}
			p.linef("    line %-4d %s %s%s", step.Line, step.Does, visible(step.With), visible(to))
		}
	}
	for _, place := range s.Holders {
		p.linef("  %s %-6s %s", "->", place.Role, visible(place.Text()+"  "+place.Name+": "+place.Why))
	}
	for _, place := range s.Consumers {
		p.linef("     -> uses %s", visible(place.Text()+"  "+strings.TrimSpace(place.By+" as "+place.Name)+": "+place.Why))
	}
	p.linef("")
}

// compare prints how well a scan did.
func (a *app) compare(found *discover.Answer, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the table: %w", err)
	}
	table, err := discover.ParseTruth(data)
	if err != nil {
		return usage("reading "+file+": "+err.Error(), "write a line for each place; docs/discover.md has an example")
	}
	scores := found.Compare(table)
	return a.answer(scores, func(p *printer) {
		rows := make([][]string, 0, len(scores))
		for _, s := range scores {
			rows = append(rows, []string{s.Source, fmt.Sprint(s.Right), fmt.Sprint(len(s.Wrong)), fmt.Sprint(len(s.Missed)), fmt.Sprintf("%.3f", s.Precision()), fmt.Sprintf("%.3f", s.Recall())})
		}
		p.table("", []string{"SOURCE", "RIGHT", "WRONG", "MISSED", "PRECISION", "RECALL"}, rows)
		for _, s := range scores {
			p.list("wrong in "+s.Source+":", s.Wrong)
			p.list("missed in "+s.Source+":", s.Missed)
		}
	})
}
