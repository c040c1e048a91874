// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

var (
	now      = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	yes      = answer{verdict: upstream.Accepted}
	no       = answer{verdict: upstream.Refused}
	perhaps  = answer{upstream.Unknown, errors.New("starting")}
	errDown  = errors.New("down")
	own      = &authority.Versioned{ID: authority.VersionID{Incarnation: "one", Number: 2, Run: "run-2"}, Created: now.Add(-time.Hour)}
	another  = &authority.Versioned{ID: authority.VersionID{Incarnation: "one", Number: 2, Run: "run-x"}}
	lacks    = missingProof{consumer: Consumer{Consumer: named{name: "api"}}, why: "does not run on this version yet"}
	has      = missingProof{consumer: Consumer{Consumer: named{name: "api"}}, why: "shows delivered, rolled is needed", has: true}
	aValue   = valueOf("value")
	stranger = &strange{"run-x", "run-2"}
)

// named is a consumer of which only the name matters.
type named struct {
	materialize.Consumer
	name string
}

func (n named) Name() string { return n.name }

func valueOf(text string) secret.Value {
	v, err := secret.Text(map[string]string{"password": text})
	if err != nil {
		panic(err)
	}
	return v
}

// change makes a row differ from the run without problems.
type change func(*known)

// at is the run of a dual account, which has come to a step, with nothing learnt there yet.
func at(step, journaled journal.Step, changes ...change) known {
	k := known{
		run: &journal.Run{
			ID: "run-2", Step: journaled, Base: 1, Digest: []byte("digest"), Turn: "run-3", PromoteBy: now.Add(-time.Hour),
			Policy: journal.Policy{Name: "weekly", RevokeOld: true, Settle: time.Minute, QuietWindow: time.Minute, FailureStrategy: "retry"},
		},
		kind: upstream.Kind{Name: "dual", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Recover, Verifies: true, CallDeadline: time.Minute},
		seen: &evidence{
			at: step, old: aValue, candidate: aValue, proven: now.Add(-time.Hour), delivered: now.Add(-time.Hour),
			recorded: map[journal.Step]bool{journal.Staged: true, journal.Promoted: true},
			turn:     turn{resumed: true, noted: true},
		},
		circumstances: circumstances{now: now, secret: "token", path: "shop/token", onboarded: true, pending: true},
	}
	for _, change := range changes {
		change(&k)
	}
	return k
}

// row is what a run does next, by what is known of it.
type row struct {
	given known
	want  move // of why only the code
}

// waitsFor is a wait whose end nobody knows.
func waitsFor(code reason.Code) move { return waits(code, nil) }

// waitsUntil is one that ends.
func waitsUntil(code reason.Code, in time.Duration) move {
	return move{do: wait, why: reason.New(code, nil), in: in}
}

func knows(learn func(*answers)) change { return func(k *known) { learn(&k.seen.here) } }

func kind(alter func(*upstream.Kind)) change { return func(k *known) { alter(&k.kind) } }

func run(alter func(*journal.Run)) change { return func(k *known) { alter(k.run) } }

func seen(alter func(*evidence)) change { return func(k *known) { alter(k.seen) } }

var (
	familiar    = knows(func(h *answers) { h.familiar = true })
	issues      = kind(func(k *upstream.Kind) { k.Issues = true })
	overwrites  = kind(func(k *upstream.Kind) { k.Capability = upstream.Overwrite })
	settles     = kind(func(k *upstream.Kind) { k.Settle = time.Minute })
	unchecked   = kind(func(k *upstream.Kind) { k.Verifies = false })
	irrevocable = kind(func(k *upstream.Kind) { k.Undo = upstream.Impossible })
	handedIn    = run(func(r *journal.Run) { r.Trigger.Kind = Supplied })
	grouped     = run(func(r *journal.Run) { r.Group = "run-1" })
	supersedes  = run(func(r *journal.Run) { r.Older = []authority.Version{1} })
	undigested  = run(func(r *journal.Run) { r.Digest = nil })
	recent      = run(func(r *journal.Run) { r.PromoteBy = now.Add(30 * time.Second) })
	valueless   = func(k *known) { k.pending = false }
	unknown     = func(k *known) { k.onboarded = false }
	escrowed    = func(k *known) { k.deposits = true }
	fresh       = seen(func(e *evidence) { e.fresh = true })
)

