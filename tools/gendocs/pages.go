// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/server"
)

// commands renders the command tree, depth first.
func commands(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from internal/cli. Do not edit. -->\n\n# Commands\n\n")
	b.WriteString("What a command answers goes to standard output, everything else to standard error. An error is a line that begins " +
		"with `error:`, followed by a `hint:` line with the next command, if there is one.\n\n## Exit codes\n\n| code | class | HTTP status | meaning |\n|---|---|---|---|\n")
	for _, outcome := range server.Outcomes {
		class := string(outcome.Class)
		if class == "" {
			class = "-"
		}
		fmt.Fprintf(&b, "| %d | %s | %d | %s |\n", outcome.Exit, class, outcome.Status, cell(outcome.Means))
	}
	b.WriteString("\n## Options of every command\n\n")
	flags(&b, root.PersistentFlags())
	b.WriteString("## All commands\n\n")
	each(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	})
	b.WriteString("\n")
	each(root, func(c *cobra.Command) { page(&b, c) })
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

// each visits the commands that people call, groups included. Those that cobra adds for shells are left to --help.
func each(c *cobra.Command, visit func(*cobra.Command)) {
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		visit(sub)
		if sub.Name() != "completion" {
			each(sub, visit)
		}
	}
}

func page(b *bytes.Buffer, c *cobra.Command) {
	fmt.Fprintf(b, "## %s\n\n", c.CommandPath())
	if c.Name() == "completion" {
		fmt.Fprintf(b, "Prints a script that completes the commands in bash, zsh, fish or PowerShell; `%s SHELL --help` says how to load it.\n\n", c.CommandPath())
		return
	}
	use := c.UseLine()
	if c.HasAvailableSubCommands() && c.Use == c.Name() { // else it does something itself
		use = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(b, "```\n%s\n```\n\n%s\n\n", use, strings.TrimSpace(c.Long))
	if c.HasAvailableLocalFlags() {
		flags(b, c.LocalNonPersistentFlags())
	}
	if c.Example != "" {
		lines := strings.Split(c.Example, "\n")
		for i, line := range lines {
			lines[i] = strings.TrimPrefix(line, "  ")
		}
		fmt.Fprintf(b, "```sh\n%s\n```\n\n", strings.Join(lines, "\n"))
	}
}

func flags(b *bytes.Buffer, set *pflag.FlagSet) {
	rows := 0
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if rows++; rows == 1 {
			b.WriteString("| option | meaning |\n|---|---|\n")
		}
		placeholder, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if placeholder != "" {
			name += " " + placeholder
		}
		switch f.DefValue {
		case "", "0", "0s", "false", "[]":
		default:
			usage += " (default `" + f.DefValue + "`)"
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, cell(usage))
	})
	if rows > 0 {
		b.WriteString("\n")
	}
}

// rules renders the catalogue, group by group.
func rules(list []intent.Rule) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from internal/intent. Do not edit. -->\n\n# Lint rules\n\n" +
		"What `custody lint` checks in an estate and a host file. The id of a rule never changes its meaning; `custody lint --explain RULE` prints one.\n")
	group := ""
	for _, rule := range list {
		if rule.Group != group {
			group = rule.Group
			fmt.Fprintf(&b, "\n## %s\n\n| rule | checks | why | what to do |\n|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", rule.ID, cell(rule.Checks), cell(rule.Why), cell(rule.Fix))
	}
	return b.Bytes()
}

// cell keeps text within one cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "\n", " ")
}
