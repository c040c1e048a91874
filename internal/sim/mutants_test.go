// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"
	"strings"
	"testing"

	"custody.dev/custody/internal/thorough"
)

// mutant is an engine with one thing wrong.
type mutant struct {
	name string
	// file, below internal, in which old stands once; new takes its place.
	file, old, new string
	// run are the tests that find it, of the package in, this one unless set, and caught what they say: an invariant.
	run, caught string
	in          string
	// and is a second place that is wrong, where one alone is guarded by the other; nil for none. Of it only file, old and new count.
	and *mutant
}

func scenario(names ...string) string {
	return "TestCrashEnumeration/scenarios/^(" + strings.Join(names, "|") + ")$"
}

// mutants are what each part of the engines is there to prevent.
var mutants = []mutant{
	{
		name: "revoke-before-proof", file: "rotation/deliver.go",
		old: "\treturn lacking, nil\n", new: "\treturn lacking[:0], nil\n",
		run: scenario("dual"), caught: "proof-before-revocation",
	},
	{
		name: "retired-is-not-revoked", file: "rotation/retire.go",
		old: "\tif a.revokesNone() == \"\" {\n", new: "\tif a.revokesNone() == \"none\" {\n",
		run: scenario("retired-dual"), caught: "retired-leaves-nothing",
	},
	{
		name: "withdrawal-that-failed-is-ignored", file: "rotation/retire.go",
		old: "\tif left = a.required(left); len(left) > 0 {\n", new: "\tif left = a.required(left); len(left) < 0 {\n",
		run: scenario("retired-refusing"), caught: "withdrawn-before-revoked",
	},
	{
		name: "retired-value-is-kept", file: "rotation/retire.go",
		old: "number <= last; number++ {\n", new: "number < last; number++ {\n",
		run: scenario("retired-dual"), caught: "retired-leaves-nothing",
	},
	{
		name: "older-credentials-are-left", file: "rotation/retire.go",
		old: "\tfirst := authority.Version(1)\n", new: "\tfirst := a.run.Base\n",
		run: scenario("retired-with-older"), caught: "retired-leaves-nothing",
	},
	{
		name: "revocation-is-believed", file: "rotation/retire.go",
		old: "\tcase upstream.Accepted:\n\t\ta.seen.revoked = time.Time{} // it is revoked again\n", new: "\tcase upstream.Accepted:\n\t\treturn nil, nil\n",
		run: scenario("retired-dual"), caught: "retired-leaves-nothing",
	},
	{
		name: "declared-again-is-not-believed", file: "orchestrator/leave.go",
		old: "\tcase entry.Retires() && !s.Leaving && entry.Live.Revocable():\n", new: "\tcase entry.Retires() && s.Leaving && !s.Leaving:\n",
		run: scenario("retired-comes-back"), caught: "returned-is-kept",
	},
	{
		name: "compromise-waits-for-the-grace", file: "rotation/retire.go",
		old: "left > 0 && !a.run.Revoking && a.run.Compromise == nil {", new: "left > 0 && !a.run.Revoking {",
		run: scenario("retired-compromised"), caught: "compromise-ends",
	},
	{
		name: "retired-begins-at-nothing", file: "rotation/rotation.go",
		old: "\tif entry.Gone != nil && base == 0 {", new: "\tif entry.Gone != nil && base > 0 {",
		run: scenario("retired-begins-anew"), caught: "converges",
	},
	{
		name: "delivered-is-taken-for-rolled", file: "rotation/deliver.go",
		old: "proof.Level >= consumer.Needs", new: "proof.Level >= materialize.Delivered",
		run: "TestIgnoredReloadHoldsRevocationUntilForced", caught: "proof-before-revocation",
	},
	{
		name: "proof-by-number", file: "rotation/deliver.go",
		old: "if proof.Version == held.ID &&", new: "if proof.Version.Number == held.ID.Number &&",
		run: scenario("restored"), caught: "proof-before-revocation",
	},
	{
		name: "ambiguous-apply-is-taken-for-not-applied", file: "rotation/apply.go",
		old: "\tcase !definite(err): // what never arrived, or is refused, counts as no attempt\n\t\ta.seen.attempts++\n",
		new: "\tcase !errors.Is(err, upstream.ErrSuperseded):\n\t\treturn a.abandon(ctx)\n",
		run: scenario("overwrite"), caught: "working-credential",
	},
	{
		name: "issue-again-without-collecting", file: "rotation/issue.go",
		old: "\tcase a.kind.LostReply == upstream.Reissue:\n\t\treturn a.collect(ctx)\n", new: "\tcase a.kind.LostReply == upstream.Reissue:\n\t\treturn nil, nil\n",
		run: scenario("issued"), caught: "no-orphans",
	},
	{
		name: "unknown-is-taken-for-refused", file: "rotation/run.go",
		old: "\t\treturn verdict, nil\n\t}\n\treturn upstream.Unknown, err\n", new: "\t\treturn verdict, nil\n\t}\n\t_ = err\n\treturn upstream.Refused, nil\n",
		run: "TestUpstreamDownForAnHour/applied", caught: "silence-is-no-refusal",
	},
	{
		name: "refused-counts-before-the-settle-time", file: "rotation/decide.go",
		old: "left := k.seen.applied.Add(k.kind.Settle).Sub(k.now); left >= 0",
		new: "left := k.seen.applied.Sub(k.now); left >= 0",
		run: "TestPropagationIsNoRefusal", caught: "request-kept",
	},
	{
		name: "superseding-run-forgets-what-it-took-over", file: "rotation/compromise.go",
		old: "\t\trun.Older = append(run.Older, old)\n", new: "\t\t_ = old\n",
		run: "TestCompromiseWithoutFaults/compromised-while-stuck-dual$", caught: "compromise-ends",
	},
	{
		name: "compromise-breaks-at-once", file: "rotation/decide_promoted.go",
		old: "c.At.Add(says.BreakAfter / time.Duration(of))", new: "c.At.Add(says.BreakAfter / time.Duration(20*of))",
		run: "TestCompromiseWithoutFaults/compromised-while-stuck-dual$", caught: "consumers-have-their-time",
	},
	{
		name: "every-report-begins-anew", file: "rotation/compromise.go",
		old: "case done && (run.Compromise != nil || s.Upstream == nil):", new: "case done && s.Upstream == nil:",
		run: "TestCompromiseWithoutFaults/compromised-again-and-again$", caught: "consumers-not-refused",
	},
	{
		name: "compromise-breaks-nobody", file: "rotation/decide_promoted.go",
		old: "\tif c == nil || says == nil || says.BreakAfter <= 0 {", new: "\tif c == nil || says == nil || says.BreakAfter >= 0 {",
		run: "TestCompromiseWithoutFaults/compromised-while-stuck-dual$", caught: "compromise-ends",
	},
	{
		name: "no-tombstone", file: "handover/handover.go",
		old: "if entry.Tombstone == nil {", new: "if true {",
		run: scenario("value-lost"), caught: "git-never-after-tombstone",
	},
	{
		name: "undo-without-collecting", file: "rotation/apply.go",
		old: "if known && a.kind.Issues && a.kind.LostReply == upstream.Reissue {", new: "if false {",
		run: "TestCollectedCredentialComesBack", caught: "no-orphans",
	},
	{
		name: "supply-is-recorded-before-it-is-stored", file: "rotation/supply.go",
		old: "\tif err := a.save(ctx); err != nil {\n\t\treturn err\n\t}\n\treturn a.recordSupply(ctx)\n",
		new: "\tif err := a.recordSupply(ctx); err != nil {\n\t\treturn err\n\t}\n\treturn a.save(ctx)\n",
		run: scenario("rotated"), caught: "working-credential",
	},
	{
		name: "promote-over-a-newer-version", file: "rotation/apply.go",
		old: "\tid, err := a.Authority.Write(within, a.s.Path, a.run.Follows(), a.run.ID, a.seen.candidate)\n",
		new: "\tnewest, _ := a.Authority.Read(ctx, a.s.Path)\n\tid, err := a.Authority.Write(within, a.s.Path, newest.ID.Number, a.run.ID, a.seen.candidate)\n",
		run: scenario("foreign-before-promotion"), caught: "foreign-write-holds",
	},
	{
		name: "journal-without-compare-and-set", file: "journal/held.go",
		old: "\trevision, err := j.documents.Put(",
		new: "\tif newest, err := j.documents.Get(ctx, keyPrefix+string(held.Path)); err == nil {\n\t\tdocument.Revision = newest.Revision\n\t}\n\trevision, err := j.documents.Put(",
		run: scenario("abort-applied-dual"), caught: "no-orphans",
	},
	{
		name: "late-revoke-is-not-fenced", file: "rotation/deliver.go",
		old: "a.entry.QuietUntil = a.seen.prior", new: "a.entry.QuietUntil = time.Time{}",
		run: scenario("dual"), caught: "one-live-run",
	},
	{
		name: "request-acknowledged-before-it-is-durable", file: "trigger/queue.go",
		old: "\t\t\treturn Request{}, fmt.Errorf(\"submitting request: %w\", err)\n\t\t}\n\t\tstored, err",
		new: "\t\t\treturn request, nil\n\t\t}\n\t\tstored, err",
		run: scenario("dual"), caught: "request-kept",
	},
	{
		name: "undo-without-fence", file: "rotation/apply.go",
		old: "\t\tif stop := a.fence(); stop != nil {\n\t\t\treturn stop, nil\n\t\t}\n\t\tif a.seen.old",
		new: "\t\tif a.seen.old",
		run: scenario("abort-staged-dual"), caught: "no-orphans",
	},
	{
		name: "promote-without-journaling-the-decision", file: "rotation/apply.go",
		old: "\ta.run.Step, a.run.PromoteBy = journal.Verified, a.Now().Add(promoteWithin)\n\tif err := a.save(ctx); err != nil {\n\t\treturn err\n\t}\n",
		new: "\ta.run.PromoteBy = a.Now().Add(promoteWithin)\n",
		run: scenario("abort-applied-dual"), caught: "record-is-honoured",
	},
	{
		name: "closed-before-its-records-are-in", file: "rotation/deliver.go",
		old: "range a.steps() {", new: "range a.steps()[:0] {",
		run: scenario("dual"), caught: "one-record-per-transition",
	},
	{
		name: "deadline-measured-before-the-journal-write", file: "rotation/run.go",
		old: "\t\tleft = a.run.CallBy.Sub(a.Now()) // the write may have taken long\n", new: "\t\tleft = a.kind.CallDeadline\n",
		run: scenario("refused-dual"), caught: "one-live-run",
	},
	{
		name: "revoke-what-is-still-used", file: "rotation/decide_promoted.go",
		old: "\tcase len(who) == 0:\n\t\treturn move{do: revoke}\n",
		new: "\tcase true:\n\t\treturn move{do: revoke}\n",
		run: scenario("old-still-used"), caught: "used-credential-is-kept",
	},
	{
		name: "uses-are-dated-by-a-clock-that-jumped", file: "rotation/quiet.go",
		old: "\treturn why, nil\n",
		new: "\treturn \"\", nil\n",
		run: "TestClockJumpKeepsAUsedCredential/forward", caught: "used-credential-is-kept",
	},
	{
		name: "issue-beside-a-newcomer", file: "rotation/issue.go",
		old: "\tif len(unknown) == 0 {\n", new: "\tif true {\n",
		run: scenario("listed"), caught: "no-orphans",
	},
	{
		name: "lost-rotation-is-taken-for-none", file: "rotation/issue.go",
		old: "\tcase upstream.Accepted:\n\t\treturn nil, nil\n\tcase upstream.Refused:\n\t\treturn a.wait(reason.LostReplyOldEnded,",
		new: "\tcase upstream.Accepted, upstream.Refused:\n\t\treturn nil, nil\n\tcase \"never\":\n\t\treturn a.wait(reason.LostReplyOldEnded,",
		run: scenario("rotated"), caught: "converges",
	},
	{
		name: "rebuilt-is-taken-for-delivered", file: "derivation/dependent.go",
		old: "\tif len(missing) > 0 {\n", new: "\tif false {\n",
		run: scenario("derived"), caught: "consumers-not-refused",
	},
	{
		name: "member-waits-for-a-leader-that-moved-on", file: "rotation/group.go",
		old: "\treturn undone, nil\n", new: "\treturn underWay, nil\n",
		run: scenario("group-refused"), caught: "converges",
	},
	{
		name: "leader-does-not-wait", file: "rotation/group.go",
		old: "\t\t\tfallthrough\n\t\tcase underWay:\n\t\t\treturn a.wait(reason.GroupMemberVerifying,", new: "\t\tcase fate(-1):\n\t\t\treturn a.wait(reason.GroupMemberVerifying,",
		run: scenario("group-refused"), caught: "one-fate",
	},
	{
		name: "ready-member-is-taken-back-alone", file: "rotation/rotation.go",
		old: "\t\tif run.Group != run.ID {\n\t\t\treturn fmt.Errorf(\"aborting", new: "\t\tif false {\n\t\t\treturn fmt.Errorf(\"aborting",
		run: scenario("group-abort-member"), caught: "one-fate",
	},
	{
		name: "interrupting-member-goes-first", file: "rotation/decide.go",
		old: "\treturn k.run.Group != \"\" && k.kind.Capability == upstream.Overwrite\n",
		new: "\treturn false\n",
		run: "TestOverwritingMemberGoesLast", caught: "interrupting-goes-last",
	},
	{
		name: "two-engines-stage-the-same-bytes", file: "rotation/run.go",
		old: "a.run.Step, a.run.Turn, a.run.CallBy = journal.Staged, a.NewRun(), a.Now()",
		new: "a.run.Step, a.run.CallBy = journal.Staged, a.Now()",
		run: "TestTwoEnginesStageAtOneInstant", caught: "no-orphans",
	},
	{
		name: "settle-time-is-skipped", file: "rotation/decide_promoted.go",
		old: "k.seen.proven.Add(k.run.Policy.Settle).Sub(k.now)\n",
		new: "k.seen.proven.Sub(k.now)\n",
		run: "TestSettleTimeIsWaitedOut", caught: "settle-time",
	},
	{
		name: "proofs-are-not-looked-at-after-settling", file: "rotation/decide_promoted.go",
		old: "\tcase len(k.required(h.missing)) > 0:\n\t\treturn move{do: proveAgain}\n",
		new: "\tcase len(h.missing) > 100:\n\t\treturn move{do: proveAgain}\n",
		run: "TestProofLostWhileSettling", caught: "proof-before-revocation",
	},
	{
		name: "new-credential-is-not-tried-before-revoking", file: "rotation/decide_promoted.go",
		old: "\tcase h.last.verdict != upstream.Accepted:\n",
		new: "\tcase h.last.verdict == \"never\":\n",
		run: "TestUpstreamLosesTheNewCredentialAfterProof", caught: "working-credential",
	},
	{
		name: "refusal-of-the-old-is-not-checked", file: "rotation/act.go",
		old: "h.after.verdict == upstream.Accepted {\n\t\t\ta.seen.revoked = time.Time{}\n",
		new: "h.after.verdict != \"never\" {\n\t\t\th.after.verdict = upstream.Refused\n",
		run: "TestUpstreamLosesARevocation", caught: "no-orphans",
	},
	{
		name: "undo-does-not-ask-whether-the-old-one-works", file: "rotation/apply.go",
		old: "\tswitch verdict, err := a.ask(ctx, a.seen.old); verdict {\n\tcase upstream.Accepted:\n\t\treturn nil\n\tcase upstream.Refused:\n\t\treturn a.wait(reason.CurrentRefusedAfterUndo,",
		new: "\t_, err := a.ask(ctx, a.seen.old)\n\tswitch verdict := upstream.Accepted; verdict {\n\tcase upstream.Accepted:\n\t\treturn nil\n\tcase upstream.Refused:\n\t\treturn a.wait(reason.CurrentRefusedAfterUndo,",
		run: "TestUpstreamLosesAnUndo", caught: "record-is-honoured",
	},
	{
		name: "undo-does-not-ask-whether-the-candidate-is-refused", file: "rotation/apply.go",
		old: "\tswitch verdict, err := a.askCandidate(ctx); verdict {\n",
		new: "\t_, err := a.askCandidate(ctx)\n\tswitch verdict := upstream.Refused; verdict {\n",
		run: "TestUpstreamLosesTheRemovalOfACandidate", caught: "taken-back-is-refused",
	},
	{
		name: "policy-is-never-enforced", file: "orchestrator/decide.go",
		old: "return entry.Current != nil && (entry.Enforcing != \"\" ||", new: "return false && (entry.Enforcing != \"\" ||",
		run: "TestDeclaredPolicyIsEnforced", caught: "declared-policy-is-enforced",
	},
	{
		name: "promoted-on-what-was-verified-long-ago", file: "rotation/decide.go",
		old: "left > 0 && left <= promoteWithin:\n", new: "left <= promoteWithin:\n",
		and: &mutant{file: "rotation/apply.go", old: "\tif !a.kind.Verifies {\n\t\ta.run.PromoteBy", new: "\tif true {\n\t\ta.run.PromoteBy"},
		run: "TestUpstreamLosesTheCandidateWhileTheProcessIsDown", caught: "record-is-honoured",
	},
	{
		name: "handed-out-on-what-was-verified-long-ago", file: "rotation/decide_promoted.go",
		old: "\treturn slices.ContainsFunc(owed, func(l missingProof) bool { return !l.has })\n",
		new: "\treturn len(owed) > 100\n",
		run: "TestUpstreamLosesThePromotedValueWhileTheProcessIsDown", caught: "consumers-not-refused",
	},
	{
		name: "live-run-is-not-tightened", file: "rotation/tighten.go",
		old: "if len(changes) == 0 ||", new: "if len(changes) < 100 ||",
		run: "TestSettleTimeIsWaitedOut", caught: "settle-time",
	},
}

