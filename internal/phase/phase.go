// SPDX-License-Identifier: Apache-2.0

// Package phase says which phase the platform is in, on what evidence, and what is missing for the next one. It decides
// nothing and changes nothing. The phases are entered in order, and the platform may stay in any of them.
package phase

import (
	"fmt"
	"strconv"
	"strings"
)

// Phase counts from 0.
type Phase int

// The phases.
const (
	RootOfTrust Phase = iota
	ControlPlane
	Bootstrap
	Authority
	SteadyState
)

var names = []string{"root of trust", "control plane", "bootstrap", "authority", "steady state"}

// String is the phase's number and name.
func (p Phase) String() string { return fmt.Sprintf("%d (%s)", int(p), names[p]) }

// Facts is the evidence.
type Facts struct {
	// RootRecipients declared by the platform document.
	RootRecipients int
	// EstateDigest of the estate in force, "" when none lints.
	EstateDigest string
	// EstateFault says why the newest estate is not in force.
	EstateFault string
	// BootstrapIdentity: this host can decrypt. Documents and Unreadable count its bootstrap documents; those already
	// handed over need not be readable any more.
	BootstrapIdentity bool
	Documents         int
	Unreadable        []string
	// Initialised and Unsealed describe the authority.
	Initialised, Unsealed bool
	Recovering            string
	// Declared secrets; those that still wait for handover, for their first value, and those whose consumers do not hold
	// the version of record.
	Declared                               int
	ToHandOver, ToIssue, ToMaterialize     []string
	HandedOver, Issued, MaterializedTotals int
	// Unlooked of those that have a value were not looked at yet since the start: what their consumers hold is not known.
	Unlooked int
}

// Standing is the phase with its evidence.
type Standing struct {
	Phase Phase  `json:"phase"`
	Name  string `json:"name"`
	// Evidence for every phase entered, in order.
	Evidence []string `json:"evidence"`
	// WaitsFor is what the next phase needs.
	WaitsFor []string `json:"waitsFor,omitempty"`
}

// gate is what entering a phase needs.
type gate struct {
	phase    Phase
	evidence func(Facts) string
	missing  func(Facts) []string
}

var gates = []gate{
	{
		RootOfTrust,
		func(f Facts) string { return "root recipients declared: " + strconv.Itoa(f.RootRecipients) },
		func(f Facts) []string {
			if f.EstateDigest == "" { // nothing is known of the Platform document until an estate is in force
				return []string{"a root recipient in an estate that lints" + because(f.EstateFault)}
			}
			return when(f.RootRecipients == 0, "a root recipient in the Platform document")
		},
	},
	{
		ControlPlane,
		func(f Facts) string { return "estate " + short(f.EstateDigest) + " is in force" },
		func(f Facts) []string {
			return when(f.EstateDigest == "", "an estate that lints"+because(f.EstateFault))
		},
	},
	{
		Bootstrap,
		func(f Facts) string { return fmt.Sprintf("bootstrap documents: %d, none unreadable", f.Documents) },
		func(f Facts) []string {
			return append(when(len(f.Unreadable) > 0 && !f.BootstrapIdentity, "the bootstrap identity"),
				list("a readable bootstrap document", f.Unreadable)...)
		},
	},
	{
		Authority,
		func(f Facts) string {
			return fmt.Sprintf("the authority is initialised and unsealed; %d secrets handed over", f.HandedOver)
		},
		func(f Facts) []string {
			missing := when(!f.Initialised, "the authority to be initialised")
			missing = append(missing, when(f.Initialised && !f.Unsealed, "the authority to be unsealed")...)
			return append(missing, when(f.Recovering != "", "recovery: "+f.Recovering)...)
		},
	},
	{
		SteadyState,
		func(f Facts) string {
			text := fmt.Sprintf("%d of %d secrets have a current value, and their consumers have it", f.Issued, f.Declared)
			if f.Unlooked > 0 {
				text += fmt.Sprintf(", but %d were not checked yet since custody serve started", f.Unlooked)
			}
			return text
		},
		func(f Facts) []string {
			return append(append(list("handover", f.ToHandOver), list("a first value", f.ToIssue)...), list("delivery", f.ToMaterialize)...)
		},
	},
}

// Of judges the facts.
func Of(f Facts) Standing {
	standing := Standing{Name: "none", Phase: -1}
	for _, gate := range gates {
		if missing := gate.missing(f); len(missing) > 0 {
			standing.WaitsFor = missing
			break
		}
		standing.Phase, standing.Name = gate.phase, names[gate.phase]
		standing.Evidence = append(standing.Evidence, fmt.Sprintf("phase %d: %s", gate.phase, gate.evidence(f)))
	}
	return standing
}

func when(missing bool, what string) []string {
	if !missing {
		return nil
	}
	return []string{what}
}

func list(what string, of []string) []string {
	if len(of) == 0 {
		return nil
	}
	shown := of
	if len(shown) > 5 {
		shown = shown[:5]
	}
	more := ""
	if len(of) > len(shown) {
		more = fmt.Sprintf(" and %d more", len(of)-len(shown))
	}
	return []string{what + " of " + strings.Join(shown, ", ") + more}
}

func because(fault string) string {
	if fault == "" {
		return ""
	}
	return " (" + fault + ")"
}

func short(digest string) string {
	if len(digest) > 12 {
		return digest[:12]
	}
	return digest
}
