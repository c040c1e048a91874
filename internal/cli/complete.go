// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// completing bounds a completion: somebody waits for it.
const completing = 2 * time.Second

// completers say what stands for an argument, by what usage texts call it: FILE of a command, `file` of an option. Nothing
// is started to find out and no error is shown: what cannot be told at once is not offered.
func (a *app) completers() map[string]cobra.CompletionFunc {
	const none = cobra.ShellCompDirectiveNoFileComp
	files := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	folders := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	return map[string]cobra.CompletionFunc{
		"secret": a.completeSecrets, "consumer": a.completeConsumers, "run": a.completeRuns, "commit": a.completeCommits, "kind": completeKinds, "rule": completeRules, "format": completeFormats,
		"file": files, "share": files, "machine": a.completeMachines, "key": cobra.FixedCompletions(nil, none), "number": cobra.FixedCompletions(nil, none), "program": files, "arg": files, "field=file": files, "name=file": files, "names": cobra.FixedCompletions(nil, none),
		"folder": folders, "dir": folders, "what": a.completeGrants, "of": a.completeGrants, "to": a.completeGrants,
		"level": cobra.FixedCompletions(levels, none), "state": cobra.FixedCompletions(inventory.States(), none),
		"-": cobra.FixedCompletions([]cobra.Completion{cobra.CompletionWithDesc("-", "from standard input")}, none),
	}
}

// complete has every argument and option of the tree completed.
func (a *app) complete(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	by := a.completers()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) {
				if complete, known := by[placeholder(f)]; known {
					_ = c.RegisterFlagCompletionFunc(f.Name, complete) // fails for flags that c lacks, and for the second time
				}
			})
		}
		if names, many := arguments(c); len(names) > 0 {
			c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
				at := len(args)
				if many {
					at = min(at, len(names)-1)
				}
				if at < len(names) && by[names[at]] != nil {
					return by[names[at]](c, args, word)
				}
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// arguments are what a command's usage line calls its arguments, in lower case, and whether there may be many of the last.
func arguments(c *cobra.Command) (names []string, many bool) {
	for _, word := range strings.Fields(c.Use)[1:] {
		if strings.HasPrefix(word, "--") {
			break // options come last
		}
		word = strings.Trim(word, "[]")
		many = strings.HasSuffix(word, "...")
		names = append(names, strings.ToLower(strings.TrimSuffix(word, "...")))
	}
	return names, many
}

// placeholder is what an option's usage calls its argument.
func placeholder(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}

// heard asks the server of this host, if one runs and answers in time.
func heard[T any](a *app, ask func(ctx context.Context, client *server.Client) ([]T, error)) ([]T, bool) {
	host, err := wire.LoadHost(a.hostFile())
	if err != nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), completing)
	defer cancel()
	list, err := ask(ctx, server.Dial(wire.SocketPath(host.State)))
	return list, err == nil
}

// completeSecrets offers the names of secrets: those of the running platform, else those of the estate's documents. What
// is sealed is looked up in the documents, which may not be in force yet.
func (a *app) completeSecrets(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	offer := func(name, purpose string, derived bool) {
		if !derived || c.Name() != "rotate" && c.Name() != "supply" && c.Name() != "adopt-value" {
			found = append(found, cobra.CompletionWithDesc(name, visible(purpose)))
		}
	}
	sealing := c.Name() == "seal"
	if !sealing {
		rows, running := heard(a, func(ctx context.Context, client *server.Client) ([]inventory.Row, error) {
			return client.Inventory(ctx, server.Filter{})
		})
		for _, row := range rows {
			offer(row.Secret, row.Purpose, row.Class == "derived")
		}
		if running {
			return found, cobra.ShellCompDirectiveNoFileComp
		}
	}
	folder := a.estateFolder(c)
	ctx, cancel := context.WithTimeout(context.Background(), completing)
	defer cancel()
	if wire.Reachable(ctx, folder) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, declared := range scaffold.Secrets(folder) {
		if !sealing || declared.Sealed {
			offer(declared.Name, declared.Purpose, declared.Derived)
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// estateFolder is the one that an option names, else the host's, "" when there is none.
func (a *app) estateFolder(c *cobra.Command) string {
	if named := c.Flags().Lookup("estate"); named != nil && named.Value.String() != "" {
		return named.Value.String()
	}
	host, err := wire.LoadHost(a.hostFile())
	if err != nil {
		return ""
	}
	return host.Estate
}

// completeRuns offers the runs of the running platform, newest first; live ones alone where only they will do.
func (a *app) completeRuns(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	runs, _ := heard(a, func(ctx context.Context, client *server.Client) ([]server.Run, error) { return client.Runs(ctx, "") })
	slices.SortStableFunc(runs, func(a, b server.Run) int { return b.Started.Compare(a.Started) })
	var found []cobra.Completion
	for _, run := range runs {
		if run.Result == "live" || c.Name() != "abort" && c.Name() != "force" {
			found = append(found, cobra.CompletionWithDesc(string(run.ID), run.Secret+" "+string(run.Workflow)+" "+run.Result))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeCommits offers the newest commit of the estate's branch, where it is not the one that is believed.
func (a *app) completeCommits(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	found, _ := heard(a, func(ctx context.Context, client *server.Client) (found []cobra.Completion, err error) {
		status, err := client.Status(ctx, server.Filter{})
		if source := status.Source; err == nil && len(args) == 0 && source != nil && source.Head != source.Commit {
			found = append(found, cobra.CompletionWithDesc(source.Head, "newest commit of "+source.Branch))
		}
		return found, err
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

func completeKinds(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	for _, d := range wire.Descriptions() {
		found = append(found, cobra.CompletionWithDesc(listedAs(d), d.Title))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func completeRules(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	for _, rule := range intent.Rules() {
		found = append(found, cobra.CompletionWithDesc(rule.ID, rule.Checks))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func completeFormats(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	found := []cobra.Completion{"table"}
	if c.Annotations[answers] != "" {
		found = append(found, "json", "yaml")
	}
	if others := c.Annotations[formats]; others != "" {
		found = append(found, strings.Split(others, ",")...)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeConsumers offers those of the secret named before, as the running server knows them.
func (a *app) completeConsumers(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	rows, _ := heard(a, func(ctx context.Context, client *server.Client) ([]inventory.Row, error) {
		return client.Inventory(ctx, server.Filter{Secret: args[0]})
	})
	var found []cobra.Completion
	for _, row := range rows {
		for _, name := range row.Consumers {
			found = append(found, cobra.CompletionWithDesc(name, ""))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
