// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/server"
)

type nobody struct{}

func (nobody) Append(context.Context, audit.Event) error { return nil }

// followed follows a grants file, which write replaces; taken is what of it is on record.
func followed(t *testing.T) (g *grants, write func(...grant.Grant), taken func() int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "grants.yaml")
	g = &grants{
		parts: &parts{host: v1alpha1.HostSpec{Grants: file}}, pause: func() {}, recovering: func() string { return "" },
		book: grant.Book{
			Records: memory.New(memory.Config{Incarnation: "one"}), Events: nobody{}, Now: Now, NewRun: func() authority.RunID { return "run" },
		},
	}
	write = func(said ...grant.Grant) {
		if err := os.WriteFile(file, grant.Format("", said), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taken = func() int {
		entries, err := g.book.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	return g, write, taken
}

// A checkout, or whoever writes the file, may be in the middle of it.
func TestAGrantsFileIsTakenUpOnceTwoLooksAgree(t *testing.T) {
	g, write, taken := followed(t)
	ours := grant.Grant{Kind: grant.Endpoint, Of: "db", To: "db.internal:5432"}
	theirs := grant.Grant{Kind: grant.Endpoint, Of: "db", To: "theirs:5432"}
	write(ours, theirs)
	g.pause = func() { write(ours) }
	if err := g.follow(t.Context()); err == nil || !strings.Contains(err.Error(), "is being changed") || taken() != 0 {
		t.Errorf("a file that changed between two looks: %v, and %d grants are on record", err, taken())
	}
	if err := g.follow(t.Context()); err != nil || taken() != 1 {
		t.Errorf("a file that stays: %v, and %d grants are on record, want 1", err, taken())
	}
	g.pause = func() { t.Error("looked twice at what changes nothing") }
	if err := g.follow(t.Context()); err != nil {
		t.Error(err)
	}
	g.file = nil // as a process begins
	if err := g.follow(t.Context()); err != nil {
		t.Error(err)
	}
}

// What a grants file says came into force while the record took no event of it.
func TestAGrantsFileWaitsWhileRecovering(t *testing.T) {
	g, write, taken := followed(t)
	write(grant.Grant{Kind: grant.Endpoint, Of: "db", To: "db.internal:5432"})
	why := "an older state was put back, or `custody recover accept --reason TEXT` goes on with this one"
	g.recovering = func() string { return why }
	for range 2 {
		if err := g.follow(t.Context()); err == nil || !strings.Contains(err.Error(), why) || taken() != 0 {
			t.Errorf("while recovering: %v, and %d grants are on record", err, taken())
		}
	}
	why = ""
	if err := g.follow(t.Context()); err != nil || taken() != 1 {
		t.Errorf("afterwards: %v, and %d grants are on record, want 1", err, taken())
	}
}

// Nobody was told of a file that others could write to since, as long as its time and size stayed.
func TestAGrantsFileThatOthersCanWriteToIsToldOfUnchanged(t *testing.T) {
	g, write, taken := followed(t)
	write(grant.Grant{Kind: grant.Endpoint, Of: "db", To: "db.internal:5432"})
	if err := g.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(g.parts.host.Grants, 0o666); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, g.follow(t.Context()), "can be changed by everybody")
	if taken() != 1 {
		t.Errorf("%d grants are on record, want 1", taken())
	}
}

// A grants file in a folder that hangs held everybody up who only asked what is granted: status, metrics, and a revocation.
func TestAGrantsFileThatHangsHoldsUpNoQuestion(t *testing.T) {
	g, write, _ := followed(t)
	g.parts.store = uninitialised{}
	ours := grant.Grant{Kind: grant.Endpoint, Of: "db", To: "db.internal:5432"}
	write(ours)
	if !g.Refresh(t.Context()) {
		t.Fatal("the grants file is not taken up")
	}
	write(ours, grant.Grant{Kind: grant.Endpoint, Of: "db", To: "other.internal:5432"})
	hangs, release, refreshed := make(chan struct{}), make(chan struct{}), make(chan bool)
	g.pause = func() { close(hangs); <-release }
	go func() { refreshed <- g.Refresh(t.Context()) }()
	<-hangs
	answered := make(chan error, 1)
	go func() {
		if entries, fault := g.Entries(); len(entries) != 1 || fault != nil {
			t.Errorf("granted is %+v, %q, want what was before", entries, fault)
		}
		_, err := g.Revoke(t.Context(), "me", "test", []grant.Grant{ours})
		answered <- err
	}()
	select {
	case err := <-answered:
		wantRefused(t, err, "the grants file")
	case <-time.After(10 * time.Second): // it asks nobody
		t.Error("nobody learns what is granted while the file hangs")
	}
	close(release)
	if !<-refreshed {
		t.Error("what the file says now is not taken up")
	}
}

// A document of grants that was damaged made everything ungranted, and the command that was named for that failed with the same, in a
// process that starts and in one that runs.
func TestDamagedGrantsAreGrantedAnew(t *testing.T) {
	p := reopened(t, home(t))
	defer p.Close()
	p.platform.Reload()
	asked, err := p.platform.Granted(t.Context())
	if err != nil || len(asked.Missing) == 0 {
		t.Fatalf("%+v, %v, want the estate to ask for its recipient", asked, err)
	}
	give := func() {
		t.Helper()
		asked, err := p.platform.Granted(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var wanted []grant.Grant
		for _, need := range asked.Missing {
			wanted = append(wanted, need.Grant)
		}
		if _, err := p.platform.Grant(t.Context(), "operator", "as it says", wanted); err != nil {
			t.Fatal(err)
		}
	}
	codes := func() (codes []string) {
		t.Helper()
		status, err := p.platform.Status(t.Context(), server.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range status.Findings {
			codes = append(codes, string(finding.Code))
		}
		return codes
	}
	give()
	for name, restarted := range map[string]bool{"running": false, "started": true} {
		held, err := p.store.Get(t.Context(), "grants")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.store.Put(t.Context(), "grants", held.Revision, held.Data[:len(held.Data)/2]); err != nil {
			t.Fatal(err)
		}
		if restarted {
			p.grants.entries, p.grants.known = nil, false
		}
		p.platform.Reload()
		if got := codes(); !slices.Contains(got, "grants-unreadable") || slices.Contains(got, "grants-unused") {
			t.Errorf("%s: findings %v, want that grants cannot be read", name, got)
		}
		give()
		entries, err := p.grants.book.Load(t.Context())
		if err != nil || len(entries) != len(asked.Missing) || entries[0].By != "operator" {
			t.Errorf("%s: granted are %v, %v, want what the estate asks for", name, entries, err)
		}
		if got := codes(); slices.Contains(got, "grants-unreadable") || slices.Contains(got, "not-granted") {
			t.Errorf("%s: findings %v once it was granted anew", name, got)
		}
	}
}
