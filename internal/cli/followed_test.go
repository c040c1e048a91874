// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

var (
	dual   = upstreammemory.Config{Shape: upstreammemory.Dual}
	issued = upstreammemory.Config{Shape: upstreammemory.Issued}
	listed = upstreammemory.Config{Shape: upstreammemory.Listed}
	told   = upstreammemory.Config{Shape: upstreammemory.Dual, Witnesses: true}
)

// takenBack has a run taken back whose current credential is lost meanwhile.
func takenBack(f *follower) {
	f.start()
	f.pass(time.Hour)
	f.account.away = true
	f.must("custody rotate token --reason TEXT")
	f.pass(time.Minute)
	f.must("custody run abort " + string(f.live()) + " --reason TEXT")
	f.account.Lose(f.value())
	f.account.away = false
	f.pass(10 * time.Minute)
}

// cannotUndo has the upstream lose what it took, which it cannot undo.
func cannotUndo(f *follower) {
	f.start()
	f.pass(time.Hour)
	f.account.kind = func(kind *upstream.Kind) { kind.Undo = upstream.Impossible }
	f.account.forgets = true
	f.must("custody rotate token --reason TEXT")
	f.pass(10 * time.Minute)
}

func loses(reply int) func(*follower) {
	return func(f *follower) {
		f.start()
		f.pass(time.Hour)
		f.account.lost = reply
		f.must("custody rotate token --reason TEXT")
		f.pass(10 * time.Minute)
	}
}

// claim has somebody else own the account before a run changes it.
func claim(f *follower) {
	f.start()
	f.pass(time.Hour)
	f.account.SetForeign(true)
	f.must("custody rotate token --reason TEXT")
	f.pass(10 * time.Minute)
}

// away has the authority changed by somebody else while a run waits for its upstream. A copy of the state is taken before.
func (f *follower) away(change func(*follower) error) {
	f.t.Helper()
	f.start()
	f.pass(time.Hour)
	f.account.away = true
	f.must("custody rotate token --reason TEXT")
	f.pass(time.Minute)
	f.copied = f.store.Snapshot()
	if err := change(f); err != nil {
		f.t.Fatal(err)
	}
	f.account.away = false
	f.start()
	f.pass(10 * time.Minute)
}

// change edits the journal entry at path.
func (f *follower) change(path authority.Path, edit func(*journal.Entry)) error {
	held, err := journal.New(f.store).LoadHeld(f.t.Context(), path)
	if err != nil {
		return err
	}
	edit(&held.Entry)
	return journal.New(f.store).SaveHeld(f.t.Context(), held)
}

// recovers has an older state accepted in which the secret at path waits for why.
func (f *follower) recovers(path authority.Path, why reason.Reason) {
	f.t.Helper()
	f.start()
	f.pass(time.Hour)
	if err := f.change(path, func(e *journal.Entry) {
		e.Recovery = &journal.Recovery{Run: "accepted", Version: e.Current, Reason: why}
	}); err != nil {
		f.t.Fatal(err)
	}
	f.start()
	f.pass(time.Hour)
}

func loseVerified(f *follower) error {
	held, err := journal.New(f.store).LoadHeld(f.t.Context(), "app/token")
	if err != nil {
		return err
	}
	held.Live.Step, held.Pending = journal.Verified, nil
	return journal.New(f.store).SaveHeld(f.t.Context(), held)
}

func writeForeign(f *follower) error {
	v, err := secret.Text(map[string]string{upstreammemory.Key: "foreign"})
	if err == nil {
		err = f.account.Seed(v)
	}
	if err != nil {
		return err
	}
	held, err := f.store.Read(f.t.Context(), "app/token")
	if err != nil {
		return err
	}
	_, err = f.store.Write(f.t.Context(), "app/token", held.ID.Number, "foreign", v)
	return err
}

func putsBack(f *follower, _ int) secret.Value {
	f.store = authoritymemory.Restore(authoritymemory.Config{Incarnation: "one", Clock: time.Now}, f.copied)
	f.entries = journal.New(f.store)
	f.start()
	return secret.Value{}
}