func candidate(given answer) change { return knows(func(h *answers) { h.candidate = given }) }

func called(err error) change { return knows(func(h *answers) { h.called = err }) }

func decoy(given answer) change { return knows(func(h *answers) { h.decoy = given }) }

// beforePromotion are rows of decide.go.
var beforePromotion = map[string]row{
	"a process has just started":          {at("", journal.Verified, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"a new turn":                          {at(journal.Verified, journal.Verified, seen(func(e *evidence) { e.turn = turn{} })), move{do: recordBegin}},
	"the parts were asked":                {at(journal.Verified, journal.Verified, seen(func(e *evidence) { e.noted = false })), move{do: recordBegin}},
	"another engine staged":               {at(journal.Planned, journal.Staged, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"another engine verified":             {at(journal.Staged, journal.Verified, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"another engine verified, applied":    {at(journal.Applied, journal.Verified, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"another engine promoted":             {at(journal.Verified, journal.Promoted, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"another engine revokes":              {at(journal.Verified, journal.Delivered, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"delivered here, and it was told":     {at(journal.Delivered, journal.Promoted, seen(func(e *evidence) { e.turn = turn{} })), move{do: recordBegin}},
	"somebody took the run back":          {at(journal.Staged, journal.Undoing, seen(func(e *evidence) { e.turn = turn{} })), move{do: resume}},
	"planned, a new turn":                 {at(journal.Planned, journal.Planned, seen(func(e *evidence) { e.turn = turn{} })), move{do: recordBegin}},
	"it is taken back":                    {at(journal.Undoing, journal.Undoing), move{do: undo}},
	"the process is to end":               {at(journal.Planned, journal.Planned, func(k *known) { k.stopping = true }), waitsUntil(reason.CustodyStopping, time.Minute)},
	"to end, with the step in hand":       {at(journal.Planned, journal.Planned, func(k *known) { k.stopping = true }, knows(func(h *answers) { h.begun = true })), move{do: checkMarker}},
	"planned":                             {at(journal.Planned, journal.Planned, valueless), move{do: checkMarker}},
	"planned, the account is familiar":    {at(journal.Planned, journal.Planned, valueless, familiar), move{do: propose}},
	"a value is to be handed in":          {at(journal.Planned, journal.Planned, valueless, familiar, handedIn), waitsFor(reason.ValueToBeSupplied)},
	"a value was handed in":               {at(journal.Planned, journal.Planned, familiar, handedIn), move{do: stage}},
	"handed in, of an admin":              {at(journal.Planned, journal.Planned, familiar, handedIn, escrowed, knows(func(h *answers) { h.proposed = true })), move{do: deposit}},
	"issued":                              {at(journal.Planned, journal.Planned, valueless, familiar, issues), move{do: listExisting}},
	"issued, what exists is not listed":   {at(journal.Planned, journal.Planned, valueless, familiar, issues, knows(func(h *answers) { h.unlisted = errDown })), waitsFor(reason.CredentialsNotListed)},
	"issued, what exists is known":        {at(journal.Planned, journal.Planned, valueless, familiar, issues, escrowed, knows(func(h *answers) { h.listed = true })), move{do: stage}},
	"nothing is proposed":                 {at(journal.Planned, journal.Planned, valueless, familiar, knows(func(h *answers) { h.proposed, h.unproposed = true, errDown })), waitsFor(reason.CandidateNotProposed)},
	"what is proposed is unfit":           {at(journal.Planned, journal.Planned, valueless, familiar, knows(func(h *answers) { h.proposed, h.unfit = true, errDown })), waitsFor(reason.CandidateUnfit)},
	"proposed":                            {at(journal.Planned, journal.Planned, valueless, familiar, knows(func(h *answers) { h.proposed = true })), move{do: keepCandidate}},
	"proposed, the upstream is new":       {at(journal.Planned, journal.Planned, valueless, familiar, unknown, knows(func(h *answers) { h.proposed = true })), move{do: tryProposed}},
	"proposed, no sign-in proves much":    {at(journal.Planned, journal.Planned, valueless, familiar, unknown, unchecked, knows(func(h *answers) { h.proposed = true })), move{do: keepCandidate}},
	"what it was never given is taken":    {at(journal.Planned, journal.Planned, valueless, familiar, unknown, decoy(yes), knows(func(h *answers) { h.proposed = true })), waitsFor(reason.DecoyAccepted)},
	"what it was never given is not sure": {at(journal.Planned, journal.Planned, valueless, familiar, unknown, decoy(perhaps), knows(func(h *answers) { h.proposed = true })), waitsFor(reason.DecoyUndecided)},
	"what it was never given is refused":  {at(journal.Planned, journal.Planned, valueless, familiar, unknown, decoy(no), knows(func(h *answers) { h.proposed = true })), move{do: keepCandidate}},
	"kept":                                {at(journal.Planned, journal.Planned, familiar, unknown, knows(func(h *answers) { h.proposed = true })), move{do: stage}},
	"kept, of an admin":                   {at(journal.Planned, journal.Planned, familiar, escrowed, knows(func(h *answers) { h.proposed = true })), move{do: journalCandidate}},
	"kept in an earlier turn":             {at(journal.Planned, journal.Planned, familiar, escrowed), move{do: deposit}},
	"kept, and journaled":                 {at(journal.Planned, journal.Planned, familiar, escrowed, knows(func(h *answers) { h.proposed, h.journaled = true, true })), move{do: deposit}},
	"kept, and not planned yet":           {at(journal.Planned, journal.Planned, familiar, escrowed, func(k *known) { k.opening = true }, knows(func(h *answers) { h.proposed = true })), move{do: deposit}},
	"deposited":                           {at(journal.Planned, journal.Planned, familiar, escrowed, knows(func(h *answers) { h.deposited = true })), move{do: stage}},

	"staged":                                {at(journal.Staged, journal.Staged, fresh), move{do: apply}},
	"staged, of a kind that issues nothing": {at(journal.Staged, journal.Staged, fresh, undigested), move{do: apply}},
	"refused, it would settle":              {at(journal.Staged, journal.Staged, candidate(no), settles), move{do: apply}},
	"what was handed in is not sure":        {at(journal.Staged, journal.Staged, candidate(perhaps), handedIn), waitsFor(reason.CandidateEffectUnknown)},
	"staged, not on record":                 {at(journal.Staged, journal.Staged, fresh, seen(func(e *evidence) { e.recorded = nil })), move{do: recordStaged}},
	"staged, the values are gone":           {at(journal.Staged, journal.Staged, valueless), waitsFor(reason.RunValuesGone)},
	"staged by another process":             {at(journal.Staged, journal.Staged), move{do: tryCandidate}},
	"applied by another process":            {at(journal.Staged, journal.Staged, candidate(yes)), move{do: recordApplied}},
	"on record":                             {at(journal.Staged, journal.Staged, candidate(yes), recordedAs(journal.Applied)), move{do: journalVerified}},
	"on record, it settles":                 {at(journal.Staged, journal.Staged, candidate(yes), recordedAs(journal.Applied), settles), move{do: noteApplied}},
	"refused, it is applied":                {at(journal.Staged, journal.Staged, candidate(no)), move{do: apply}},
	"what was handed in is refused":         {at(journal.Staged, journal.Staged, candidate(no), handedIn), move{do: takeBack, says: "the upstream refuses what was handed in"}},
	"it is not sure":                        {at(journal.Staged, journal.Staged, candidate(perhaps), seen(func(e *evidence) { e.unsaid = unknownPolls })), waitsFor(reason.CandidateEffectUnknown)},
	"it was not sure for long":              {at(journal.Staged, journal.Staged, candidate(perhaps), seen(func(e *evidence) { e.unsaid = unknownPolls + 1 })), move{do: apply}},
	"of a group":                            {at(journal.Staged, journal.Staged, fresh, grouped), move{do: apply}},
	"of a group, and it interrupts":         {at(journal.Staged, journal.Staged, fresh, grouped, overwrites), move{do: askGroup}},
	"it interrupts, the others work":        {at(journal.Staged, journal.Staged, fresh, grouped, overwrites, knows(func(h *answers) { h.grouped = true })), move{do: apply}},
	"it interrupts alone":                   {at(journal.Staged, journal.Staged, fresh, overwrites), move{do: apply}},
	"it interrupts, sign-ins are spaced":    {at(journal.Staged, journal.Staged, fresh, overwrites, func(k *known) { k.locked = time.Minute }), waitsUntil(reason.LockoutPause, time.Minute)},
	"sign-ins are spaced":                   {at(journal.Staged, journal.Staged, fresh, func(k *known) { k.locked = time.Minute }), move{do: apply}},
	"a run was superseded":                  {at(journal.Staged, journal.Staged, fresh, supersedes), move{do: makeRoom}},
	"superseded, there is room":             {at(journal.Staged, journal.Staged, fresh, supersedes, knows(func(h *answers) { h.roomy = true })), move{do: apply}},
	"superseded, and it interrupts":         {at(journal.Staged, journal.Staged, fresh, supersedes, overwrites), move{do: apply}},
	"the candidate is turned down":          {at(journal.Staged, journal.Staged, called(upstream.ErrRefusedCandidate)), move{do: takeBack}},
	"the account is another run's":          {at(journal.Staged, journal.Staged, called(upstream.ErrSuperseded)), waitsFor(reason.AccountClaimed)},
	"the account is a stranger's":           {at(journal.Staged, journal.Staged, called(stranger)), waitsFor(reason.AccountMarkerUnknown)},
	"the call never arrived":                {at(journal.Staged, journal.Staged, called(upstream.ErrNotApplied), seen(func(e *evidence) { e.attempts = applyAttempts })), waitsFor(reason.CandidateNotApplied)},
	"the call failed":                       {at(journal.Staged, journal.Staged, called(errDown), seen(func(e *evidence) { e.attempts = applyAttempts - 1 })), waitsFor(reason.CandidateNotApplied)},
	"the call failed too often":             {at(journal.Staged, journal.Staged, called(errDown), seen(func(e *evidence) { e.attempts = applyAttempts })), move{do: takeBack, says: "applying failed too often: "}},

	"to be issued":                       {at(journal.Staged, journal.Staged, issuing), move{do: readBase}},
	"to be issued first":                 {at(journal.Staged, journal.Staged, issuing, fresh, based), move{do: issue}},
	"a call may have issued it":          {at(journal.Staged, journal.Staged, issuing, based), move{do: reclaim}},
	"nothing is left of that call":       {at(journal.Staged, journal.Staged, issuing, based, knows(func(h *answers) { h.reclaimed = true })), move{do: issue}},
	"issuing interrupts a group":         {at(journal.Staged, journal.Staged, issuing, fresh, based, grouped, overwrites), move{do: askGroup}},
	"issuing, the others work":           {at(journal.Staged, journal.Staged, issuing, fresh, based, grouped, overwrites, knows(func(h *answers) { h.grouped = true })), move{do: issue}},
	"issuing, a run was superseded":      {at(journal.Staged, journal.Staged, issuing, fresh, based, supersedes), move{do: makeRoom}},
	"issuing, there is room":             {at(journal.Staged, journal.Staged, issuing, fresh, based, supersedes, knows(func(h *answers) { h.roomy = true })), move{do: issue}},
	"issued in an earlier turn":          {at(journal.Staged, journal.Staged, issuing, based, issued), move{do: awaitCalls}},
	"issued in this turn":                {at(journal.Staged, journal.Staged, issuing, based, issued, knows(func(h *answers) { h.fenced = true })), move{do: keepIssued}},
	"issued, in the document":            {at(journal.Staged, journal.Staged, issues, undigested), move{do: keepIssued}},
	"issued, and journaled":              {at(journal.Staged, journal.Staged, issues), move{do: noteIssued}},
	"issued, and the values are gone":    {at(journal.Staged, journal.Staged, issues, valueless), waitsFor(reason.RunValuesGone)},
	"issued, and unfit":                  {at(journal.Staged, journal.Staged, issuing, based, knows(func(h *answers) { h.unfit = errDown })), move{do: takeBack, says: "down"}},
	"issuing is turned down":             {at(journal.Staged, journal.Staged, issuing, based, called(upstream.ErrRefusedCandidate)), move{do: takeBack}},
	"issuing, the account is another's":  {at(journal.Staged, journal.Staged, issuing, based, called(upstream.ErrSuperseded)), waitsFor(reason.AccountClaimed)},
	"issued, and not what was asked for": {at(journal.Staged, journal.Staged, issuing, based, issued, called(errDown)), move{do: takeBack}},
	"issuing failed":                     {at(journal.Staged, journal.Staged, issuing, based, called(errDown)), waitsFor(reason.CredentialNotIssued)},

	"applied":                             {at(journal.Applied, journal.Staged), move{do: tryCandidate}},
	"applied, it settles":                 {at(journal.Applied, journal.Staged, settles, seen(func(e *evidence) { e.applied = now })), waitsUntil(reason.CandidateSettling, time.Minute+1)},
	"applied just now":                    {at(journal.Applied, journal.Staged, seen(func(e *evidence) { e.applied = now })), move{do: tryCandidate}},
	"applied, it settled":                 {at(journal.Applied, journal.Staged, settles), move{do: tryCandidate}},
	"the candidate works":                 {at(journal.Applied, journal.Staged, candidate(yes)), move{do: journalVerified}},
	"the candidate does not work":         {at(journal.Applied, journal.Staged, candidate(no)), move{do: takeBack, says: "the upstream refuses the candidate that it took"}},
	"nobody knows whether it works":       {at(journal.Applied, journal.Staged, candidate(perhaps)), waitsFor(reason.CandidateUndecided)},
	"it works, the upstream is new":       {at(journal.Applied, journal.Staged, candidate(yes), unknown), move{do: tryDecoy}},
	"it works, no sign-in proves much":    {at(journal.Applied, journal.Staged, candidate(yes), unknown, unchecked), move{do: journalVerified}},
	"there is no decoy":                   {at(journal.Applied, journal.Staged, candidate(yes), unknown, knows(func(h *answers) { h.undecoyed = errDown })), waitsFor(reason.DecoyNotMade)},
	"the decoy works too":                 {at(journal.Applied, journal.Staged, candidate(yes), unknown, decoy(yes)), waitsFor(reason.DecoyAccepted)},
	"nobody knows whether the decoy does": {at(journal.Applied, journal.Staged, candidate(yes), unknown, decoy(perhaps)), waitsFor(reason.DecoyUndecided)},
	"it works, of a group":                {at(journal.Applied, journal.Staged, candidate(yes), grouped), move{do: joinGroup}},
	"the group goes forward":              {at(journal.Applied, journal.Applied, candidate(yes), grouped, knows(func(h *answers) { h.joined = true })), move{do: journalVerified}},

	"verified":                            {at(journal.Verified, journal.Verified, recent), move{do: promote}},
	"verified, the values are gone":       {at(journal.Verified, journal.Verified, recent, valueless), waitsFor(reason.RunValuesGone)},
	"verified long ago":                   {at(journal.Verified, journal.Verified), move{do: tryCandidate}},
	"verified just now a minute ago":      {at(journal.Verified, journal.Verified, run(func(r *journal.Run) { r.PromoteBy = now })), move{do: tryCandidate}},
	"verified by a clock ahead":           {at(journal.Verified, journal.Verified, ahead), move{do: tryCandidate}},
	"verified, no sign-in proves much":    {at(journal.Verified, journal.Verified, unchecked), move{do: promote}},
	"it works still":                      {at(journal.Verified, journal.Verified, candidate(yes)), move{do: confirm}},
	"nobody knows whether it works still": {at(journal.Verified, journal.Verified, candidate(perhaps)), waitsFor(reason.CandidateUndecided)},
	"it is lost":                          {at(journal.Verified, journal.Verified, candidate(no), lost), move{do: takeBack, says: "the upstream refuses the candidate, which it accepted before"}},
	"it is lost, by a clock ahead":        {at(journal.Verified, journal.Verified, candidate(no), lost, ahead), waitsUntil(reason.EarlierCallPending, time.Minute+1)},
	"lost a while ago, by a clock ahead":  {at(journal.Verified, journal.Verified, candidate(no), ahead), move{do: takeBack, says: "the upstream refuses the candidate, which it accepted before"}},
	"lost, of a group":                    {at(journal.Verified, journal.Verified, candidate(no), lost, grouped), move{do: noteLost}},
	"lost, after another":                 {at(journal.Verified, journal.Verified, candidate(no), lost, run(func(r *journal.Run) { r.Over = 2 })), move{do: noteLost}},
	"lost, and cannot be undone":          {at(journal.Verified, journal.Verified, candidate(no), lost, irrevocable), move{do: noteLost}},
	"lost, and noted":                     {at(journal.Verified, journal.Verified, candidate(no), lost, grouped, run(func(r *journal.Run) { r.Refused = true })), waitsFor(reason.CandidateLost)},
	"lost, and sign-ins are spaced": {
		at(journal.Verified, journal.Verified, candidate(no), lost, grouped, run(func(r *journal.Run) { r.Refused = true }), kind(func(k *upstream.Kind) { k.WrongEvery = time.Minute })),
		move{do: wait, why: reason.New(reason.CandidateLost, nil), least: 2 * time.Minute},
	},
	"somebody else wrote":                 {at(journal.Verified, journal.Verified, recent, reads(another)), waitsFor(reason.ForeignWrite)},
	"somebody destroyed what was written": {at(journal.Verified, journal.Verified, recent, reads(nil)), waitsFor(reason.ValueGone)},
}

var (
	based   = knows(func(h *answers) { h.based = true })
	issued  = seen(func(e *evidence) { e.issued = aValue })
	ahead   = run(func(r *journal.Run) { r.PromoteBy = now.Add(time.Hour) })
	lost    = seen(func(e *evidence) { e.lost = now })
	issuing = func(k *known) { issues(k); undigested(k); valueless(k) }
)

func recordedAs(step journal.Step) change {
	return seen(func(e *evidence) { e.recorded[step] = true })
}

func reads(value *authority.Versioned) change {
	return knows(func(h *answers) { h.read, h.value = true, value })
}

// TestDecide: what a run does next, by what is known of it. Every action and every reason to wait has a row.
func TestDecide(t *testing.T) {
	actions, codes := map[action]bool{}, map[reason.Code]bool{}
	for _, rows := range []map[string]row{beforePromotion, afterPromotion} {
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				got := decide(row.given)
				actions[got.do], codes[got.why.Code] = true, true
				if said, want := told(got), told(row.want); said != want {
					t.Errorf("got %s, want %s", said, want)
				}
			})
		}
	}
	for name, value := range constants(t, "action", "decide.go") {
		if !actions[action(value)] {
			t.Errorf("no row wants %s", name)
		}
	}
	catalogue := constants(t, "Code", "../reason/runs.go", "../reason/secrets.go", "../reason/platform.go")
	for _, name := range append(selected(t, "decide.go"), selected(t, "decide_promoted.go")...) {
		if value, is := catalogue[name]; is && !codes[reason.Code(value)] {
			t.Errorf("no row waits for reason.%s", name)
		}
	}
}

func told(m move) string {
	return fmt.Sprintf("%s %s in %s, at least %s, at most %s, %d uses: %q", m.do, m.why.Code, m.in, m.least, m.most, len(m.uses), m.says)
}

// constants are those of a type that files declare, with their values.
func constants(t *testing.T, of string, files ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			if !is || len(spec.Values) != 1 {
				return true
			}
			value, literal := spec.Values[0].(*ast.BasicLit)
			if kind, named := spec.Type.(*ast.Ident); named && kind.Name == of && literal {
				found[spec.Names[0].Name], _ = strconv.Unquote(value.Value)
			}
			return true
		})
	}
	if len(found) == 0 {
		t.Fatalf("%s declares no %s", strings.Join(files, ", "), of)
	}
	return found
}

// selected are the names of package reason that a file uses.
func selected(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if selector, is := n.(*ast.SelectorExpr); is {
			if from, named := selector.X.(*ast.Ident); named && from.Name == "reason" {
				names = append(names, selector.Sel.Name)
			}
		}
		return true
	})
	return names
}

// TestTold: a person is told the command that goes on from where the run is, and how much is at stake.
func TestTold(t *testing.T) {
	force, abort := reason.Args{"force": "run-2"}, reason.Args{"abort": "run-2"}
	led := run(func(r *journal.Run) { r.Group = "run-2" })
	for name, row := range map[string]struct{ got, want any }{
		"gone, taken back":           {at(journal.Undoing, journal.Undoing).pendingGone().why.Args, force},
		"gone, of a ready member":    {at(journal.Staged, journal.Applied, grouped).pendingGone().why.Args, reason.Args{"abort": "run-1"}},
		"gone, of a ready leader":    {at(journal.Staged, journal.Applied, led).pendingGone().why.Args, abort},
		"gone, of a member":          {at(journal.Staged, journal.Staged, grouped).pendingGone().why.Args, abort},
		"gone, verified":             {at(journal.Verified, journal.Verified).pendingGone().why.Args, reason.Args{"explain": "token"}},
		"gone, it cannot be undone":  {at(journal.Staged, journal.Staged, irrevocable).pendingGone().why.Args, reason.Args{"explain": "token"}},
		"claimed, planned":           {at(journal.Planned, journal.Planned, irrevocable).claimed(errDown).why.Args, reason.Args{"run": "run-2", "abort": "run-2"}},
		"claimed, staged":            {at(journal.Staged, journal.Staged).claimed(errDown).why.Args, reason.Args{"run": "run-2", "abort": "run-2"}},
		"claimed, it only goes on":   {at(journal.Staged, journal.Staged, irrevocable).claimed(errDown).why.Args, reason.Args{"run": "run-2"}},
		"claimed, verified":          {at(journal.Delivered, journal.Delivered).claimed(errDown).why.Args, reason.Args{"run": "run-2"}},
		"the old one":                {at(journal.Delivered, journal.Promoted).oldStands(), "the old one is not revoked"},
		"the old one, revoking":      {at(journal.Delivered, journal.Delivered).oldStands(), "the old one may be revoked already"},
		"the old one, overwritten":   {at(journal.Delivered, journal.Delivered, overwrites).oldStands(), "it had replaced the old one"},
		"the old one, of a first":    {at(journal.Delivered, journal.Delivered, overwrites, firstOne).oldStands(), "there is no other"},
		"the old one, put back":      {at(journal.Delivered, journal.Delivered, firstOne, run(func(r *journal.Run) { r.Trigger.Kind = Reverted })).oldStands(), "nothing is revoked"},
		"planned":                    {at("", journal.Planned, overwrites).rankAt(journal.Planned), outward.First},
		"staged":                     {at("", journal.Staged).rankAt(journal.Staged), outward.First},
		"staged, it interrupts":      {at("", journal.Staged, overwrites).rankAt(journal.Staged), outward.Begun},
		"staged, before it does":     {at("", journal.Staged, overwrites, fresh).rankAt(journal.Staged), outward.First},
		"staged, it makes the first": {at("", journal.Staged, overwrites, firstOne).rankAt(journal.Staged), outward.First},
		"applied":                    {at("", journal.Staged).rankAt(journal.Applied), outward.Begun},
		"applied, it interrupts":     {at("", journal.Staged, overwrites).rankAt(journal.Applied), outward.Cut},
		"verified, it interrupts":    {at("", journal.Verified, overwrites).rankAt(journal.Verified), outward.Cut},
		"promoted, it interrupts":    {at("", journal.Verified, overwrites).rankAt(journal.Promoted), outward.Cut},
		"delivered, it interrupts":   {at("", journal.Verified, overwrites).rankAt(journal.Delivered), outward.Begun},
		"applied, fresh":             {at("", journal.Staged, overwrites, fresh).rankAt(journal.Applied), outward.Cut},
		"a proof is waived":          {at("", journal.Verified, waived).waivesProof(), true},
		"a use is waived":            {at("", journal.Verified, waives(journal.WaivedUse, "psql")).waivesProof(), false},
	} {
		if diff := cmp.Diff(row.want, row.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
