// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"cmp"
	"fmt"
	"time"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

// maxOlder bounds how many documents are named one by one.
const maxOlder = 20

// olderForms says which documents are not in force as the newest estate has them, since when, and why.
func olderForms(estate *intent.Estate) []string {
	var found []string
	for _, o := range named(estate) {
		found = append(found, fmt.Sprintf("%s; see %s", notInForce(o), next.Lint()))
	}
	if estate != nil && len(estate.Older) > maxOlder {
		found = append(found, fmt.Sprintf("the newest forms of %d more documents are not in force; see %s", len(estate.Older)-maxOlder, next.Lint()))
	}
	return found
}

// olderSteps are the same, as what is done about them.
func olderSteps(estate *intent.Estate) []server.Step {
	var steps []server.Step
	for _, o := range named(estate) {
		what := "nothing"
		if o.InForce {
			what = "keep the form before"
		}
		steps = append(steps, server.Step{Secret: cmp.Or(o.Subject, o.Fault.File), What: what, Why: "not in force since " + at(o.Since), Held: o.Fault.String()})
	}
	return steps
}

func named(estate *intent.Estate) []intent.Older {
	if estate == nil {
		return nil
	}
	return estate.Older[:min(maxOlder, len(estate.Older))]
}

func notInForce(o intent.Older) string {
	switch {
	case o.Subject == "":
		return fmt.Sprintf("file %s is not in force, since %s: %s", o.Fault.File, at(o.Since), o.Fault)
	case o.Removed && o.InForce:
		return fmt.Sprintf("the removal of %s is not in force, since %s: %s", o.Subject, at(o.Since), o.Fault)
	case o.InForce:
		return fmt.Sprintf("the newest form of %s is not in force, since %s; the form before is: %s", o.Subject, at(o.Since), o.Fault)
	}
	return fmt.Sprintf("%s is not in force, since %s, and has no form before: %s", o.Subject, at(o.Since), o.Fault)
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }
