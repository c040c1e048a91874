// SPDX-License-Identifier: Apache-2.0

// Package conformance is the test suite that every upstream passes: adapters in their tests, through upstreamtest, and
// programs of type exec with `custody upstream check`. It does not import package testing, so that it can be part of
// the binary.
//
// It tests what a run relies on: verdicts; idempotence; that revoking never touches the successor; that late and
// superseded calls change nothing; that a reply may be lost at any point; that Unknown is the answer when nothing is
// known; and that no error contains a value. It cannot test that a server enforces a deadline for a call that is
// already on its way; adapters test that themselves. It makes many wrong sign-ins: configure the upstream so that it
// does not lock accounts, or let Fixture.Wait wait.
package conformance

import (
	"context"
	"slices"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// T is what the suite needs of the test that runs it. Fatalf does not return.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	// Context ends when the test does.
	Context() context.Context
	// Run runs a test within this one, to its end, and reports whether it passed. Tests may run beside each other.
	Run(name string, test func(T)) bool
}

// Fixture is one fresh upstream that honours nothing yet, or nothing that the suite knows.
type Fixture struct {
	Upstream upstream.Upstream
	// Break makes the upstream unreachable and Mend undoes it.
	Break, Mend func()
	// Wait lets changes propagate; nil when they show at once.
	Wait func()
	// Refused turns a proposed candidate into one that the upstream never takes; nil when it has no such rule.
	Refused func(t T, candidate secret.Value) secret.Value
	// Cut makes the upstream lose its replies after that many from now on, while requests still arrive; Mend undoes it.
	// Nil where no wire lies between.
	Cut func(replies int)
	// Hold keeps back what is said to the upstream after that many requests from now on; Mend ends that for what is said
	// later, and land delivers what was kept back, returns when the upstream has answered it, and says how many requests
	// that were. Nil where no wire lies between.
	Hold func(requests int) (land func() (kept int))
	// Throttle makes the upstream answer that it is asked too often; Mend undoes it. Nil when it never does.
	Throttle func()
	// Skew moves the clock that the upstream was configured with. Nil when it reads none.
	Skew func(by time.Duration)
	// Held names every credential of the account that would be accepted now, by identities that are not secret. Nil when
	// that cannot be asked.
	Held func(t T) []string
	// Public names the fields of its values that are not secret, besides username.
	Public []string
	// EnforcesRun: runs that a later one superseded are refused with ErrSuperseded.
	EnforcesRun bool
	// Draw returns a number below n. With it, where a reply is lost and where a request is kept back is sampled; the last
	// reply and the last request that a call needs are always among them. Nil tries every place.
	Draw func(n int) int
	// Beside: fixtures are independent, so that one may be broken or wait while another is used.
	Beside bool
	// Log returns everything that the part has written and shown; it is searched for values. Nil when there is nothing.
	Log func() string
}

// inapplicable is noted by a test that this kind or this fixture gives nothing to try.
const inapplicable = "nothing to try: the kind has no use for it, or the suite was given no means"

// How long a test takes: slow ones make many calls, most of which wait for a reply that does not come.
const quick, slow = false, true

// one is a test of the suite.
type one struct {
	name string
	slow bool
	// applies says for which kinds and fixtures the test has a meaning; nil for all.
	applies func(f Fixture, k upstream.Kind) bool
	test    func(*bench)
}

func tests() []one {
	return []one{
		{"KindIsConsistent", quick, nil, testKind},
		{"FirstIssueIsHonoured", quick, nil, testFirstIssue},
		{"ProposeChangesNothing", quick, proposes, testPropose},
		{"ApplyTwice", quick, proposes, testApplyTwice},
		{"IssueKeepsFields", quick, decoys, testIssueKeeps},
		{"RandomCredentialIsRefused", quick, verifies, testRandomRefused},
		{"CredentialWithoutFieldsIsNeverAccepted", quick, verifies, testEmptyCredential},
		{"DecoyIsRefused", quick, decoys, testDecoy},
		{"RevokeTwice", quick, verifies, testRevokeTwice},
		{"RevokeNeverTouchesSuccessor", quick, verifies, testRevokeSuccessor},
		{"UndoRestoresCurrent", quick, verifies, testUndo},
		{"LateCallsOfSupersededRun", quick, enforces, testSuperseded},
		{"MarkerNamesTheLastRun", quick, marks, testMarker},
		{"OthersCredentialIsTold", quick, owns, testOwner},
		{"RefusedCandidateChangesNothing", quick, refuses, testRefusedCandidate},
		{"UnreachableIsUnknownAndNotApplied", quick, breaks, testUnreachable},
		{"ExpiredCallsChangeNothing", quick, verifies, testExpired},
		{"CollectRemovesOrphans", quick, collects, testCollect},
		{"ListIsComplete", quick, lists, testList},
		{"LostRepliesOfVerify", slow, cuts, testLostVerify},
		{"LostRepliesOfApply", slow, cuts, testLostApply},
		{"LostRepliesOfRevoke", slow, cutsRevoke, testLostRevoke},
		{"LostRepliesOfCollect", slow, cutsCollect, testLostCollect},
		{"CallThatOutlivesItsDeadline", slow, outlives, testOutlived},
		{"RequestsThatLandLate", slow, holds, testLate},
		{"Throttled", quick, throttles, testThrottled},
		{"ClockSkew", quick, skews, testSkew},
		{"CustodyIsNoUser", quick, witnesses, testUses},
		{"UsesWithoutEvidenceIsAnError", quick, blind, testBlind},
	}
}

