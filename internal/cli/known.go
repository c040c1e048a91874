// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// knownSecret tells a secret of which nothing is there to print from a name that nobody knows: neither the estate, nor the
// authority, nor the record. "" is known.
func knownSecret(ctx context.Context, platform *wire.Connection, name string) error {
	if name == "" {
		return nil
	}
	explained, err := platform.Explain(ctx, name)
	if err == nil && explained.Path != name || err != nil && server.Problems(err).Class != server.NotFound {
		return err
	}
	hint := "see `custody inventory`"
	if err == nil {
		hint = "the name of what lies there is " + explained.Secret
	}
	if events, err := platform.Audit(ctx, name, ""); err != nil || len(events) > 0 {
		return err
	}
	return &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("no secret is called %q", visible(name)), Hint: hint}
}

// knownRun does so for runs.
func knownRun(ctx context.Context, platform *wire.Connection, id authority.RunID) error {
	if id == "" {
		return nil
	}
	runs, err := platform.Runs(ctx, "")
	if err != nil || slices.ContainsFunc(runs, func(run server.Run) bool { return run.ID == id }) {
		return err
	}
	events, err := platform.Audit(ctx, "", id)
	if err != nil || len(events) > 0 {
		return err
	}
	return &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("no run is called %q", visible(string(id))), Hint: "see `custody run list`"}
}
