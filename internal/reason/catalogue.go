// SPDX-License-Identifier: Apache-2.0

package reason

import (
	"regexp"
	"slices"
	"strings"

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
	toAbort   = Next{"to take the run back", next.Abort("{abort}")}
	toForce   = Next{"to end the run as it is", next.Force("{force}")}
	toWaive   = Next{"to go on without that proof, once nothing runs on the old version any more", next.Force("{force}")}
	toRevoke  = Next{"to revoke it all the same", next.Force("{force}")}
	toChange  = Next{"to let the account be changed, once nobody else uses it", next.Force("{force}")}
	toSupply  = Next{"to hand in a value that works there", next.Supply("{supply}")}
	toRotate  = Next{"to have a new value made", next.Rotate("{rotate}")}
	toExplain = Next{"to see what it waits for", next.Explain("{explain}")}
	toConfirm = Next{"once the clock is right", next.ConfirmClock()}
	toGrant   = Next{"to see it and allow it", next.Grant()}
	toLint    = Next{"to see all that is wrong", next.Lint()}
	toAccept  = Next{"to try again", next.AcceptRecovery()}
)

// Catalogue are the rows of all codes.
func Catalogue() []Row { return slices.Concat(ofRuns, ofSecrets, ofPlatform) }

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

var parameter = regexp.MustCompile(`\{([a-z]+)\}`)

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
	return parameter.ReplaceAllStringFunc(template, func(found string) string {
		if value, given := args[strings.Trim(found, "{}")]; given {
			return value
		}
		return found
	})
}

func (n Next) given(args Args) bool {
	return !slices.ContainsFunc(Parameters(n.Command), func(name string) bool { _, given := args[name]; return !given })
}