var followed = []finding{
	{
		name: "proof is missing", at: dual, code: reason.ProofMissing,
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			f.consumer.IgnoreReloads(true)
			f.must("custody rotate token --reason TEXT")
			f.pass(10 * time.Minute)
		},
	},
	{
		name: "somebody uses the old one", at: told, code: reason.OldInUse,
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			old := f.value()
			f.must("custody rotate token --reason TEXT")
			f.pass(30 * time.Minute)
			f.account.SignIn("batch", old)
			f.pass(45 * time.Minute)
		},
	},
	{
		name: "nobody knows who uses the old one", at: told, code: reason.OldUsesUnknown,
		arrange: func(f *follower) { f.account.blind = true; f.rotates(); f.pass(2 * time.Hour) },
	},
	{
		name: "new one is lost", at: dual, code: reason.NewCredentialRefused,
		arrange: func(f *follower) {
			f.secret.Policy.Settle = time.Hour
			f.rotates()
			f.pass(10 * time.Minute)
			f.account.Lose(f.value())
			f.pass(time.Hour)
		},
		mends: handsIn,
	},
	{name: "taken back, current one lost", at: dual, code: reason.CurrentRefusedAfterUndo, arrange: takenBack, mends: handsIn},
	{name: "taken back, current one lost, issued", at: issued, code: reason.CurrentRefusedAfterUndo, arrange: takenBack},
	{
		name: "lost reply, somebody else's key", at: listed, code: reason.LostReplyNewcomers,
		arrange: loses(1),
	},
	{
		name: "lost reply, nothing tells", at: listed, code: reason.LostReplyUnknown,
		arrange: func(f *follower) {
			f.account.kind = func(kind *upstream.Kind) { kind.Capability = upstream.Overwrite }
			f.account.lost = 1
			f.start()
			f.pass(10 * time.Minute)
		},
		mends: handsIn,
	},
	{
		name: "lost reply, current one ended", at: listed, code: reason.LostReplyOldEnded,
		arrange: func(f *follower) {
			f.account.kind = func(kind *upstream.Kind) { kind.Capability, kind.Undo = upstream.Overwrite, upstream.Impossible }
			f.start()
			f.pass(time.Hour)
			f.account.Lose(f.value())
			loses(1)(f)
		},
		mends: handsIn,
	},
	{
		name: "lost reply, and somebody else's account", at: issued, code: reason.LostReplyClaimed,
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			f.account.lost = 1
			f.must("custody rotate token --reason TEXT")
			f.pass(time.Second)
			f.account.SetForeign(true)
			f.pass(10 * time.Minute)
		},
		mends: func(f *follower, hop int) secret.Value { f.account.SetForeign(hop < 2); return secret.Value{} },
	},
	{
		name: "cannot undo, seen to", at: dual, code: reason.UndoImpossible, arrange: cannotUndo,
		mends: func(f *follower, _ int) secret.Value { f.account.forgets = false; return secret.Value{} },
	},
	{
		name: "cannot undo, another is handed in", at: listed, code: reason.UndoImpossible, arrange: cannotUndo,
		mends: func(f *follower, _ int) secret.Value { f.account.forgets = false; return f.byHand() },
	},
	{
		name: "attempts failed", at: dual, code: reason.RetryHeld,
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			f.account.forgets = true
			f.must("custody rotate token --reason TEXT")
			f.pass(48 * time.Hour)
		},
		mends: func(f *follower, _ int) secret.Value { f.account.forgets = false; return secret.Value{} },
	},
	{
		name: "value never came", at: dual, code: reason.ValueToBeSupplied,
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			if _, err := f.engine.Plan(f.t.Context(), f.secret.Subject, journal.Trigger{Kind: "supply", By: "me", Reason: "a new one"}); err != nil {
				f.t.Fatal(err)
			}
			f.conductor.WakeAll()
			f.pass(10 * time.Minute)
		},
		mends: handsIn,
	},
	{
		name: "refused between runs", at: dual, code: reason.ValueRefused,
		arrange: func(f *follower) {
			f.secret.Policy.VerifyEvery = time.Hour
			f.start()
			f.pass(time.Hour)
			f.account.Lose(f.value())
			f.pass(6 * time.Hour)
		},
	},
	{
		name: "refused between runs, somebody set another", at: dual, code: reason.ValueRefused, choose: []string{"supply"},
		arrange: func(f *follower) {
			f.secret.Policy.VerifyEvery = time.Hour
			f.start()
			f.pass(time.Hour)
			f.account.Lose(f.value())
			f.pass(6 * time.Hour)
		},
		mends: handsIn,
	},
	{
		name: "clock jumped", at: dual, code: reason.ClockJumped,
		arrange: func(f *follower) { f.start(); f.pass(time.Hour); f.lead = 24 * time.Hour; f.pass(time.Minute) },
	},
	{
		name: "values are gone", at: dual, code: reason.RunValuesGone,
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			f.account.away = true
			f.must("custody rotate token --reason TEXT")
			f.pass(time.Minute)
			held, err := journal.New(f.store).LoadHeld(f.t.Context(), "app/token")
			if err == nil {
				held.Pending = nil
				err = journal.New(f.store).SaveHeld(f.t.Context(), held)
			}
			if err != nil {
				f.t.Fatal(err)
			}
			f.account.away = false
			f.start()
			f.pass(10 * time.Minute)
		},
	},
	{
		name: "candidate is lost after it was verified", at: dual, code: reason.RunValuesGone,
		arrange: func(f *follower) { f.away(loseVerified) }, mends: putsBack,
	},
	{
		name: "somebody else wrote the value, which works", at: dual, code: reason.ForeignWrite, choose: []string{"adopt-value"},
		arrange: func(f *follower) { f.away(writeForeign) },
	},
	{
		name: "somebody else wrote the value, by mistake", at: dual, code: reason.ForeignWrite, choose: []string{"revert"},
		arrange: func(f *follower) { f.away(writeForeign) },
	},
	{
		name: "somebody else wrote the value between runs", at: dual, code: reason.ValueForeign, choose: []string{"revert"},
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			if err := writeForeign(f); err != nil {
				f.t.Fatal(err)
			}
			f.conductor.WakeAll()
			f.pass(time.Minute)
		},
	},
	{
		name: "foreign claim, removed", at: dual, code: reason.AccountClaimed,
		arrange: claim, mends: func(f *follower, _ int) secret.Value { f.account.SetForeign(false); return secret.Value{} },
	},
	{
		name: "foreign claim, another's account", at: dual, code: reason.AccountClaimed, choose: []string{"run abort"},
		arrange: claim, mends: func(f *follower, hop int) secret.Value { f.account.SetForeign(hop < 1); return secret.Value{} },
	},
	{
		name: "foreign claim before the old one is revoked", at: dual, code: reason.AccountClaimed,
		arrange: func(f *follower) {
			f.rotates()
			f.pass(10 * time.Second)
			f.account.SetForeign(true)
			f.pass(10 * time.Minute)
		},
		mends: func(f *follower, _ int) secret.Value { f.account.SetForeign(false); return secret.Value{} },
	},
	{
		name: "a stranger's run", code: reason.AccountMarkerUnknown,
		at: upstreammemory.Config{Shape: upstreammemory.Dual, EnforcesRun: true},
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			other, err := secret.Text(map[string]string{upstreammemory.Key: "of-another"})
			if err == nil {
				_, err = f.account.Upstream.Apply(f.t.Context(), "run-of-another", f.value(), other)
			}
			if err != nil {
				f.t.Fatal(err)
			}
			f.must("custody rotate token --reason TEXT")
			f.pass(10 * time.Minute)
		},
	},
	{
		name: "expired", at: dual, code: reason.LifetimeEnded,
		arrange: func(f *follower) {
			f.declared.ExpiresAt = time.Now().Add(24 * time.Hour)
			f.secret.ExpiresAt = f.declared.ExpiresAt
			f.start()
			f.pass(48 * time.Hour)
		},
	},
	{
		name: "nobody can date a use of the old one", at: told, code: reason.OldUsesUndated,
		arrange: func(f *follower) {
			f.rotates()
			f.pass(10 * time.Minute)
			f.lead = 24 * time.Hour
			f.pass(2 * time.Hour)
		},
	},
	{
		name: "candidate is lost before it was promoted", at: dual, code: reason.CandidateLost,
		arrange: func(f *follower) {
			f.account.kind = func(kind *upstream.Kind) { kind.Undo = upstream.Impossible }
			f.away(func(f *follower) error {
				return f.change("app/token", func(e *journal.Entry) { e.Live.Step = journal.Verified })
			})
		},
		mends: handsIn,
	},
	{
		name: "member of a group fails when it was ready", at: dual, code: reason.GroupMemberFailed,
		arrange: func(f *follower) {
			f.pair()
			f.start()
			f.pass(time.Hour)
			f.account.away = true
			f.must("custody rotate token --reason TEXT")
			f.pass(time.Minute)
			held, err := f.entries.LoadHeld(f.t.Context(), "app/work")
			if err != nil || held.Pending == nil {
				f.t.Fatalf("work prepared nothing: %v", err)
			}
			f.beside.account.Lose(held.Pending.Candidate)
			f.beside.account.forgets = true
			f.start()
			f.pass(10 * time.Minute)
		},
		mends: func(f *follower, _ int) secret.Value {
			f.account.away, f.beside.account.forgets = false, false
			return secret.Value{}
		},
	},
	{
		name: "older state, handed in", at: dual, code: reason.RecoverySupplies,
		arrange: func(f *follower) {
			f.recovers("app/token", reason.New(reason.RecoverySupplies, reason.Args{"supply": "token"}))
		},
		mends: handsIn,
	},
	{
		name: "older state, replaced", at: dual, code: reason.RecoveryRotates,
		arrange: func(f *follower) {
			f.recovers("app/token", reason.New(reason.RecoveryRotates, reason.Args{"rotate": "token"}))
		},
	},
	{
		name: "older state of a member", at: dual, code: reason.GroupMemberRecovering, choose: []string{"explain", "rotate"},
		arrange: func(f *follower) {
			f.pair()
			f.recovers("app/work", reason.New(reason.RecoveryRotates, reason.Args{"rotate": "work"}))
			f.must("custody rotate token --reason TEXT")
			f.pass(10 * time.Minute)
		},
	},
	{
		name: "nothing makes a successor", at: dual, code: reason.NoSuccessor,
		arrange: func(f *follower) {
			f.declared.Spec.Rotation.UpstreamRef = ""
			f.secret.Upstream, f.secret.SentTo, f.secret.First = nil, "", false
			f.secret.Policy.RotationType, f.secret.Policy.TTL, f.secret.Policy.RotateBefore = "time", 30*24*time.Hour, 10*24*time.Hour
			f.start()
			if _, code := f.types("custody supply token --reason TEXT", f.byHand()); code != 0 {
				f.t.Fatal("the first value was not taken")
			}
			f.pass(25 * 24 * time.Hour)
		},
		mends: func(f *follower, _ int) secret.Value {
			v, err := secret.Text(map[string]string{upstreammemory.Key: "another"})
			if err != nil {
				f.t.Fatal(err)
			}
			return v
		},
	},
}

