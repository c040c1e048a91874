// SPDX-License-Identifier: Apache-2.0

package sim

// fromInvariants are ten mistakes that somebody thought of who knew the names and the meanings of the invariants, and what
// the product promises, and not how the engines go about it. They say how much the simulator finds that nobody built it to
// find: see docs/design/2026-12-01-what-the-simulator-sees.md.
var fromInvariants = []mutant{
	{
		name: "successor-is-revoked", file: "rotation/deliver.go",
		old: "a.s.Upstream.Revoke(ctx, a.run.ID, old, successor)",
		new: "a.s.Upstream.Revoke(ctx, a.run.ID, successor, old)",
		run: scenario("dual"), caught: "record-is-honoured",
	},
	{
		name: "unknown-is-good-enough", file: "rotation/decide.go",
		old: "\tcase upstream.Accepted:\n\t\treturn k.honoured()\n\tcase upstream.Refused:\n\t\treturn move{do: takeBack, says: \"the upstream refuses the candidate that it took\"}",
		new: "\tcase upstream.Accepted, upstream.Unknown:\n\t\treturn k.honoured()\n\tcase upstream.Refused:\n\t\treturn move{do: takeBack, says: \"the upstream refuses the candidate that it took\"}",
		run: scenario("dual"), caught: "record-is-honoured",
	},
	{
		name: "one-consumer-speaks-for-all", file: "rotation/deliver.go",
		old: "proof.Level >= consumer.Needs {\n\t\t\tcontinue\n", new: "proof.Level >= consumer.Needs {\n\t\t\treturn nil, nil\n",
		run: scenario("dual"), caught: "settle-time",
	},
	{
		name: "undo-writes-the-old-value-anew", file: "rotation/apply.go",
		old: "\t// Not before: without it",
		new: "\tif old, err := a.base(ctx); err == nil && a.run.Base > 0 {\n\t\t_, _ = a.Authority.Write(ctx, a.s.Path, a.run.Base, a.run.ID, old)\n\t}\n\t// Not before: without it",
		run: scenario("refused-dual"), caught: "git-never-after-tombstone",
	},
	{
		name: "undone-is-not-on-record", file: "rotation/apply.go",
		old: "\tif err := a.audit(ctx, journal.Undone, a.run.Undo); err != nil {\n\t\treturn err\n\t}\n", new: "",
		run: scenario("refused-dual"), caught: "one-record-per-transition",
	},
	{
		name: "calls-carry-no-deadline", file: "rotation/run.go",
		old: "outward.Run(ctx, turn, left, fn)", new: "outward.Run(ctx, turn, 1000*time.Hour, fn)",
		run: scenario("abort-staged-dual"), caught: "no-orphans",
	},
	{
		name: "edited-path-is-believed", file: "orchestrator/identity.go",
		old: "\t\tmisplaced := journal.Misplaced(append(entries, unfinished...), declared)\n", new: "\t\tmisplaced := map[authority.Path]reason.Reason{}\n\t\t_, _ = entries, declared\n",
		run: scenario("path-edited"), caught: "one-identity",
	},
	{
		name: "failed-run-closes-its-requests", file: "orchestrator/act.go",
		old: "last.Workflow == journal.Rotation && (last.Result == journal.ResultCompleted || last.Aborted) {", new: "last.Workflow == journal.Rotation {",
		run: scenario("refused-dual"), caught: "request-kept",
	},
	{
		name: "consumer-is-not-repaired-between-runs", file: "orchestrator/reconcile.go",
		old: "\t\tif err := o.Rotation.Deliver(", new: "\t\tif steady {\n\t\t\tcontinue\n\t\t}\n\t\tif err := o.Rotation.Deliver(",
		run: scenario("dual"), caught: "converges",
	},
	{
		name: "revoked-value-is-kept", file: "rotation/deliver.go",
		old: "\tcase a.revokes():\n\t\tspent = ", new: "\tcase false:\n\t\tspent = ",
		run: scenario("dual"), caught: "revoked-value-is-gone",
	},
}