// faultyWorld are found by what doubles do that answer wrongly, by changes of the estate, and by what is found between runs.
var faultyWorld = []mutant{
	{
		name: "marker-is-not-looked-at", file: "rotation/marker.go",
		old: "\tcase run != \"\":\n", new: "\tcase run == \"never\":\n",
		run: scenario("older-alternate"), caught: "stranger-is-left-alone",
	},
	{
		name: "foreign-value-is-delivered", file: "orchestrator/decide.go",
		old: "held != nil && (entry.Current == nil || *entry.Current != *held):", new: "held != nil && entry.Path == \"\":",
		run: scenario("foreign-between-runs"), caught: "foreign-value-is-not-delivered",
	},
	{
		name: "refused-bootstrap-value-is-taken", file: "handover/handover.go",
		old: "\tcase verdict == upstream.Refused:\n\t\treturn ErrRefused\n", new: "\tcase verdict == upstream.Refused:\n\t\treturn nil\n",
		run: scenario("wrong-document"), caught: "record-is-honoured",
	},
	{
		name: "lost-revocation-is-not-noticed", file: "rotation/deliver.go",
		old: "\ta.seen.revoked = a.Now()\n\treturn nil\n",
		new: "\ta.seen.revoked = a.Now()\n\ta.reach(journal.Revoked)\n\treturn a.audit(ctx, journal.Revoked, \"\")\n",
		run: scenario("dual"), caught: "no-orphans",
	},
	{
		name: "run-completes-on-what-was-verified-once", file: "rotation/deliver.go",
		old: "\tcase given.verdict == upstream.Accepted, given.verdict == upstream.Unknown && !a.run.Refused:\n",
		new: "\tcase given.verdict == upstream.Refused && !a.run.Refused:\n\t\treturn answer{verdict: upstream.Accepted}, nil\n\tcase given.verdict == upstream.Accepted, given.verdict == upstream.Unknown && !a.run.Refused:\n",
		run: scenario("dual"), caught: "working-credential",
	},
	{
		name: "consumer-that-fell-back-is-not-seen", file: "rotation/decide_promoted.go",
		old: "\tcase !h.proved:\n\t\treturn move{do: askConsumers}\n\tcase len(k.required(h.missing)) > 0:\n",
		new: "\tcase len(k.required(h.missing)) > 0:\n",
		run: scenario("dual"), caught: "proof-before-revocation",
	},
	{
		name: "call-is-waited-for-beyond-its-limit", file: "outward/outward.go",
		old: "\tcase a := <-ended:\n\t\treturn a.result()\n\tcase <-bounded.Done():\n\t}\n", new: "\tcase a := <-ended:\n\t\treturn a.result()\n\t}\n",
		run: "TestCallsThatNeverReturn", caught: "gives-up",
	},
	{
		name: "consumers-are-waited-for", file: "rotation/outside.go",
		old: "Rank: rank, Limit: consumerTimeout}", new: "Rank: rank, Limit: 1000 * consumerTimeout}",
		run: "TestCallsThatNeverReturn", caught: "gives-up",
	},
	{
		name: "policy-of-the-run-is-the-first-one", file: "rotation/tighten.go",
		old: "\tlonger(\"settle\", &pinned.Settle, declared.Settle)\n", new: "\tlonger(\"settle\", &pinned.Settle, pinned.Settle)\n",
		run: scenario("policy-tightened"), caught: "settle-time",
	},
}

