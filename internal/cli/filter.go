// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/server"
)

// filterOptions are the options that choose among secrets.
type filterOptions struct {
	server.Filter

	within string
}

func (f *filterOptions) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Owner, "owner", "", "only the secrets of this `team`")
	cmd.Flags().StringVar(&f.State, "state", "", "only the secrets in this `state`, such as waiting or rotating")
	cmd.Flags().BoolVar(&f.Findings, "findings", false, "only the secrets with findings: a person must look at them")
	cmd.Flags().StringVar(&f.within, "expires-within", "", "only the secrets that have expired or expire within this `time`, such as 30d")
}

// filter is what the options say.
func (f *filterOptions) filter() (server.Filter, error) {
	if known := inventory.States(); f.State != "" && !slices.Contains(known, f.State) {
		return f.Filter, usage(fmt.Sprintf("there is no state %q", visible(f.State)), "the states are "+strings.Join(known, ", "))
	}
	if f.within == "" {
		return f.Filter, nil
	}
	within, err := duration.Parse(f.within)
	if err != nil || within <= 0 {
		return f.Filter, usage(fmt.Sprintf("--expires-within %q is not a positive time", visible(f.within)), "write for example --expires-within 30d")
	}
	f.ExpiresWithin = within
	return f.Filter, nil
}

// age says how old an answer of a server is, where that is worth saying: something in it is older than a minute, or was not looked
// at yet.
func (p *printer) age(oldest time.Time, unlooked int) string {
	text := ""
	if !oldest.IsZero() && p.now.Sub(oldest) > time.Minute {
		text = "the oldest was " + p.when(oldest)
	}
	if unlooked > 0 {
		if text != "" {
			text += "; "
		}
		text += plural(unlooked, "secret") + " not checked since the server started"
	}
	return text
}
