// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"net/http"
	"syscall"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/trigger"
)

// Class of a problem decides its exit code and its HTTP status.
type Class string

// The classes.
const (
	Failure     Class = "failure"
	Usage       Class = "usage"
	Found       Class = "found"
	NotFound    Class = "not-found"
	Refused     Class = "refused"
	Unavailable Class = "unavailable"
	Removes     Class = "removes"
)

// Outcome is one line of the table that --help and the documentation print.
type Outcome struct {
	Class  Class
	Exit   int
	Status int
	Means  string
}

// Outcomes is the one table of exit codes and HTTP statuses.
var Outcomes = []Outcome{
	{"", 0, http.StatusOK, "done"},
	{Failure, 1, http.StatusInternalServerError, "something broke; the message says what"},
	{Usage, 2, http.StatusBadRequest, "the command line is wrong; nothing was done"},
	{Found, 3, http.StatusOK, "the command worked and found something wrong (such as lint, doctor, audit verify, status --exit-code, serve --once with faults)"},
	{NotFound, 4, http.StatusNotFound, "no such secret, run or file"},
	{Refused, 5, http.StatusConflict, "not allowed in the current state; the message says why (serve --once: no estate is in force)"},
	{Unavailable, 6, http.StatusServiceUnavailable, "the authority is sealed, in use by another process, or not there; try again"},
	{Removes, 7, http.StatusOK, "the change would remove or revoke something (plan --estate)"},
}

// Problem is an error with its class and the operator's next move.
type Problem struct {
	Class Class  `json:"class"`
	Text  string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	cause error
}

// Error is the message without the hint.
func (p *Problem) Error() string { return p.Text }

// Status is the HTTP status of its class.
func (p *Problem) Status() int { return outcome(p.Class).Status }

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.cause }

// Problems gives err a class and a hint. An error that names its own next move (a method Hint) keeps it.
func Problems(err error) *Problem {
	if err == nil {
		return nil
	}
	var known *Problem
	if errors.As(err, &known) {
		return known
	}
	p := &Problem{Class: Failure, Text: err.Error(), cause: err}
	for _, rule := range classes {
		if errors.Is(err, rule.is) {
			p.Class, p.Hint = rule.class, rule.hint
			break
		}
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		p.Hint = hinted.Hint()
	}
	return p
}

var classes = []struct {
	is    error
	class Class
	hint  string
}{
	{trigger.ErrMalformed, Usage, "give a reason, and an id of letters, digits, dots, dashes and underscores"},
	{authority.ErrNotFound, NotFound, "see what there is with `custody inventory`"},
	{authority.ErrSealed, Unavailable, "give the authority its unseal key: see unseal in the host file"},
	{authority.ErrUnavailable, Unavailable, "try again; if it fails again, check the log of `custody serve` and the disk of the state folder"},
	{rotation.ErrNotAllowed, Refused, "see what secrets wait for: `custody status`"},
	{rotation.ErrNotNow, Refused, "see what secrets wait for: `custody status`"},
	{journal.ErrSuperseded, Refused, "somebody else changed it at the same moment; try again"},
	{recovery.ErrNewer, Refused, "accept the older state as a whole: custody recover accept --reason TEXT"},
	{journal.ErrNewerSchema, Refused, "run the newer custody that wrote it"},
	{journal.ErrUnreadable, Refused, "restore the newest copy of the state folder while no server runs, or run the newer custody that wrote it"},
	{grant.ErrUnreadable, Refused, "grant again what the estate asks for: `custody grant --current --reason TEXT`; or restore the newest copy of the state folder while no server runs"},
	{grant.ErrNewer, Refused, "run the newer custody that wrote them"},
	{audit.ErrTampered, Found, "see `custody audit verify`; do not delete anything"},
	{context.DeadlineExceeded, Unavailable, "try again; if it stays so, `custody status` and the log of `custody serve` say what does not answer"},
	{syscall.ENOSPC, Unavailable, "make room on the disk that is full; what was begun then goes on by itself"},
	{syscall.EDQUOT, Unavailable, "raise the quota of the user that runs custody; what was begun then goes on by itself"},
}

// Exit is the exit code of an error, 0 for nil.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	return outcome(Problems(err).Class).Exit
}

func outcome(class Class) Outcome {
	for _, outcome := range Outcomes {
		if outcome.Class == class {
			return outcome
		}
	}
	return Outcomes[1]
}
