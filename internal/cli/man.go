// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write the manual pages",
		Long: `Writes a manual page for each command into DIR: custody.1, custody-lint.1 and so on. It makes DIR if needed and replaces existing
pages. The text is that of --help.`,
		Example: `  custody man /usr/local/share/man/man1
  custody man man && man man/custody-run-show.1`,
		Args: takes("DIR"),
		RunE: a.run(func(_ context.Context, args []string) error {
			count, err := writeManual(Command(), args[0])
			if err != nil {
				return err
			}
			p := a.printer(a.out)
			p.linef("%s in %s", plural(count, "manual page"), args[0])
			return p.failed
		}),
	}
}

// writeManual writes a page for a command and for each beneath it, and counts them.
func writeManual(c *cobra.Command, folder string) (count int, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, fmt.Errorf("writing manual pages: %w", err)
	}
	name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
	if err := os.WriteFile(filepath.Join(folder, name), manual(c), 0o644); err != nil {
		return 0, fmt.Errorf("writing manual pages: %w", err)
	}
	count = 1
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		below, failed := writeManual(sub, folder)
		count, err = count+below, errors.Join(err, failed)
	}
	return count, err
}

// manual is the page of one command, in the language of man(7).
func manual(c *cobra.Command) []byte {
	var b strings.Builder
	title := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(title)), roff(title), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.nf\n%s\n.fi\n", roff(c.UseLine()))
	b.WriteString(".SH DESCRIPTION\n")
	paragraphs(&b, or(c.Long, c.Short))
	options(&b, "OPTIONS", c.NonInheritedFlags())
	options(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	var also []string
	if c.HasParent() {
		also = append(also, strings.ReplaceAll(c.Parent().CommandPath(), " ", "-"))
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			also = append(also, strings.ReplaceAll(sub.CommandPath(), " ", "-"))
		}
	}
	b.WriteString(".SH SEE ALSO\n")
	for i, name := range also {
		separator := ","
		if i == len(also)-1 {
			separator = ""
		}
		fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(name), separator)
	}
	return []byte(b.String())
}

// paragraphs writes text as help has it: an empty line ends a paragraph, and lines that are indented stay lines.
func paragraphs(b *strings.Builder, text string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		b.WriteString(".PP\n")
		lines := false
		for line := range strings.SplitSeq(paragraph, "\n") {
			if indented := strings.HasPrefix(line, " "); indented != lines {
				lines = indented
				b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[lines])
			}
			b.WriteString(roff(line) + "\n")
		}
		if lines {
			b.WriteString(".fi\n")
		}
	}
}

func options(b *strings.Builder, heading string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", heading)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		argument, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(name+" "+argument)), roff(usage))
	})
}

// roff is text without what man(7) would take for its own: backslashes, hyphens that must stay so, lines that begin with a dot or
// an apostrophe.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
