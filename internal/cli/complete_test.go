// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What an argument is called decides how it is completed: a new word is given a completion, or is free text on purpose.
func TestEveryArgumentIsCompleted(t *testing.T) {
	free := []string{"text", "name", "time", "duration", "number", "team", "address", "environment", "variables", "tests"}
	a := &app{}
	by, completed := a.completers(), 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if names, _ := arguments(c); len(names) > 0 && c.Name() != "help" && c.Name() != "completion" {
			for _, name := range names {
				if by[name] == nil {
					t.Errorf("%s: nothing completes %s", c.CommandPath(), name)
				}
				completed++
			}
		}
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) {
				word := placeholder(f)
				_, has := c.GetFlagCompletionFunc(f.Name)
				if word != "" && !slices.Contains(free, word) && (by[word] == nil || !has) {
					t.Errorf("%s --%s: nothing completes %s", c.CommandPath(), f.Name, word)
				}
			})
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
	if completed < 15 {
		t.Errorf("only %d arguments were found", completed)
	}
}
