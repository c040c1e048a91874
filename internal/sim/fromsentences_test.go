// SPDX-License-Identifier: Apache-2.0

package sim

// fromSentences are ten more mistakes, each written as a sentence from the invariants and the concepts by somebody who had not read the
// engines, and then put where the engines do it: see docs/design/2026-12-01-what-the-simulator-sees.md.
var fromSentences = []mutant{
	{
		name: "shorter-settle-time-is-taken-over", file: "rotation/tighten.go",
		old: "if now > *was {", new: "if now != *was {",
		run: scenario("policy-loosened"), caught: "settle-time",
	},
	{
		name: "candidate-without-an-emergency-copy", file: "rotation/run.go",
		old: "\t\treturn fmt.Errorf(\"depositing the admin candidate in escrow: %w\", err)\n", new: "\t\t_ = err\n",
		run: scenario("admin"), caught: "copy-before-apply",
	},
	{
		name: "consumers-are-those-of-the-plan", file: "rotation/rotation.go",
		old: "\ta.run, a.seen = a.entry.Live, p\n",
		new: "\ta.run, a.seen = a.entry.Live, p\n\tif !p.recorded[\"known\"] {\n\t\tp.recorded[\"known\"] = true\n\t\tfor _, c := range a.s.Consumers {\n\t\t\tp.recorded[journal.Step(\"of \"+c.Name())] = true\n\t\t}\n\t}\n" +
			"\tvar of []Consumer\n\tfor _, c := range a.s.Consumers {\n\t\tif p.recorded[journal.Step(\"of \"+c.Name())] {\n\t\t\tof = append(of, c)\n\t\t}\n\t}\n\ta.s.Consumers = of\n",
		run: scenario("consumer-added"), caught: "proof-before-revocation",
	},
	{
		name: "use-begins-no-quiet-window", file: "rotation/quiet.go",
		old: "a.Now().Add(-a.run.Policy.QuietWindow - a.kind.Evidence.Late", new: "a.Now().Add(-a.kind.Evidence.Late",
		run: scenario("old-still-used"), caught: "used-credential-is-kept",
	},
	{
		name: "stagger-gap-ends-with-the-run", file: "orchestrator/holds.go",
		old: "; now.Before(until) {", new: "; until.Before(last.Ended) {",
		run: "TestStaggerSetIsKeptApart", caught: "kept-apart",
	},
	{
		name: "another-candidate-after-a-crash", file: "rotation/run.go",
		old: "\t\t\ta.seen.at = journal.Staged\n\t\tdefault:",
		new: "\t\t\tif a.seen.at = journal.Staged; a.run.Step == journal.Staged && !a.seen.begun && !a.kind.Issues {\n\t\t\t\ta.document.Pending, a.seen.at = nil, journal.Planned\n\t\t\t}\n\t\tdefault:",
		run: scenario("dual"), caught: "no-orphans",
	},
	{
		name: "whatever-follows-the-base-is-its-own", file: "rotation/rotation.go",
		old: "held.ID.Number == run.Follows()+1 && held.ID.Run == run.ID && slices.Equal(held.Value.Digest(key), run.Digest), nil",
		new: "held.ID.Number == run.Follows()+1 && len(key) > 0, nil",
		and: &mutant{file: "rotation/decide_promoted.go", old: "held.ID.Run == k.run.ID && ", new: ""},
		run: scenario("foreign-before-promotion"), caught: "foreign-value-is-not-delivered",
	},
	{
		name: "what-was-taken-back-counts-as-rotated", file: "rotation/apply.go",
		old: "\tattempts := 1\n", new: "\ta.entry.Rotated = now\n\tattempts := 1\n",
		run: "TestRunThatWasTakenBackRenewsNothing", caught: "liveness",
	},
	{
		name: "starting-anew-forgets-what-was-timed", file: "orchestrator/orchestrator.go",
		old: "\to.primed = true\n", new: "\to.primed, o.timed = true, nil\n",
		run: "TestCapOutlivesTheProcess", caught: "cap",
	},
	{
		name: "ready-member-that-fails-is-taken-back-alone", file: "rotation/apply.go",
		old: "a.run.Step == journal.Applied && a.run.Group != a.run.ID && !a.seen.released {", new: "a.run.Step == \"never\" {",
		run: scenario("group-member-lost"), caught: "one-fate",
	},
}