// engineMutants are found by the engine's own tests.
var engineMutants = []mutant{
	{
		name: "sessions-go-on", file: "rotation/compromise.go",
		old: "\tif says == nil || !says.EndSessions || a.seen.recorded[stepSessions] {", new: "\tif says != nil || a.seen.recorded[stepSessions] {",
		run: "TestCompromiseSupersedesAStuckRun", caught: "a session that began with the compromised credential is open",
	},
	{
		name: "what-was-never-staged-is-taken-off", file: "rotation/apply.go",
		old: "staged := a.run.Turn != \"\"", new: "staged := a.run.Turn != \"never\"",
		run: "TestUndoingTouchesNothingThatWasNeverStaged", caught: "calls to revoke",
	},
	{
		name: "issued-credential-is-forgotten", file: "rotation/rotation.go",
		old: "e.doubt(a.run.ID) // nothing", new: "e.forget(a.run.ID) // nothing",
		run: "TestIssuedCredentialOutlivesAFailedWrite", caught: "calls to issue",
	},
	{
		name: "overwritten-before-the-lock-out-is-over", file: "rotation/decide.go",
		old: "k.kind.Capability == upstream.Overwrite && k.locked > 0",
		new: "k.kind.Capability == \"never\" && k.locked > 0",
		run: "TestLockOutIsWaitedOutBeforeOverwriting", caught: "after it was applied",
	},
	{
		name: "refused-is-taken-for-revoked", file: "rotation/decide_promoted.go",
		old: "\t\treturn k.settling()\n\t}\n\treturn move{do: revoke}\n",
		new: "\t\treturn k.settling()\n\t}\n\treturn move{do: noteRevoked}\n",
		run: "TestRefusedOldCredentialIsRevokedAllTheSame", caught: "the directory is down",
	},
	{
		name: "fence-of-a-clock-ahead", file: "rotation/apply.go",
		old: "if left > a.kind.CallDeadline {", new: "if left > 1e6*a.kind.CallDeadline {",
		run: "TestClockSetBackHoldsNoFence", caught: "the run is completed after",
	},
	{
		name: "current-value-is-supplied", file: "rotation/supply.go",
		old: "if v.Equal(old) {", new: "if v.Equal(old) && false {",
		run: "TestSupplyOfAStaticSecret", caught: "the value that it has",
	},
	{
		name: "what-cannot-be-undone-is-aborted", file: "rotation/rotation.go",
		old: "if s.Upstream != nil && s.Upstream.Kind().Undo == upstream.Impossible {", new: "if s.Upstream != nil && s.Upstream.Kind().Undo == \"never\" {",
		run: "TestWhatCannotBeUndoneIsNotAborted", caught: "want ErrNotAllowed",
	},
	{
		name: "force-waives-what-is-missing-later", file: "rotation/decide_promoted.go",
		old: "return k.waives(journal.WaivedConsumer, l.consumer.Name()) })",
		new: "return len(k.run.Waived) > 0 })",
		run: "TestForceWaivesOnlyWhatItNames", caught: "want proof-missing with",
	},
	{
		name: "foreign-value-is-rotated", file: "rotation/rotation.go",
		old: "case err == nil && entry.Current != nil && *entry.Current != record.ID:", new: "case err == nil && false:",
		run: "TestForeignValueIsNotRotated", caught: "want ErrNotAllowed",
	},
}

