// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

func password(t *testing.T, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"password": text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// keptStore is an authority that nobody opened.
type keptStore struct{ *memory.Store }

func (keptStore) Close() error { return nil }

func (keptStore) Broken() string { return "" }

// An admin credential in the middle of its own run is tried with its candidate; that of a secret beneath its path is
// another server's.
func TestAdminCredentialsAreTheSecretsOwn(t *testing.T) {
	store := keptStore{memory.New(memory.Config{Incarnation: "one", Clock: time.Now})}
	pending := func(path authority.Path, run authority.RunID, candidate string) {
		err := journal.New(store).SaveHeld(t.Context(), &journal.Held{
			Entry:   journal.Entry{Path: path, Live: &journal.Run{ID: run}},
			Pending: &journal.Pending{Run: run, Old: password(t, "old"), Candidate: password(t, candidate)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Write(t.Context(), "shop/db", 0, "run-1", password(t, "held")); err != nil {
		t.Fatal(err)
	}
	pending("shop/db", "run-2", "candidate")
	pending("shop/db/admin", "run-3", "beneath")
	p := &parts{store: store}
	credentials, err := p.adminCredentials("shop/db")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, credential := range credentials {
		got = append(got, credential.ExposeText("password"))
	}
	if want := []string{"held", "candidate"}; !slices.Equal(got, want) {
		t.Errorf("offered are %q, want %q", got, want)
	}
}

// Who can write to the estate can name a root recipient. What its admin credentials become is encrypted to those that the operator
// granted, and to no other; without one of them nothing is kept, and so nothing applied.
func TestEscrowIsEncryptedToGrantedRootsAlone(t *testing.T) {
	granted, added := ownIdentity(t), ownIdentity(t)
	estate := &intent.Estate{}
	estate.Platform.Spec.RootRecipients = []string{granted.Public(), added.Public()}
	dir := t.TempDir()
	state, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = state.Close() }()
	p := &parts{grants: &grants{known: true, entries: []grant.Entry{{Grant: grant.Grant{Kind: grant.Recipient, Of: grant.Root, To: granted.Public()}}}}}
	kept := &escrow{state: state, recipients: p.rootsGranted(estate), journal: journal.New(memory.New(memory.Config{Incarnation: "one", Clock: time.Now}))}
	if err := kept.Deposit(t.Context(), "shop/admin", "run-1", password(t, "candidate")); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(filepath.Join(dir, "escrow", "shop", "admin", "run-1.age"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := root.Decrypt([]root.Identity{granted}, sealed)
	if err != nil {
		t.Fatalf("the granted root cannot open it: %v", err)
	}
	if v, err := secret.Decode(plain); err != nil || v.ExposeText("password") != "candidate" {
		t.Errorf("it does not hold the candidate: %v", err)
	}
	if _, err := root.Decrypt([]root.Identity{added}, sealed); err == nil {
		t.Error("a root that nobody granted can open it")
	}
	p.grants.entries = nil
	kept.recipients = p.rootsGranted(estate)
	if err := kept.Deposit(t.Context(), "shop/admin", "run-2", password(t, "candidate")); err == nil || !strings.Contains(err.Error(), next.Grant()) {
		t.Errorf("without a granted root: %v, want the command that grants one", err)
	}
}

func ownIdentity(t *testing.T) root.Identity {
	t.Helper()
	made, err := root.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// What the last completed run applied is honoured until another completes: it stays, however many are undone.
func TestEscrowKeepsTheHonouredCandidate(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	state, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = state.Close() }()
	entries := journal.New(memory.New(memory.Config{Incarnation: "one", Clock: time.Now}))
	kept := &escrow{state: state, recipients: []string{identity.Recipient().String()}, journal: entries}
	const path = authority.Path("shop/admin")
	run := func(n int, completes bool) {
		t.Helper()
		id := authority.RunID(fmt.Sprintf("run-%02d", n))
		if err := kept.Deposit(t.Context(), path, id, password(t, "candidate")); err != nil {
			t.Fatal(err)
		}
		if !completes {
			return
		}
		entry, err := entries.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		entry.Current = &authority.VersionID{Run: id, Number: 1}
		if err := entries.Save(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want ...int) {
		t.Helper()
		files, err := os.ReadDir(filepath.Join(dir, "escrow", "shop", "admin"))
		if err != nil {
			t.Fatal(err)
		}
		var got, names []string
		for _, file := range files {
			got = append(got, file.Name())
		}
		for _, n := range want {
			names = append(names, fmt.Sprintf("run-%02d.age", n))
		}
		if !slices.Equal(got, names) {
			t.Errorf("kept are %q, want %q", got, names)
		}
	}
	for n := 11; n <= 15; n++ {
		run(n, true)
	}
	want(13, 14, 15)
	for n := 16; n <= 20; n++ {
		run(n, false)
	}
	want(15, 16, 17, 18, 19, 20)
	run(21, true)
	run(22, true)
	want(20, 21, 22)
	run(1, true) // the clock was set back
	want(1, 20, 21, 22)
	// An older state is accepted, by which the value of record is another run's: what is honoured is one of those that are kept.
	entry, err := entries.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	entry.Current = &authority.VersionID{Run: "run-30", Number: 2}
	if err := entries.Save(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(filepath.Join(dir, "escrow", "shop", "admin"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 31; n <= 35; n++ {
		run(n, false)
	}
	after, err := os.ReadDir(filepath.Join(dir, "escrow", "shop", "admin"))
	if err != nil || len(after) != len(before)+5 {
		t.Errorf("%d are kept, %v, want the %d of before and 5 more", len(after), err, len(before))
	}
	run(36, true)
	run(37, false)
	want(35, 36, 37)
}