// Run runs the suite. fresh is called at least once for each test. Only tests whose name chosen takes are run; nil takes
// all.
func Run(t T, fresh func(T) Fixture, chosen func(name string) bool) {
	t.Helper()
	for _, each := range tests() {
		if chosen != nil && !chosen(each.name) {
			continue
		}
		t.Run(each.name, func(t T) {
			b := newBench(t, fresh)
			if each.on(b.Fixture, b.kind) {
				each.test(b)
			} else {
				t.Logf(inapplicable)
			}
			b.searchForValues()
		})
	}
}

func (o one) on(f Fixture, k upstream.Kind) bool { return o.applies == nil || o.applies(f, k) }

// Slow lists those tests of the suite that take long and have something to try on f.
func Slow(f Fixture) []string {
	var names []string
	for _, each := range tests() {
		if each.slow && each.on(f, f.Upstream.Kind()) {
			names = append(names, each.name)
		}
	}
	return names
}

// IsSlow says whether a test of the suite takes long.
func IsSlow(name string) bool {
	return slices.ContainsFunc(tests(), func(each one) bool { return each.name == name && each.slow })
}

func proposes(_ Fixture, k upstream.Kind) bool { return !k.Issues }
func verifies(_ Fixture, k upstream.Kind) bool { return k.Verifies }
func decoys(_ Fixture, k upstream.Kind) bool   { return k.Issues && k.Verifies }
func enforces(f Fixture, k upstream.Kind) bool { return f.EnforcesRun && k.Verifies }

func marks(f Fixture, k upstream.Kind) bool {
	_, marked := f.Upstream.(upstream.Marked)
	return k.Verifies && marked && (f.EnforcesRun || k.Fences)
}

func owns(_ Fixture, k upstream.Kind) bool { return k.Whose != "" }

func refuses(f Fixture, _ upstream.Kind) bool { return f.Refused != nil }
func breaks(f Fixture, k upstream.Kind) bool  { return k.Verifies && f.Break != nil && f.Mend != nil }
func cuts(f Fixture, k upstream.Kind) bool    { return k.Verifies && f.Cut != nil && f.Mend != nil }
func skews(f Fixture, k upstream.Kind) bool   { return k.Verifies && f.Skew != nil }

func throttles(f Fixture, k upstream.Kind) bool {
	return k.Verifies && f.Throttle != nil && f.Mend != nil
}

func cutsRevoke(f Fixture, k upstream.Kind) bool {
	return cuts(f, k) && k.Capability != upstream.Overwrite
}

func collects(f Fixture, k upstream.Kind) bool {
	_, collects := f.Upstream.(upstream.Collector)
	return k.Issues && collects && k.LostReply == upstream.Reissue && k.Capability != upstream.Overwrite
}

func cutsCollect(f Fixture, k upstream.Kind) bool { return cuts(f, k) && collects(f, k) }

// recovers leaves out kinds of which only a person can say what a lost call did.
func recovers(f Fixture, k upstream.Kind) bool { return !k.Issues || collects(f, k) }

func outlives(f Fixture, k upstream.Kind) bool { return cuts(f, k) && recovers(f, k) }

func holds(f Fixture, k upstream.Kind) bool {
	return k.Verifies && f.Hold != nil && f.Mend != nil && recovers(f, k)
}

func lists(f Fixture, k upstream.Kind) bool {
	_, lists := f.Upstream.(upstream.Lister)
	return k.Issues && k.LostReply == upstream.Person && k.Capability != upstream.Overwrite && lists
}

func witnesses(f Fixture, k upstream.Kind) bool {
	_, tells := f.Upstream.(upstream.Witness)
	return k.Verifies && tells && k.Evidence != nil
}

func blind(f Fixture, k upstream.Kind) bool {
	_, tells := f.Upstream.(upstream.Witness)
	return tells && k.Evidence == nil
}
