// SPDX-License-Identifier: Apache-2.0

package sim

// foreignMutants are engines that end somebody else's write wrongly.
var foreignMutants = []mutant{
	{
		name: "adopted-without-asking-the-upstream", file: "rotation/foreign.go",
		old: "\tif a.kind.Verifies {\n\t\tif err := a.honoured(ctx, found); err != nil {\n\t\t\treturn err\n\t\t}\n", new: "\tif a.kind.Verifies {\n",
		run: scenario("foreign-refused"), caught: "record-is-honoured",
	},
	{
		name: "adopted-in-place-of-a-candidate-that-is-forgotten", file: "rotation/foreign.go",
		old: "\t\t\ta.replacing(old, append(slices.Clone(a.document.Pending.Replaced), candidate))\n", new: "\t\t\ta.replacing(old, slices.Clone(a.document.Pending.Replaced))\n",
		run: scenario("foreign-adopted-after-promotion"), caught: "no-orphans",
	},
	{
		name: "value-that-is-put-back-is-revoked", file: "rotation/foreign.go",
		old: "\ta.storePending(secret.Value{}, managed)\n", new: "\ta.storePending(managed, managed)\n",
		run: scenario("foreign-reverted"), caught: "converges",
	},
	{
		name: "other-value-is-put-back", file: "rotation/foreign.go",
		old: "\t\terr = a.putsBack(ctx, managed.Value, found.Value)\n", new: "\t\terr = a.putsBack(ctx, found.Value, managed.Value)\n",
		run: scenario("foreign-reverted"), caught: "converges",
	},
	{
		name: "decision-is-not-recorded", file: "rotation/foreign.go",
		old: "\tif d == nil || d.Run != a.run.ID || a.seen.recorded[", new: "\tif d == nil || d.Run == a.run.ID || a.seen.recorded[",
		run: scenario("foreign-adopted"), caught: "foreign-write-is-decided",
	},
}
