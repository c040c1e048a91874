// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/next"
)

// Every command that a finding names is one that the command line takes, with all that it needs: one without its secret, or
// without the reason that goes on record, sends a person round in a circle.
func TestNextCommandsAreComplete(t *testing.T) {
	for of, text := range map[string]string{
		"rotate": next.Rotate("db-admin"), "supply": next.Supply("db-admin"), "deliver": next.Deliver("db-admin"),
		"explain": next.Explain("db-admin"), "force": next.Force("run-1"), "abort": next.Abort("run-1"),
		"clock": next.ConfirmClock(), "grant": next.Grant(), "recovery": next.AcceptRecovery(),
	} {
		t.Run(of, func(t *testing.T) {
			words := strings.Fields(strings.Trim(text, "`"))
			command, rest, err := Command().Find(words[1:])
			if err != nil || command.RunE == nil {
				t.Fatalf("%s: %v", text, err)
			}
			if err := command.ParseFlags(rest); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if err := command.ValidateRequiredFlags(); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if err := command.ValidateArgs(command.Flags().Args()); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}
