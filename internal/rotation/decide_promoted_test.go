// SPDX-License-Identifier: Apache-2.0

package rotation

import (
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

var (
	read     = reads(own)
	reread   = knows(func(h *answers) { h.again = true })
	honoured = knows(func(h *answers) { h.honoured = yes })
	refused  = run(func(r *journal.Run) { r.Refused = true })
	undated  = seen(func(e *evidence) { e.proven = time.Time{} })
	quietly  = lastly(yes)
	watches  = func(k *known) { k.verifyEvery = time.Minute } // it was accepted an hour ago
	watched  = seen(func(e *evidence) { e.accepted = now })
	broken   = run(func(r *journal.Run) {
		r.Compromise = &journal.Compromise{At: now.Add(-time.Hour)}
		r.Policy.OnCompromise = &journal.OnCompromise{BreakAfter: time.Hour}
	})
	breaking = run(func(r *journal.Run) {
		r.Compromise = &journal.Compromise{At: now}
		r.Policy.OnCompromise = &journal.OnCompromise{BreakAfter: 10 * time.Second}
	})
	overlaps      = run(func(r *journal.Run) { r.Policy.MaxOverlap = time.Minute })
	holds         = run(func(r *journal.Run) { r.Policy.FailureStrategy = strategyHold })
	waived        = run(func(r *journal.Run) { r.Waived = []journal.Waiver{{Kind: journal.WaivedConsumer, Name: "api"}} })
	disturbed     = seen(func(e *evidence) { e.delivered = now })
	witnessed     = func(k *known) { k.witness, k.kind.Evidence = true, &upstream.Evidence{Late: time.Minute} }
	clocked       = func(k *known) { k.clocked = true }
	untold        = knows(func(h *answers) { h.used, h.unused = true, errDown })
	revokedBefore = seen(func(e *evidence) { e.revoked = now.Add(-time.Hour) })
	gone          = knows(func(h *answers) { h.after = no })
	firstOne      = run(func(r *journal.Run) { r.Base = 0 })
)

func missing(these ...missingProof) change {
	return knows(func(h *answers) { h.proved, h.missing = true, these })
}

// proved are the proofs before anything is revoked.
var proved = missing()

func lastly(given answer) change {
	return func(k *known) {
		h := &k.seen.here
		h.read, h.value, h.again, h.proved, h.last = true, own, true, true, given
	}
}

func watching(given answer) change {
	return func(k *known) { watches(k); k.seen.here.watched = given }
}

func uses(these ...upstream.Use) change {
	return func(k *known) { witnessed(k); k.seen.here.used, k.seen.here.uses = true, these }
}

func clock(times int, jumped string) change {
	return func(k *known) { clocked(k); k.seen.here.clock, k.seen.here.jumped = times, jumped }
}

func waives(kind, name string) change {
	return run(func(r *journal.Run) { r.Waived = []journal.Waiver{{Kind: kind, Name: name}} })
}

var (
	usedNow    = upstream.Use{Who: "psql", Last: now}
	usedBefore = upstream.Use{Who: "psql", Last: now.Add(-2 * time.Hour)} // before the last proof was in
)

// atMost is a wait that is looked at again by then.
func atMost(m move, most time.Duration) move {
	m.most = most
	return m
}

func inUse(m move) move {
	m.uses = []string{"psql"}
	return m
}

// handed is a run that has delivered in this turn.
func handed(these ...missingProof) change {
	return func(k *known) { read(k); missing(these...)(k); k.seen.here.handed = true }
}

// afterPromotion are rows of decide_promoted.go.
var afterPromotion = map[string]row{
	"promoted":                             {at(journal.Promoted, journal.Verified), move{do: readValue}},
	"promoted, somebody else wrote":        {at(journal.Promoted, journal.Verified, reads(another)), waitsFor(reason.ForeignWrite)},
	"promoted, somebody else wrote later":  {at(journal.Promoted, journal.Verified, reads(&authority.Versioned{ID: authority.VersionID{Run: "run-2", Number: 3}})), waitsFor(reason.ForeignWrite)},
	"promoted, somebody destroyed it":      {at(journal.Promoted, journal.Verified, reads(nil)), waitsFor(reason.ValueGone)},
	"promoted, not on record":              {at(journal.Promoted, journal.Verified, read, seen(func(e *evidence) { e.recorded = nil })), move{do: recordPromoted}},
	"promoted, on record":                  {at(journal.Promoted, journal.Verified, read), move{do: askConsumers}},
	"every proof is in, compromised":       {at(journal.Promoted, journal.Verified, read, missing(), broken), move{do: noteDelivered}},
	"proofs are missing for long, retry":   {at(journal.Promoted, journal.Verified, read, missing(has), overlaps), move{do: deliver}},
	"proofs are missing, hold":             {at(journal.Promoted, journal.Verified, read, missing(has), holds), move{do: deliver}},
	"proofs are missing, not for so long":  {at(journal.Promoted, journal.Verified, handed(lacks), run(func(r *journal.Run) { r.Policy.MaxOverlap = 2 * time.Hour })), waitsFor(reason.ProofMissing)},
	"proofs are missing, refused before":   {at(journal.Promoted, journal.Verified, handed(lacks), refused), waitsFor(reason.ProofMissing)},
	"proofs are missing, just promoted":    {at(journal.Promoted, journal.Verified, handed(lacks), recent, func(k *known) { k.verifyEvery = time.Hour }), waitsFor(reason.ProofMissing)},
	"every proof is in":                    {at(journal.Promoted, journal.Verified, read, missing()), move{do: noteDelivered}},
	"accepted just now":                    {at(journal.Promoted, journal.Verified, read, missing(lacks), recent), move{do: deliver}},
	"accepted long ago":                    {at(journal.Promoted, journal.Verified, read, missing(lacks)), move{do: tryValue}},
	"accepted by a clock ahead":            {at(journal.Promoted, journal.Verified, read, missing(lacks), ahead), move{do: tryValue}},
	"accepted since":                       {at(journal.Promoted, journal.Verified, read, missing(lacks), watched), move{do: deliver}},
	"accepted long ago, all have it":       {at(journal.Promoted, journal.Verified, read, missing(has)), move{do: deliver}},
	"accepted long ago, nothing works":     {at(journal.Promoted, journal.Verified, read, missing(lacks), overwrites), move{do: deliver}},
	"accepted long ago, the first":         {at(journal.Promoted, journal.Verified, reads(&authority.Versioned{ID: authority.VersionID{Run: "run-2", Number: 1}}), missing(lacks), firstOne), move{do: deliver}},
	"accepted long ago, unchecked":         {at(journal.Promoted, journal.Verified, read, missing(lacks), unchecked), move{do: deliver}},
	"accepted now":                         {at(journal.Promoted, journal.Verified, read, missing(lacks), honoured), move{do: deliver}},
	"refused now":                          {at(journal.Promoted, journal.Verified, read, missing(lacks), refused, knows(func(h *answers) { h.honoured = no })), waitsFor(reason.NewCredentialRefused)},
	"not sure now":                         {at(journal.Promoted, journal.Verified, read, missing(lacks), knows(func(h *answers) { h.honoured = perhaps })), waitsFor(reason.NewCredentialUndecided)},
	"not sure now, refused before":         {at(journal.Promoted, journal.Verified, read, missing(lacks), refused, knows(func(h *answers) { h.honoured = perhaps })), waitsFor(reason.NewCredentialRefused)},
	"refused now, sign-ins are spaced":     {at(journal.Promoted, journal.Verified, read, missing(lacks), refused, knows(func(h *answers) { h.honoured = no }), kind(func(k *upstream.Kind) { k.WrongEvery = time.Minute })), move{do: wait, why: reason.New(reason.NewCredentialRefused, nil), least: 2 * time.Minute}},
	"delivered lately":                     {at(journal.Promoted, journal.Verified, read, missing(lacks), disturbed), waitsFor(reason.ProofMissing)},
	"delivered in this turn":               {at(journal.Promoted, journal.Verified, handed(lacks)), waitsFor(reason.ProofMissing)},
	"proofs are missing for long, hold":    {at(journal.Promoted, journal.Verified, read, missing(has), overlaps, holds, recordedAs(stepOverlap)), waitsFor(reason.OverlapExceeded)},
	"hold, one has not got it":             {at(journal.Promoted, journal.Verified, read, missing(lacks), overlaps, holds, recent), move{do: deliver}},
	"proofs are missing for long":          {at(journal.Promoted, journal.Verified, handed(lacks), overlaps), move{do: recordOverlap, says: "past maxOverlap (retry): api does not run on this version yet"}},
	"proofs are missing for long, noted":   {at(journal.Promoted, journal.Verified, handed(lacks), overlaps, recordedAs(stepOverlap)), waitsFor(reason.OverlapExceeded)},
	"the proof is waived":                  {at(journal.Promoted, journal.Verified, handed(lacks), waived), move{do: noteDelivered}},
	"the proof of another is waived":       {at(journal.Promoted, journal.Verified, handed(lacks), waives(journal.WaivedConsumer, "web")), waitsFor(reason.ProofMissing)},
	"compromised, and it is time":          {at(journal.Promoted, journal.Verified, handed(lacks), broken), move{do: breakConsumers}},
	"compromised, and it is not time":      {at(journal.Promoted, journal.Verified, handed(lacks), breaking), atMost(waitsFor(reason.CompromiseProofMissing), 10*time.Second)},
	"compromised, the policy breaks none":  {at(journal.Promoted, journal.Verified, handed(lacks), broken, run(func(r *journal.Run) { r.Policy.OnCompromise.BreakAfter = 0 })), waitsFor(reason.ProofMissing)},
	"compromised, the policy says nothing": {at(journal.Promoted, journal.Verified, handed(lacks), broken, run(func(r *journal.Run) { r.Policy.OnCompromise = nil })), waitsFor(reason.ProofMissing)},
	"not compromised, the policy breaks":   {at(journal.Promoted, journal.Verified, handed(lacks), broken, run(func(r *journal.Run) { r.Compromise = nil })), waitsFor(reason.ProofMissing)},
	"reported by a clock ahead":            {at(journal.Promoted, journal.Verified, handed(lacks), breaking, run(func(r *journal.Run) { r.Compromise.At = now.Add(time.Hour) })), atMost(waitsFor(reason.CompromiseProofMissing), 10*time.Second)},
	"proofs are missing, it is watched":    {at(journal.Promoted, journal.Verified, handed(lacks), watches), move{do: watchValue}},
	"it was accepted, watched":             {at(journal.Promoted, journal.Verified, handed(lacks), watches, watched), waitsFor(reason.ProofMissing)},
	"it was watched and not sure":          {at(journal.Promoted, journal.Verified, handed(lacks), watching(perhaps)), waitsFor(reason.ProofMissing)},
	"it was not sure, it is not yet time":  {at(journal.Promoted, journal.Verified, handed(lacks), watches, seen(func(e *evidence) { e.watch = now.Add(time.Hour) })), waitsFor(reason.ProofMissing)},
	"it was watched and is refused":        {at(journal.Promoted, journal.Verified, handed(lacks), watching(no), refused), waitsFor(reason.NewCredentialRefused)},
	"it was watched and works":             {at(journal.Promoted, journal.Verified, handed(lacks), watching(yes), refused), waitsFor(reason.ProofMissing)},
	"proofs are missing, unchecked":        {at(journal.Promoted, journal.Verified, handed(lacks), watches, unchecked), waitsFor(reason.ProofMissing)},

	"nothing ends: the first":            {at(journal.Delivered, journal.Verified, seen(func(e *evidence) { e.old = secret.Value{} }), read), move{do: tryValue}},
	"the values are gone: the first":     {at(journal.Delivered, journal.Verified, valueless, firstOne), move{do: readValue}},
	"nothing ends: the policy":           {at(journal.Delivered, journal.Verified, keepsOld), move{do: readValue}},
	"nothing ends: unchecked":            {at(journal.Delivered, journal.Verified, unchecked, read), move{do: passRevoked}},
	"nothing ends, somebody else wrote":  {at(journal.Delivered, journal.Verified, keepsOld, reads(another)), waitsFor(reason.ForeignWrite)},
	"nothing ends, does the new one":     {at(journal.Delivered, journal.Verified, keepsOld, read), move{do: tryValue}},
	"nothing ends, the new one works":    {at(journal.Delivered, journal.Verified, keepsOld, read, honoured), move{do: passRevoked}},
	"nothing ends, not even the new one": {at(journal.Delivered, journal.Verified, keepsOld, read, refused, knows(func(h *answers) { h.honoured = no })), waitsFor(reason.NewCredentialRefused)},
	"the values are gone":                {at(journal.Delivered, journal.Verified, valueless), waitsFor(reason.RunValuesGone)},

	"delivered":                          {at(journal.Delivered, journal.Verified), move{do: readValue}},
	"delivered, somebody else wrote":     {at(journal.Delivered, journal.Verified, reads(another)), waitsFor(reason.ForeignWrite)},
	"delivered, and read":                {at(journal.Delivered, journal.Verified, read), move{do: readAgain}},
	"delivered, somebody wrote just now": {at(journal.Delivered, journal.Verified, reads(another), reread), waitsFor(reason.ForeignWrite)},
	"delivered, and read again":          {at(journal.Delivered, journal.Verified, read, reread), move{do: askConsumers}},
	"no proof was seen here":             {at(journal.Delivered, journal.Verified, read, reread, undated), move{do: proveAgain}},
	"it settles":                         {at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now })), waitsUntil(reason.SettleTime, time.Minute)},
	"it settles, compromised":            {at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now }), breaking), waitsUntil(reason.SettleTime, 10*time.Second)},
	"it settles no more, compromised":    {at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now }), broken), move{do: askConsumers}},
	"it settles, and is watched":         {at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now }), watches), move{do: watchValue}},
	"it settles, and was watched": {
		at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now }), func(k *known) { k.verifyEvery = time.Hour }, watched),
		atMost(waitsUntil(reason.SettleTime, time.Minute), watchEvery("shop/token", time.Hour)),
	},
	"it settles, and is refused":         {at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now }), watching(no), refused), waitsFor(reason.NewCredentialRefused)},
	"it settles, and is not sure":        {at(journal.Delivered, journal.Verified, read, reread, seen(func(e *evidence) { e.proven = now }), watching(perhaps)), waitsUntil(reason.SettleTime, time.Minute)},
	"watched, somebody wrote just now":   {at(journal.Delivered, journal.Verified, reads(another), reread, func(k *known) { k.verifyEvery = time.Hour }, watched), atMost(waitsFor(reason.ForeignWrite), watchEvery("shop/token", time.Hour))},
	"before that, somebody else wrote":   {at(journal.Delivered, journal.Verified, reads(another), func(k *known) { k.verifyEvery = time.Hour }, watched), waitsFor(reason.ForeignWrite)},
	"watched, and it works":              {at(journal.Delivered, journal.Verified, quietly, func(k *known) { k.verifyEvery = time.Hour }, watched), move{do: revoke}},
	"a proof is lost":                    {at(journal.Delivered, journal.Verified, read, reread, missing(lacks)), move{do: proveAgain}},
	"a proof is lost, and waived":        {at(journal.Delivered, journal.Verified, read, reread, missing(lacks), waived), move{do: tryValue}},
	"every proof is in still":            {at(journal.Delivered, journal.Verified, read, reread, proved), move{do: tryValue}},
	"the new one is refused":             {at(journal.Delivered, journal.Verified, lastly(no), refused), waitsFor(reason.NewCredentialRefused)},
	"the new one is not sure":            {at(journal.Delivered, journal.Verified, lastly(perhaps)), waitsFor(reason.NewCredentialUndecided)},
	"the new one works":                  {at(journal.Delivered, journal.Verified, quietly), move{do: revoke}},
	"no witness, and uses are told":      {at(journal.Delivered, journal.Verified, quietly, witnessed, func(k *known) { k.witness = false }), move{do: revoke}},
	"a witness that tells nothing":       {at(journal.Delivered, journal.Verified, quietly, func(k *known) { k.witness = true }), move{do: revoke}},
	"whoever took it may use it":         {at(journal.Delivered, journal.Verified, quietly, witnessed, broken), move{do: revoke}},
	"a witness":                          {at(journal.Delivered, journal.Verified, quietly, witnessed), move{do: askUses}},
	"a witness, and a clock":             {at(journal.Delivered, journal.Verified, quietly, witnessed, clocked), move{do: checkClock}},
	"the clock jumped":                   {at(journal.Delivered, journal.Verified, quietly, witnessed, clock(1, "forward")), waitsFor(reason.OldUsesUndated)},
	"the clock is right":                 {at(journal.Delivered, journal.Verified, quietly, witnessed, clock(1, "")), move{do: askUses}},
	"the clock is right again":           {at(journal.Delivered, journal.Verified, quietly, witnessed, clock(1, ""), seen(func(e *evidence) { e.dated = now })), waitsUntil(reason.QuietWindow, 2*time.Minute)},
	"it is quiet since just now":         {at(journal.Delivered, journal.Verified, quietly, witnessed, run(func(r *journal.Run) { r.Policy.Settle = 0 }), seen(func(e *evidence) { e.proven = now })), waitsUntil(reason.QuietWindow, 2*time.Minute)},
	"nobody uses it":                     {at(journal.Delivered, journal.Verified, quietly, uses()), move{do: revoke}},
	"nobody uses it, and a clock":        {at(journal.Delivered, journal.Verified, quietly, uses(), clock(1, "")), move{do: checkClock}},
	"asked, the clock is right":          {at(journal.Delivered, journal.Verified, quietly, uses(), clock(2, "")), move{do: revoke}},
	"asked, the clock jumped":            {at(journal.Delivered, journal.Verified, quietly, uses(), clock(2, "forward")), waitsFor(reason.OldUsesUndated)},
	"asked as the clock was right again": {at(journal.Delivered, journal.Verified, quietly, uses(), clock(2, ""), seen(func(e *evidence) { e.dated = now })), move{do: revoke}},
	"it cannot tell":                     {at(journal.Delivered, journal.Verified, quietly, uses(), untold, knows(func(h *answers) { h.gone = yes })), waitsFor(reason.OldUsesUnknown)},
	"it cannot tell, it is refused":      {at(journal.Delivered, journal.Verified, quietly, uses(), untold, knows(func(h *answers) { h.gone = no })), move{do: revoke}},
	"it cannot tell, that is waived":     {at(journal.Delivered, journal.Verified, quietly, uses(), untold, waives(journal.WaivedEvidence, "")), move{do: revoke}},
	"it was not asked, that is waived": {
		at(journal.Delivered, journal.Verified, quietly, uses(), waives(journal.WaivedEvidence, ""), knows(func(h *answers) { h.unused, h.gone = outward.ErrNotBegun, yes })),
		waitsFor(reason.OldUsesUnknown),
	},
	"somebody uses it":                                          {at(journal.Delivered, journal.Verified, quietly, uses(usedNow)), move{do: recordUsed, says: "psql, last seen 2030-01-31T12:00:00Z"}},
	"somebody uses it, on record":                               {at(journal.Delivered, journal.Verified, quietly, uses(usedNow, usedBefore), recordedAs(stepUsed)), inUse(waitsFor(reason.OldInUse))},
	"somebody uses it, as is waived":                            {at(journal.Delivered, journal.Verified, quietly, uses(usedNow), waives(journal.WaivedUse, "psql")), move{do: revoke}},
	"somebody uses it, no more is waived than that nobody knew": {at(journal.Delivered, journal.Verified, quietly, uses(usedNow), waives(journal.WaivedEvidence, "")), move{do: recordUsed, says: "psql, last seen 2030-01-31T12:00:00Z"}},
	"somebody used it lately":                                   {at(journal.Delivered, journal.Verified, quietly, uses(usedBefore)), waitsFor(reason.OldUsedLately)},
	"used lately, as is waived":                                 {at(journal.Delivered, journal.Verified, quietly, uses(usedBefore), waives(journal.WaivedUse, "psql")), move{do: revoke}},

	"a call to revoke may have been made": {at(journal.Delivered, journal.Delivered, read), move{do: tryValue}},
	"it may, and the new one is refused":  {at(journal.Delivered, journal.Delivered, read, refused, knows(func(h *answers) { h.honoured = no })), waitsFor(reason.NewCredentialRefused)},
	"it may, and the new one works":       {at(journal.Delivered, journal.Delivered, read, honoured), move{do: tryOld}},
	"it may, and the old one works":       {at(journal.Delivered, journal.Delivered, read, honoured, knows(func(h *answers) { h.old = yes })), move{do: readAgain}},
	"it may, and the old one is refused":  {at(journal.Delivered, journal.Delivered, read, honoured, knows(func(h *answers) { h.old = no })), move{do: revoke}},
	"it may, and nobody knows":            {at(journal.Delivered, journal.Delivered, read, honoured, knows(func(h *answers) { h.old = perhaps })), waitsFor(reason.OldUndecided)},
	"the call to revoke failed":           {at(journal.Delivered, journal.Delivered, quietly, called(errDown)), waitsFor(reason.OldNotRevoked)},
	"revoking, the account is another's":  {at(journal.Delivered, journal.Delivered, quietly, called(upstream.ErrSuperseded)), waitsFor(reason.AccountClaimed)},

	"revoked":                         {at(journal.Delivered, journal.Delivered, revokedBefore), move{do: tryRevoked}},
	"revoked, the end settles":        {at(journal.Delivered, journal.Delivered, settles, seen(func(e *evidence) { e.revoked = now })), waitsUntil(reason.OldSettling, time.Minute+1)},
	"revoked just now":                {at(journal.Delivered, journal.Delivered, seen(func(e *evidence) { e.revoked = now })), move{do: tryRevoked}},
	"revoked, the end settled":        {at(journal.Delivered, journal.Delivered, settles, revokedBefore), move{do: tryRevoked}},
	"revoked, and accepted":           {at(journal.Delivered, journal.Delivered, knows(func(h *answers) { h.after = yes })), waitsFor(reason.OldStillAccepted)},
	"revoked, and nobody knows":       {at(journal.Delivered, journal.Delivered, revokedBefore, knows(func(h *answers) { h.after = perhaps })), waitsFor(reason.OldUndecided)},
	"revoked, and refused":            {at(journal.Delivered, journal.Delivered, revokedBefore, gone), move{do: noteRevoked}},
	"revoked, and there are more":     {at(journal.Delivered, journal.Delivered, revokedBefore, gone, func(k *known) { k.more = true }), move{do: revokeNext}},
	"revoked, a run was superseded":   {at(journal.Delivered, journal.Delivered, revokedBefore, gone, supersedes), move{do: endCompromise}},
	"revoked, and was compromised":    {at(journal.Delivered, journal.Delivered, revokedBefore, gone, broken), move{do: endCompromise}},
	"revoked, the compromise is over": {at(journal.Delivered, journal.Delivered, revokedBefore, gone, broken, supersedes, knows(func(h *answers) { h.ended = true })), move{do: noteRevoked}},

	"refused, and closed":             {at(journal.Revoked, journal.Delivered), move{do: readValue}},
	"at its end, somebody else wrote": {at(journal.Revoked, journal.Delivered, reads(another)), waitsFor(reason.ForeignWrite)},
	"at its end":                      {at(journal.Revoked, journal.Delivered, read), move{do: complete}},
}

var keepsOld = run(func(r *journal.Run) { r.Policy.RevokeOld = false })
