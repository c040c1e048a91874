// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/journal"
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
		name: "proof is missing", at: dual, says: "proof from consumers", explains: "proof from consumers: *consumer* does not run on this version yet",
		arrange: func(f *follower) {
			f.start()
			f.pass(time.Hour)
			f.consumer.IgnoreReloads(true)
			f.must("custody rotate token --reason TEXT")
			f.pass(10 * time.Minute)
		},
	},
	{
		name: "somebody uses the old one", at: told, says: "to be used no more", explains: "the old credential to be used no more",
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
		name: "nobody knows who uses the old one", at: told, says: "who still uses the old credential", explains: "the upstream to say who still uses the old credential",
		arrange: func(f *follower) { f.account.blind = true; f.rotates(); f.pass(2 * time.Hour) },
	},
	{
		name: "new one is lost", at: dual, says: "the upstream refuses the new credential", explains: "a person: the upstream refuses the new credential",
		arrange: func(f *follower) {
			f.secret.Policy.Settle = time.Hour
			f.rotates()
			f.pass(10 * time.Minute)
			f.account.Lose(f.value())
			f.pass(time.Hour)
		},
		mends: handsIn,
	},
	{name: "taken back, current one lost", at: dual, says: "the run was taken back", arrange: takenBack, mends: handsIn},
	{name: "taken back, current one lost, issued", at: issued, says: "the run was taken back", arrange: takenBack},
	{
		name: "lost reply, somebody else's key", at: listed, says: "appeared upstream", explains: "a person: *key* appeared upstream",
		arrange: loses(1),
	},
	{
		name: "lost reply, nothing tells", at: listed, says: "cannot tell what it made", explains: "a person: the reply to issuing was lost and this upstream cannot tell",
		arrange: func(f *follower) {
			f.account.kind = func(kind *upstream.Kind) { kind.Capability = upstream.Overwrite }
			f.account.lost = 1
			f.start()
			f.pass(10 * time.Minute)
		},
		mends: handsIn,
	},
	{
		name: "lost reply, current one ended", at: listed, says: "no longer honours the credential before it", explains: "a person: the reply to issuing was lost, and the upstream no longer honours",
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
		name: "lost reply, and somebody else's account", at: issued, says: "take it back",
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
		name: "cannot undo, seen to", at: dual, says: "this upstream cannot undo", explains: "a person: this upstream cannot undo", arrange: cannotUndo,
		mends: func(f *follower, _ int) secret.Value { f.account.forgets = false; return secret.Value{} },
	},
	{
		name: "cannot undo, another is handed in", at: listed, says: "this upstream cannot undo", arrange: cannotUndo,
		mends: func(f *follower, _ int) secret.Value { f.account.forgets = false; return f.byHand() },
	},
	{
		name: "attempts failed", at: dual, says: "attempts failed", explains: "a person: *n* attempts failed",
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
		name: "value never came", at: dual, says: "its value to be handed in", explains: "a person: its value to be handed in",
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
		name: "refused between runs", at: dual, says: "since ", explains: "since *time* the upstream refuses its value",
		arrange: func(f *follower) {
			f.secret.Policy.VerifyEvery = time.Hour
			f.start()
			f.pass(time.Hour)
			f.account.Lose(f.value())
			f.pass(6 * time.Hour)
		},
	},
	{
		name: "refused between runs, somebody set another", at: dual, says: "since ", choose: []string{"supply"},
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
		name: "clock jumped", at: dual, says: "the clock jumped by", explains: "the clock jumped by",
		arrange: func(f *follower) { f.start(); f.pass(time.Hour); f.lead = 24 * time.Hour; f.pass(time.Minute) },
	},
	{
		name: "values are gone", at: dual, says: "the values of this run are gone", explains: "a person: the values of this run are gone from the journal",
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
		name: "candidate is lost after it was verified", at: dual, says: "the values of this run are gone",
		arrange: func(f *follower) { f.away(loseVerified) }, mends: putsBack,
	},
	{
		name: "somebody else wrote the value", at: dual, says: "somebody else wrote", explains: "a person: somebody else wrote to the secret's path",
		arrange: func(f *follower) { f.away(writeForeign) }, mends: putsBack,
	},
	{
		name: "foreign claim, removed", at: dual, says: "belongs to another run", explains: "a person: the upstream account belongs to another run",
		arrange: claim, mends: func(f *follower, _ int) secret.Value { f.account.SetForeign(false); return secret.Value{} },
	},
	{
		name: "foreign claim, another's account", at: dual, says: "belongs to another run", choose: []string{"run abort"},
		arrange: claim, mends: func(f *follower, hop int) secret.Value { f.account.SetForeign(hop < 1); return secret.Value{} },
	},
	{
		name: "foreign claim before the old one is revoked", at: dual, says: "belongs to another run",
		arrange: func(f *follower) {
			f.rotates()
			f.pass(10 * time.Second)
			f.account.SetForeign(true)
			f.pass(10 * time.Minute)
		},
		mends: func(f *follower, _ int) secret.Value { f.account.SetForeign(false); return secret.Value{} },
	},
	{
		name: "a stranger's run", says: "the marker of its account names run", explains: "a person: the marker of its account names run",
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
		name: "expired", at: dual, says: "expired at", explains: "*secret* expired at *time*",
		arrange: func(f *follower) {
			f.declared.ExpiresAt = time.Now().Add(24 * time.Hour)
			f.secret.ExpiresAt = f.declared.ExpiresAt
			f.start()
			f.pass(48 * time.Hour)
		},
	},
	{
		name: "nothing makes a successor", at: dual, says: "nothing can make a successor", explains: "nothing can make a successor",
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

// elsewhere are the rows of docs/operations.md whose commands other tests follow, and which ones.
var elsewhere = map[string]string{
	"a grant: *what*, which nobody has granted":                 "grant.txtar",
	"a grant: its value is known to upstream":                   "grant.txtar",
	"the grants file *file* is taken up once the platform":      "TestAGrantsFileWaitsWhileRecovering",
	"the newest estate is not in force":                         "lint_and_serve.txtar",
	"the bootstrap value is incomplete":                         "seal_by_fields.txtar",
	"the upstream refuses the bootstrap value":                  "TestRefusedBootstrapValueStaysInGit",
	"its upstream to say what it can do":                        "upstream_check.txtar",
	"a person: its group counts on this run":                    "TestAbortStopsTheGroup",
	"delivery: *consumer* does not hold the version of record":  "deliver.txtar",
	"*file* holds *value*, and *reason*":                        "withdraw.txtar",
	"a run that replaces it, since an older state was put back": "TestAcceptanceKeepsTheCandidateThatIsInUse",
	"*input*, which it is computed from, to be recovered":       "TestWhatIsRecoveredWaitsForWhoItSays",
	"proof from consumers: *consumer* the host has no":          "lint_and_serve.txtar",
	"recovering: … the state folder may not be":                 "state_elsewhere.txtar",
	"the newest form of *document* is not in force":             "lint_and_serve.txtar",
	"*document* is not in force, since *time*, and has no form": "TestMixture",
	"file *file* is not in force, since":                        "TestMixture",
	"record: … did not take the newest checkpoint":              "lint_and_serve.txtar",
	"record: *finding*":                                         "audit_verify.txtar",
	"the host file *file* changed since this process read it":   "TestMachineIsWarnedOf",
}

// TestEveryFindingWithACommandIsFollowed: each row of docs/operations.md that sends people to a command has a test that follows it.
func TestEveryFindingWithACommandIsFollowed(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## What to do when")
	table, _, _ = strings.Cut(table, "These come by themselves")
	left := map[string]bool{}
	for row := range elsewhere {
		left[row] = true
	}
	for _, row := range followed {
		if row.explains != "" {
			left[row.explains] = true
		}
	}
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[3], "`custody ") {
			continue
		}
		rows++
		is := func(begins string) bool {
			return begins != "" && strings.HasPrefix(strings.TrimSpace(cells[1]), begins)
		}
		met := false
		for row := range elsewhere {
			met = met || is(row)
			if is(row) {
				delete(left, row)
			}
		}
		for _, row := range followed {
			met = met || is(row.explains)
			if is(row.explains) {
				delete(left, row.explains)
			}
		}
		if !met {
			t.Errorf("no test follows what docs/operations.md says of %q: %s", strings.TrimSpace(cells[1]), cells[3])
		}
	}
	for row := range left {
		t.Errorf("docs/operations.md has no row with a command that begins with %q", row)
	}
	if rows < 20 {
		t.Errorf("only %d rows were found", rows)
	}
	for row, test := range elsewhere {
		if !isThere(t, test) {
			t.Errorf("%q is to be followed by %s, which is not there", row, test)
		}
	}
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
