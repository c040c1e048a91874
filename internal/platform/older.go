// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"cmp"
	"strconv"
	"time"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// maxOlder bounds how many documents are named one by one.
const maxOlder = 20

// olderForms says which documents are not in force as the newest estate has them, since when, and why.
func olderForms(estate *intent.Estate) []reason.Reason {
	var found []reason.Reason
	for _, o := range named(estate) {
		found = append(found, notInForce(o))
	}
	if estate != nil && len(estate.Older) > maxOlder {
		found = append(found, reason.New(reason.MoreNotInForce, reason.Args{"count": strconv.Itoa(len(estate.Older) - maxOlder)}))
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
		steps = append(steps, server.Step{Secret: cmp.Or(o.Subject, o.Fault.File), What: what, Why: "not in force since " + at(o.Since), Held: notInForce(o).Show()})
	}
	return steps
}

func named(estate *intent.Estate) []intent.Older {
	if estate == nil {
		return nil
	}
	return estate.Older[:min(maxOlder, len(estate.Older))]
}

func notInForce(o intent.Older) reason.Reason {
	fault, since := o.Fault.String(), at(o.Since)
	switch {
	case o.Subject == "":
		return reason.New(reason.FileNotInForce, reason.Args{"file": o.Fault.File, "since": since}).Because(fault)
	case o.Removed && o.InForce:
		return reason.New(reason.RemovalNotInForce, reason.Args{"document": o.Subject, "since": since}).Because(fault)
	case o.InForce:
		return reason.New(reason.FormNotInForce, reason.Args{"document": o.Subject, "since": since}).Because(fault)
	}
	return reason.New(reason.DocumentNotInForce, reason.Args{"document": o.Subject, "since": since}).Because(fault)
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }
