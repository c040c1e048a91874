// SPDX-License-Identifier: Apache-2.0

package reason

import (
	"slices"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/next"
)

// Row is what the catalogue has of one code.
type Row struct {
	Code  Code
	Class Class
	// Says is the sentence, with parameters in braces. What a part said follows it.
	Says string
	// Next are the commands with which a person may go on. One is part of a reason that gives all of its parameters.
	Next []Next
	// Means explains the sentence, and Move says what a person does, or, of one by design, when it ends. Both are Markdown.
	Means, Move string
}

// Next is a command, and what it is for.
type Next struct{ To, Command string }

// commands that several rows have. Their parameters are named after the command: a reason that gives one names what it is run on.
var (
	toAbort     = Next{"to roll the run back", next.Abort("{abort}")}
	toForce     = Next{"to end the run as it is", next.Force("{force}")}
	toWaive     = Next{"to continue without that proof, once nothing uses the old version", next.Force("{force}")}
	toRevoke    = Next{"to revoke it anyway", next.Force("{force}")}
	toLeaveOpen = Next{"to complete the run without this, once you have ended the sessions by hand", next.Force("{force}")}
	toChange    = Next{"to let Custody change the account, once nobody else uses it", next.Force("{force}")}
	toSupply    = Next{"to supply a value that works there", next.Supply("{supply}")}
	toAdopt     = Next{"to test it at its upstream and adopt it", next.AdoptValue("{adopt}")}
	toRevert    = Next{"to restore the managed value", next.Revert("{revert}")}
	toRotate    = Next{"to make a new value", next.Rotate("{rotate}")}
	toExplain   = Next{"to see what it waits for", next.Explain("{explain}")}
	toSeeOn     = Next{"after the restart, to see that the run continues", next.Explain("{explain}")}
	toSeeRun    = Next{"to see that it continues", next.ShowRun("{run}")}
	toLeave     = Next{"if somebody owns it, to roll the run back before you name another account in the document", next.Abort("{abort}")}
	toConfirm   = Next{"to confirm the time, once the clock is right", next.ConfirmClock()}
	toGrant     = Next{"to review and allow it", next.Grant()}
	toLint      = Next{"to list every fault", next.Lint()}
	toAccept    = Next{"to try again", next.AcceptRecovery()}
)

// Catalogue are the rows of all codes.
func Catalogue() []Row { return slices.Concat(ofRuns, ofSecrets, ofLeaving, ofPlatform) }

// Retired are codes that were used once. They are never used again.
func Retired() []Code { return nil }

var rows = func() map[Code]Row {
	rows := map[Code]Row{}
	for _, row := range Catalogue() {
		rows[row.Code] = row
	}
	return rows
}()

// row is that of a code. One that is not known was written by another version: a person should look.
func row(code Code) Row {
	if row, known := rows[code]; known {
		return row
	}
	return Row{Code: code, Class: Person, Says: string(code) + " (this Custody does not know the code)"}
}

var parameter = lazyregexp.New(`\{([a-z]+)\}`)

// Parameters are the names in braces, each once, in order.
func Parameters(template string) []string {
	var names []string
	for _, match := range parameter.FindAllStringSubmatch(template, -1) {
		if !slices.Contains(names, match[1]) {
			names = append(names, match[1])
		}
	}
	return names
}

func fill(template string, args Args) string {
	if !strings.Contains(template, "{") {
		return template
	}
	pairs := make([]string, 0, 2*len(args))
	for name, value := range args {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(template)
}

func (n Next) given(args Args) bool {
	return !slices.ContainsFunc(Parameters(n.Command), func(name string) bool { _, given := args[name]; return !given })
}