// elsewhere are the codes whose commands other tests follow, and which ones.
var elsewhere = map[reason.Code]string{
	reason.GrantMissing:        "grant.txtar",
	reason.UpstreamNotGranted:  "grant.txtar",
	reason.NotGranted:          "grant.txtar",
	reason.OlderGrant:          "recover_accept.txtar",
	reason.EstateNotInForce:    "not_in_force.txtar",
	reason.FormNotInForce:      "not_in_force.txtar",
	reason.RemovalNotInForce:   "not_in_force.txtar",
	reason.DocumentNotInForce:  "not_in_force.txtar",
	reason.FileNotInForce:      "not_in_force.txtar",
	reason.MoreNotInForce:      "not_in_force.txtar",
	reason.CommitOlder:         "estate_accept.txtar",
	reason.HistoryRewritten:    "estate_accept.txtar",
	reason.GrantsUnreadable:    "TestDamagedGrantsAreGrantedAnew",
	reason.BootstrapIncomplete: "seal_by_fields.txtar",
	reason.BootstrapRefused:    "TestRefusedBootstrapValueStaysInGit", // a server has to refuse it
	reason.RecoveryAsks:        "TestCandidateThatCouldNotBeAskedAboutIsKept",
	reason.AdminRefused:        "TestStaticAdminIsTriedAtWhatItOpens", // a server has to refuse it
	reason.FileLeft:            "withdraw.txtar",
	reason.LeavingConfirm:      "retire.txtar",
	reason.RetireInUse:         "TestUsedCredentialIsRetiredAllTheSame",
	reason.RetireNotRevoked:    "TestRetirementWithoutRevoking",
	reason.RetireNotWithdrawn:  "TestConsumerThatKeepsASecretIsLeftOnRequest",
	reason.RetireForeign:       "TestWriteDuringARetirementIsNotDestroyedUnasked",
	reason.RecordDoubtful:      "lint_and_serve.txtar",
	reason.ConsumerNotOnRecord: "deliver.txtar",
	reason.TargetAway:          "notify_test.txtar",
	reason.OwnerUnreached:      "notify_list.txtar",
	reason.ConsumerNewer:       "restore.txtar",
	reason.BackupFailed:        "backup_schedule.txtar",
	reason.BackupOld:           "backup_schedule.txtar",
	reason.AgentAway:           "agent_run.txtar",
}

