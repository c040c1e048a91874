// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sshKey makes a key with the real ssh-keygen, and returns its file.
func (w *work) sshKey(name string, args ...string) string {
	w.t.Helper()
	file := filepath.Join(w.home, name)
	w.in(w.home, "ssh-keygen", append([]string{"-q", "-N", "", "-C", name, "-f", file}, args...)...)
	return file
}

func (w *work) read(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func signers(t *testing.T, allowed string, armored ...string) *Signers {
	t.Helper()
	var files [][]byte
	for _, text := range armored {
		files = append(files, []byte(text))
	}
	s, err := ParseSigners([]byte(allowed), files...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sshFlags(key string) []string {
	return []string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + key}
}

// signedCommit makes a commit that git signs with a key of ssh-keygen.
func (w *work) signedCommit(text, key string) ID {
	w.t.Helper()
	w.write("estate/a.yaml", text)
	w.git("add", "--all")
	w.git(append(sshFlags(key), "commit", "--quiet", "--gpg-sign", "--message", text)...)
	return ID(w.git("rev-parse", "HEAD"))
}

func TestCommitsThatGitSignedWithSSH(t *testing.T) {
	for name, args := range map[string][]string{
		"ed25519": {"-t", "ed25519"}, "ecdsa-256": {"-t", "ecdsa", "-b", "256"}, "ecdsa-521": {"-t", "ecdsa", "-b", "521"}, "rsa": {"-t", "rsa", "-b", "2048"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWork(t)
			key, other := w.sshKey("alice", args...), w.sshKey("bob", "-t", "ed25519")
			id := w.signedCommit("one", key)
			w.push()
			c := In(filepath.Join(t.TempDir(), "clone"), limits)
			fetched(t, c, w.repository())
			public, stranger := strings.TrimSpace(w.read(key+".pub")), strings.TrimSpace(w.read(other+".pub"))
			for line, want := range map[string]string{
				"alice@example.org " + public:                                     "",
				"# two lines\nbob " + stranger + "\nalice,ally " + public:         "",
				`alice namespaces="file,git" ` + public:                           "",
				`alice valid-after="20260101",valid-before="20270101Z" ` + public: "",
				"bob " + stranger: "which is not allowed",
				"bob " + stranger + "\n" + `alice namespaces="file" ` + public: "which is not allowed",
				`alice valid-before="20251231" ` + public:                      "not allowed at this time",
				`alice valid-after="202601021300" ` + public:                   "not allowed at this time",
			} {
				who, err := c.Alone(id, signers(t, line), noon)
				_, is := errors.AsType[*Unsigned](err)
				if want == "" && (err != nil || !strings.Contains(who, "alice")) || want != "" && (!is || !strings.Contains(err.Error(), want)) {
					t.Errorf("%s: got %q, %v, want %q", line, who, err, want)
				}
			}
			// The same that git itself believes.
			file := filepath.Join(w.home, "allowed")
			if err := os.WriteFile(file, []byte("alice "+public+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.git("-c", "gpg.ssh.allowedSignersFile="+file, "verify-commit", string(id))
			changed(t, signers(t, "alice "+public), w.object(c, id))
		})
	}
}

// changed wants that no byte of a signed commit can be changed.
func changed(t *testing.T, s *Signers, object []byte) {
	t.Helper()
	if _, err := s.verify(object, noon); err != nil {
		t.Fatal(err)
	}
	step := max(1, len(object)/97) // so many bytes of a long object, at places that differ with its length
	for i := 0; i < len(object); i += step {
		before := object[i]
		object[i] ^= 1
		if _, err := s.verify(object, noon); err == nil && !armorOnly(object, i) {
			t.Errorf("byte %d of %d can be changed: %q", i, len(object), object)
		}
		object[i] = before
	}
}

// armorOnly reports whether a byte stands in a line of the signature that frames it: a comment, or the padding of base64.
func armorOnly(object []byte, i int) bool {
	begin := strings.LastIndexByte(string(object[:i]), '\n') + 1
	end := i + strings.IndexByte(string(object[i:])+"\n", '\n')
	line := string(object[begin:min(end, len(object))])
	return strings.Contains(line, "=") || strings.Contains(line, "-----") || strings.Contains(line, ": ") && !strings.HasPrefix(line, "tree")
}

func TestCommitsThatGitSignedWithOpenPGP(t *testing.T) {
	w := newWork(t)
	if err := os.Mkdir(filepath.Join(w.home, "gnupg"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the agent that gpg starts outlives it
		kill := exec.Command("gpgconf", "--homedir", filepath.Join(w.home, "gnupg"), "--kill", "all")
		if out, err := kill.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	gpg := func(args ...string) string {
		return w.in(w.home, "gpg", append([]string{"--batch", "--quiet", "--no-tty", "--passphrase", ""}, args...)...)
	}
	gpg("--quick-generate-key", "alice@example.org", "ed25519", "sign", "never")
	gpg("--quick-generate-key", "bob@example.org", "rsa2048", "sign", "never")
	gpg("--faked-system-time", "20240101T000000", "--quick-generate-key", "carol@example.org", "ed25519", "sign", "1d")
	alice, bob, carol := gpg("--armor", "--export", "alice@example.org"), gpg("--armor", "--export", "bob@example.org"), gpg("--armor", "--export", "carol@example.org")
	id := w.commit("one", "--gpg-sign=alice@example.org")
	unsigned := w.commit("two")
	w.push()
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	fetched(t, c, w.repository())
	now := time.Now()
	if who, err := c.Alone(id, signers(t, "", bob, alice), now); err != nil || !strings.HasPrefix(who, "OpenPGP ") {
		t.Errorf("got %q, %v", who, err)
	}
	for _, bad := range []struct {
		id   ID
		with *Signers
		says string
	}{
		{id, signers(t, "", bob), "by a key that is not allowed"},
		{id, signers(t, "", carol), "by a key that is not allowed"},
		{unsigned, signers(t, "", alice), "it is not signed"},
	} {
		if _, err := c.Alone(bad.id, bad.with, now); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("got %v, want %q", err, bad.says)
		}
	}
	object := w.object(c, id)
	tampered := []byte(strings.Replace(string(object), "\n\none", "\n\nOne", 1))
	if _, err := signers(t, "", alice).verify(tampered, now); err == nil || !strings.Contains(err.Error(), "is invalid") {
		t.Errorf("got %v", err)
	}
	if _, err := ParseSigners(nil, []byte(gpg("--armor", "--export-secret-keys", "alice@example.org"))); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a private key: got %v", err)
	}
}

// Every commit that the branch pointed to is signed; what a merge brings in is vouched for by the merge.
func TestEveryCommitOnTheWayIsSigned(t *testing.T) {
	w := newWork(t)
	alice, mallory := w.sshKey("alice", "-t", "ed25519"), w.sshKey("mallory", "-t", "ed25519")
	s := signers(t, "alice "+w.read(alice+".pub"))
	c := In(filepath.Join(t.TempDir(), "clone"), limits)
	first := w.signedCommit("one", alice)
	judge := func(name string, from ID, want ID) {
		t.Helper()
		w.push("--force")
		head := fetched(t, c, w.repository())
		_, err := c.Follow(from, head, s, noon)
		unsigned, is := errors.AsType[*Unsigned](err)
		if want == "" && err != nil || want != "" && (!is || unsigned.Commit != want) {
			t.Errorf("%s: got %v, want %q", name, err, want.Short())
		}
	}
	judge("the first", "", "")
	between := w.commit("two")
	judge("an unsigned one", first, between)
	w.signedCommit("three", alice)
	judge("an unsigned one beneath a signed one", first, between)
	w.git("reset", "--quiet", "--hard", string(first))
	judge("a wrongly signed one", first, w.signedCommit("mine", mallory))
	w.git("reset", "--quiet", "--hard", string(first))
	w.git("checkout", "--quiet", "-b", "side")
	side := w.commit("side")
	w.git("checkout", "--quiet", "-B", "trunk", string(first))
	w.git(append(sshFlags(alice), "merge", "--quiet", "--no-ff", "--gpg-sign", "--message", "merge", "side")...)
	judge("a signed merge of an unsigned branch", first, "")
	w.git("checkout", "--quiet", "-B", "trunk", string(first))
	second := w.signedCommit("second", alice)
	w.git("checkout", "--quiet", "-B", "wrong", string(side))
	w.git(append(sshFlags(alice), "merge", "--quiet", "--no-ff", "--gpg-sign", "--strategy", "ours", "--message", "merge", "trunk")...)
	judge("a merge the wrong way round", second, side)
}

func TestSignersThatCannotBeRead(t *testing.T) {
	w := newWork(t)
	key := strings.TrimSpace(w.read(w.sshKey("alice", "-t", "ed25519") + ".pub"))
	weak := strings.TrimSpace(w.read(w.sshKey("weak", "-t", "rsa", "-b", "1024") + ".pub"))
	for text, says := range map[string]string{
		"":                                  "name nobody",
		"# nobody\n":                        "name nobody",
		"alice":                             "line 1: it has no key",
		"alice ssh-ed25519 AAAA":            "no key that can be read",
		"alice cert-authority " + key:       "certificates are not supported",
		"alice frobnicate " + key:           `"frobnicate" is not known`,
		"alice valid-after=\"soon\" " + key: "is no time",
		"alice " + weak:                     "less than 2048 bits",
		"a " + key + "\nb":                  "line 2",
	} {
		if _, err := ParseSigners([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
}

// A signature that was made for a file, or with RSA and SHA-1, is none of a commit.
func TestSignaturesOfAnotherUse(t *testing.T) {
	w := newWork(t)
	alice := w.sshKey("alice", "-t", "ed25519")
	s := signers(t, "alice "+w.read(alice+".pub"))
	payload := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a> 0 +0000\n\nmessage\n"
	sign := func(space string) string {
		file := filepath.Join(w.home, "payload")
		if err := errors.Join(os.WriteFile(file, []byte(payload), 0o600), os.RemoveAll(file+".sig")); err != nil {
			t.Fatal(err)
		}
		w.in(w.home, "ssh-keygen", "-q", "-Y", "sign", "-n", space, "-f", alice, file)
		return strings.ReplaceAll(strings.TrimSpace(w.read(file+".sig")), "\n", "\n ")
	}
	with := func(headers string) []byte { return []byte(strings.Replace(payload, "\n\n", "\n"+headers+"\n\n", 1)) }
	for headers, says := range map[string]string{
		"gpgsig " + sign("git"):                             "",
		"gpgsig " + sign("file"):                            `made for "file"`,
		"gpgsig " + sign("git") + "\ngpgsig " + sign("git"): "more than one signature",
		"gpgsig nonsense":                                   "neither of SSH nor of OpenPGP",
		"gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA":       "cannot be read",
		"gpgsig-sha256 " + sign("git"):                      "not understood",
		"gpgsig -----BEGIN PGP SIGNATURE-----\n AAAA":       "no OpenPGP key is allowed",
	} {
		_, err := s.verify(with(headers), noon)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%.40q: got %v, want %q", headers, err, says)
		}
	}
	rsa := w.sshKey("rsa", "-t", "rsa", "-b", "2048")
	key := signers(t, "rsa "+w.read(rsa+".pub")).ssh[0].key
	if err := fits(key, "ssh-rsa", nil); err == nil || !strings.Contains(err.Error(), "SHA-2 alone") {
		t.Errorf("RSA with SHA-1: got %v", err)
	}
}
