// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/wire"
)

func (a *app) upstreamCommand() *cobra.Command {
	return group("upstream", "show the kinds of upstream, and test your own program or recipe",
		`An upstream is a system that accepts credentials, such as a database. These commands show what Custody can do with each kind of
upstream, and test a program of type exec or a recipe of type http of your own.`,
		`  custody upstream list
  custody upstream explain postgres
  custody upstream check /usr/local/lib/custody/keys`,
		a.upstreamListCommand(), a.upstreamExplainCommand(), a.upstreamCheckCommand(), a.upstreamTryCommand(),
	)
}

// describedKind is one mode of one type, for programs.
type describedKind struct {
	Mode         string             `json:"mode,omitempty"`
	Means        string             `json:"means"`
	Capability   string             `json:"capability"`
	Issues       bool               `json:"issues"`
	Verifies     bool               `json:"verifies"`
	Undo         string             `json:"undo"`
	LostReply    string             `json:"lostReply"`
	Settle       string             `json:"settle"`
	CallDeadline string             `json:"callDeadline"`
	Fences       bool               `json:"fences"`
	FencesIf     string             `json:"fencesIf,omitempty"`
	WrongEvery   string             `json:"wrongEvery"`
	Evidence     *describedEvidence `json:"evidence,omitempty"`
}

type describedEvidence struct {
	Source string `json:"source"`
	Late   string `json:"late"`
	Fine   string `json:"fine"`
	Names  bool   `json:"names"`
}

// described is one type of upstream, for programs.
type described struct {
	Type    string          `json:"type"`
	Title   string          `json:"title"`
	Summary string          `json:"summary"`
	Modes   []describedKind `json:"modes"`
	Tried   string          `json:"tried"`
	Page    string          `json:"page,omitempty"`
}

func describe(d upstream.Description) described {
	out := described{Type: d.Type, Title: d.Title, Summary: d.Summary, Tried: d.Tried, Modes: []describedKind{}}
	for _, mode := range d.Modes {
		k := mode.Kind
		kind := describedKind{
			Mode: mode.Name, Means: mode.Means, Capability: string(k.Capability), Issues: k.Issues, Verifies: k.Verifies,
			Undo: string(k.Undo), LostReply: string(k.LostReply), Settle: k.Settle.String(), CallDeadline: k.CallDeadline.String(),
			Fences: k.Fences, FencesIf: mode.FencesIf, WrongEvery: k.WrongEvery.String(),
		}
		if e := k.Evidence; e != nil {
			kind.Evidence = &describedEvidence{Source: e.Source, Late: e.Late.String(), Fine: e.Fine.String(), Names: e.Names}
		}
		out.Modes = append(out.Modes, kind)
	}
	return out
}

// listedAs is what people are shown as a kind's name: a recipe stands behind the type that takes it.
func listedAs(d upstream.Description) string {
	if slices.Contains(wire.Recipes(), d.Type) {
		return "http/" + d.Type
	}
	return d.Type
}

// describedAs finds a kind of upstream by its name. That of a recipe is enough for it.
func describedAs(name string) (upstream.Description, error) {
	var known []string
	for _, d := range wire.Descriptions() {
		if d.Type == name || listedAs(d) == name {
			return d, nil
		}
		known = append(known, listedAs(d))
	}
	slices.Sort(known)
	return upstream.Description{}, &server.Problem{
		Class: server.NotFound, Text: fmt.Sprintf("there is no kind of upstream %q", visible(name)), Hint: "there are: " + strings.Join(known, ", "),
	}
}