// alike are the codes whose commands are those of another one, for the same end.
var alike = map[reason.Code]reason.Code{
	reason.OverlapExceeded:        reason.ProofMissing,
	reason.CompromiseProofMissing: reason.ProofMissing,
	reason.CompromiseWaits:        reason.ProofMissing,
	reason.SessionsNotEnded:       reason.ProofMissing,
	reason.LostReplyUncollectable: reason.LostReplyUnknown,
	reason.RecoveryExplains:       reason.GroupMemberRecovering,
	reason.DatedAhead:             reason.ClockJumped,
	reason.LifetimeEnding:         reason.LifetimeEnded,
	reason.LeavingMany:            reason.LeavingConfirm,
	reason.RetireUsesUnknown:      reason.RetireInUse,
	reason.RetireSessions:         reason.RetireInUse,
	reason.RetireStillAccepted:    reason.RetireNotRevoked,
	reason.RetireUndecided:        reason.RetireNotRevoked,
	reason.RetireValueGone:        reason.RetireNotRevoked,
}

// TestEveryFindingWithACommandIsFollowed: each code that sends people to a command has a test that follows it.
func TestEveryFindingWithACommandIsFollowed(t *testing.T) {
	met := map[reason.Code]bool{}
	for _, row := range followed {
		met[row.code] = true
	}
	for code, test := range elsewhere {
		met[code] = true
		if !isThere(t, test) {
			t.Errorf("%s is to be followed by %s, which is not there", code, test)
		}
	}
	for code, other := range alike {
		if !met[other] {
			t.Errorf("%s is to be like %s, which no test follows", code, other)
		}
		if got, want := named(code), named(other); !slices.Equal(got, want) {
			t.Errorf("%s names %q, %s names %q", code, got, other, want)
		}
		met[code] = true
	}
	for _, row := range reason.Catalogue() {
		if has := len(row.Next) > 0; has != met[row.Code] {
			t.Errorf("%s names a command: %t; a test follows it: %t", row.Code, has, met[row.Code])
		}
	}
}

// named are the commands that a code names.
func named(code reason.Code) (commands []string) {
	for _, row := range reason.Catalogue() {
		for _, next := range row.Next {
			if row.Code == code {
				commands = append(commands, next.Command)
			}
		}
	}
	return commands
}

// isThere reports whether the tree has the test: a Go test by its name, or a script by that of its file.
func isThere(t *testing.T, test string) bool {
	t.Helper()
	if strings.HasSuffix(test, ".txtar") {
		_, err := os.Stat(filepath.Join(scripts, test))
		return err == nil
	}
	found := false
	if err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || found || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		found = strings.Contains(string(data), "\nfunc "+test+"(")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}
