// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// undelivered are the reasons of what could not be delivered, in a run and without one.
var undelivered = []reason.Code{reason.ProofMissing, reason.DeliveryFailed}

// waitsInGit checks that a secret was not handed over: Git holds the authority, the row says what is missing, and
// nothing was delivered or written.
func (r *rig) waitsInGit(name string, code reason.Code, words ...string) {
	r.t.Helper()
	eventually(r.t, name+" to say what it waits for", func() bool { return r.row(name).Waiting != nil })
	row := r.row(name)
	if row.Authority != "git" || row.State != "waiting-handover" || row.Version != "" {
		r.t.Errorf("%s: authority %s, state %s, version %q; want it to wait in git", name, row.Authority, row.State, row.Version)
	}
	if !row.Waiting.Is(code) || !containsAll(said(*row.Waiting), words) {
		r.t.Errorf("%s waits because of %+v, want %s with %q", name, row.Waiting, code, words)
	}
	if runs := r.runs(name, "handover"); len(runs) > 0 {
		r.t.Errorf("%s: %d handovers are on record", name, len(runs))
	}
	standing := r.status().Standing
	if standing.Phase > 3 || !strings.Contains(strings.Join(standing.WaitsFor, "; "), name) {
		r.t.Errorf("phase %s waits for %q, which does not name %s", standing.Phase, standing.WaitsFor, name)
	}
}

// handedOver waits until the authority holds a secret, and checks that it was handed over once.
func (r *rig) handedOver(name string) {
	r.t.Helper()
	eventually(r.t, name+" to be handed over", func() bool { return r.row(name).State == "steady" })
	if runs := r.runs(name, "handover"); len(runs) != 1 || runs[0].Result != "completed" {
		r.t.Errorf("%s: handovers %+v, want one that completed", name, runs)
	}
	r.sound()
}

// TestWrongBootstrapIdentity starts with another identity in the file. Nothing is handed over, until the right one is
// put there.
func TestWrongBootstrapIdentity(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone)
	right := r.read("keys/bootstrap")
	r.write("keys/bootstrap", r.read("keys/unseal"))
	r.serve()
	r.waitsInGit("mail-password", reason.LookFailed, "no identity fits", "hint: ")
	if _, err := os.Stat(r.file("app/mail.json")); err == nil {
		t.Error("a file was delivered")
	}
	eventually(t, "session-token, which needs no identity, to be issued", func() bool { return r.row("session-token").State == "steady" })
	r.write("keys/bootstrap", right)
	r.handedOver("mail-password")
	if got := r.delivered("app/mail.json"); got.Password != r.admin.Password {
		t.Error("the delivered password is not the one in Git")
	}
}

func (r *rig) delivered(file string) credential {
	r.t.Helper()
	var c credential
	var err error
	eventually(r.t, file+" to be delivered", func() bool {
		c, err = readCredential(r.file(file))
		return err == nil
	})
	return c
}

// TestBlobCopiedToAnotherSecret puts the encrypted values of one secret into the document of another, as somebody who
// can write to Git could, to have a value delivered where they can read it.
func TestBlobCopiedToAnotherSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone)
	r.write("estate/other.yaml", `apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: newsletter-password}
spec:
  purpose: Lets the newsletter send mail
  owner: {team: marketing, contact: marketing@example.org}
  class: runtime
  path: mail/newsletter
  origin: {bootstrap: {secretRef: newsletter-password}}
  consumers:
    - name: newsletter
      file: {folder: app, path: newsletter.json, format: json}
`)
	r.seal("newsletter-password", credential{Username: "newsletter", Password: "another-" + marker})
	const document = "estate/bootstrap/newsletter-password.yaml"
	right := r.read(document)
	r.write(document, r.read("estate/bootstrap/mail-password.yaml"))
	r.replace(document, "mail-password", "newsletter-password")
	r.serve()
	r.waitsInGit("newsletter-password", reason.LookFailed, "belongs elsewhere", "sealed for secret mail-password")
	if _, err := os.Stat(r.file("app/newsletter.json")); err == nil {
		t.Error("the copied value was delivered")
	}
	r.handedOver("mail-password")
	r.kill() // the next look at the estate is seconds away
	r.write(document, right)
	r.serve()
	r.handedOver("newsletter-password")
}