// Of the tests that find mutants, so many are run on the engines as they are, in the mutants' binary. The package's own
// tests are all of them.
const sampledControls = 4

// TestMutants shows that the simulator finds what it is there to find: each engine with one thing wrong breaks the
// invariant that names it. The engines are compiled once, with all mutants in them. Each mutant is one process, which
// trial bounds.
func TestMutants(t *testing.T) {
	if testing.Short() {
		return // it starts a compiler
	}
	tried := slices.Concat(mutants, faultyWorld, fromInvariants, fromSentences, foreignMutants)
	for _, m := range tried {
		if !named(m.caught) {
			t.Errorf("%s: no invariant or property is called %q", m.name, m.caught)
		}
	}
	for _, m := range engineMutants {
		m.in = "../rotation"
		tried = append(tried, m)
	}
	binaries := mutated(t, tried, ".", "../rotation")
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		runs := map[string][]string{}
		for _, m := range sample(thorough.Random(t, "controls"), tried, thorough.Of(0, sampledControls, len(tried))) {
			runs[m.in] = append(runs[m.in], m.run)
		}
		for in, tests := range runs {
			if output, err := trial(t, binaries, in, "", strings.Join(tests, "|")); err != nil {
				t.Errorf("the engines as they are fail: %v\n%s", err, head(output))
			}
		}
	})
	for _, m := range tried {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			output, err := trial(t, binaries, m.in, m.name, m.run)
			switch {
			case err == nil:
				t.Errorf("the mutant lives: %s pass", m.run)
			case !strings.Contains(output, m.caught):
				t.Errorf("%s does not find it:\n%s", m.caught, head(output))
			case m.in != "":
				all.catch(m.name, "a test of "+m.in[len("../"):]+", which says: "+m.caught)
			default:
				all.catch(m.name, m.caught)
			}
		})
	}
}