// TestDamagedBootstrapDocument is named after sops #484, where a failed edit empties the file: what no longer opens, or
// no longer lints, hands nothing over and takes nothing away that was.
func TestDamagedBootstrapDocument(t *testing.T) {
	t.Parallel()
	cut := func(at string) func(string) string {
		return func(text string) string { return text[:strings.Index(text, at)] }
	}
	tests := []struct {
		name   string
		damage func(string) string
		lints  bool
		words  []string
	}{
		{"emptied", func(string) string { return "" }, false, []string{"mail-password"}},
		{"cut before the keys", cut("sops:"), false, []string{"mail-password.yaml", "sops"}},
		{"cut in a line", func(text string) string { return text[:len(text)/2] }, false, []string{"mail-password.yaml"}},
		{"value cut short", func(text string) string {
			return strings.Replace(text, "ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA", 1)
		}, true, []string{"changed after it was sealed"}},
	}
	const document = "estate/bootstrap/mail-password.yaml"
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, "100ms", alone)
			whole := r.read(document)
			r.write(document, test.damage(whole))
			linted := r.run("lint")
			if test.lints && linted.code != 0 {
				t.Errorf("lint: exit code %d\n%s", linted.code, linted.out)
			} else if !test.lints && (linted.code != 3 || !containsAll(linted.out+linted.err, test.words)) {
				t.Errorf("lint: exit code %d, want 3 and %q\n%s%s", linted.code, test.words, linted.out, linted.err)
			}
			if test.lints {
				r.serve()
				r.waitsInGit("mail-password", reason.LookFailed, test.words...)
			} else {
				r.fails(r.run("serve"), server.Found, test.words...)
				if _, err := os.Stat(r.file("app/session.json")); err == nil {
					t.Error("a value was issued under an estate that does not lint")
				}
			}
			r.kill()
			r.write(document, whole)
			r.serve()
			r.handedOver("mail-password")
			if testing.Short() || test.name != "emptied" { // looking takes up to the reload interval
				return
			}
			r.write(document, test.damage(whole))
			if !test.lints {
				r.notInForce()
			}
			if got := r.delivered("app/mail.json"); got.Password != r.admin.Password {
				t.Error("the password that was handed over is gone")
			}
			if row := r.row("mail-password"); row.Authority != "authority" || row.State != "steady" {
				t.Errorf("after handover the document's damage shows as authority %s, state %s", row.Authority, row.State)
			}
			r.sound()
		})
	}
}

// TestBrokenEstateKeepsTheLastGood breaks the estate beneath a running server, and at a start.
func TestBrokenEstateKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone)
	r.serve()
	r.steady()
	good, digest := r.read("estate/policies.yaml"), r.status().Estate
	const broken = "apiVersion: custody.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: monthly}\nspec: {rotationType: sometimes}\n"
	stays := func() {
		t.Helper()
		found := r.notInForce("policies.yaml", "sometimes")
		if status := r.status(); status.Estate != digest {
			t.Errorf("estate %q is in force, want the last good one %q (%s)", status.Estate, digest, found)
		}
		if code, body := r.get("/readyz"); code != 200 {
			t.Errorf("readyz: %d %s", code, body)
		}
		r.rotate("session-token")
		r.sound()
	}
	if !testing.Short() { // looking takes up to the reload interval
		r.write("estate/policies.yaml", broken)
		stays()
		r.write("estate/policies.yaml", good)
		eventually(t, "the finding to go", func() bool { return len(r.status().Findings) == 0 })
	}
	r.stop()
	r.write("estate/policies.yaml", broken)
	if linted := r.run("lint"); !strings.Contains(linted.out, "policies.yaml") {
		t.Errorf("lint does not name the file:\n%s", linted.out)
	}
	r.fails(r.run("lint"), server.Found, "1 fault")
	r.serve()
	stays()
}

// TestPathThatLeavesItsRoot shows that an estate cannot name a file outside the folder that the host gave it, neither
// by its path nor by a link that stands in the way.
func TestPathThatLeavesItsRoot(t *testing.T) {
	t.Parallel()
	t.Run("by its path", func(t *testing.T) {
		r := newRig(t, "100ms", alone, func(s *setup) { s.tokenPath = "../outside/session.json" })
		r.write("outside/keep", "")
		r.fails(r.run("lint"), server.Found)
		r.fails(r.run("serve"), server.Found, "secrets.yaml", "file-path")
		r.untouched("outside")
	})
	t.Run("by a linked folder", func(t *testing.T) {
		r := newRig(t, "100ms", alone, func(s *setup) { s.tokenPath = "sub/session.json" })
		r.write("outside/keep", "")
		if err := os.Symlink(r.file("outside"), r.file("app/sub")); err != nil {
			t.Fatal(err)
		}
		r.serve()
		r.oneOf("session-token", undelivered, "symbolic link")
		r.untouched("outside")
		if err := os.Remove(r.file("app/sub")); err != nil {
			t.Fatal(err)
		}
		r.write("app/sub/keep", "")
		r.kill() // the next try of this server is minutes away
		r.serve()
		r.steady()
		r.sound()
	})
	t.Run("by a linked file", func(t *testing.T) {
		r := newRig(t, "100ms", alone)
		r.serve()
		r.steady()
		r.write("outside/session.json", "theirs")
		if err := os.Remove(r.file("app/session.json")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(r.file("outside/session.json"), r.file("app/session.json")); err != nil {
			t.Fatal(err)
		}
		before := r.row("session-token").Version
		r.request("session-token")
		r.oneOf("session-token", undelivered, "link")
		if got := r.read("outside/session.json"); got != "theirs" {
			t.Error("the file behind the link was written")
		}
		if err := os.Remove(r.file("app/session.json")); err != nil {
			t.Fatal(err)
		}
		r.kill()
		r.serve()
		r.settled("session-token", before)
		r.steady()
		r.sound()
	})
}

// untouched checks that a folder holds nothing but the file keep.
func (r *rig) untouched(folder string) {
	r.t.Helper()
	entries, err := os.ReadDir(r.file(folder))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != "keep" {
			r.t.Errorf("%s was written outside", filepath.Join(folder, entry.Name()))
		}
	}
}
