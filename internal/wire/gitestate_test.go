// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/source/git"
)

// branch is an estate in a real repository.
type branch struct {
	*gitEstate
	t    *testing.T
	work string
}

func newBranch(t *testing.T) *branch {
	t.Helper()
	home := t.TempDir()
	b := &branch{t: t, work: filepath.Join(home, "work")}
	state, err := durable.Make(filepath.Join(home, "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	p := &parts{log: slog.New(slog.DiscardHandler), state: state, host: v1alpha1.HostSpec{
		Platform: "home", Environment: "prod", State: filepath.Join(home, "state"),
		Git: &v1alpha1.Git{URL: b.work, Branch: "main", Every: "3m", StaleAfter: "1h", Webhook: &v1alpha1.GitWebhook{}},
	}}
	if err := os.Mkdir(b.work, 0o700); err != nil {
		t.Fatal(err)
	}
	b.git("init", "--quiet", "--initial-branch", "main")
	b.commit("one")
	b.gitEstate = newGitEstate(p)
	return b
}

func (b *branch) git(args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "git", append([]string{"-c", "user.name=me", "-c", "user.email=me@example.org"}, args...)...)
	cmd.Dir = b.work
	cmd.Env = append(os.Environ(), "HOME="+b.work, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (b *branch) commit(text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.work, "a.yaml"), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.git("add", "--all")
	b.git("commit", "--quiet", "--message", text)
}

// reads wants a look to find a text in force, and what the findings are.
func (b *branch) reads(want string, codes ...reason.Code) {
	b.t.Helper()
	files, err := b.newest()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, data := range files.All() {
		if string(data) != want {
			b.t.Errorf("got %q, want %q", data, want)
		}
	}
	found := b.Findings()
	if len(found) != len(codes) {
		b.t.Fatalf("got %v, want %v", found, codes)
	}
	for i, code := range codes {
		if found[i].Code != code {
			b.t.Errorf("got %v, want %v", found[i].Text(), code)
		}
	}
}

// While a server hangs that is fetched from, what was believed is read as before.
func TestGitServerThatHangsHoldsNothingUp(t *testing.T) {
	b := newBranch(t)
	b.fetch(t.Context())
	b.reads("one")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	b.spec.URL = "http://" + listener.Addr().String() + "/estate.git"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); b.fetch(ctx) }()
	conn, err := listener.Accept() // it was asked, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	b.reads("one")
	cancel()
	<-ended
	_ = conn.Close()
	_ = listener.Close()
	b.fetch(t.Context())
	if b.Standing().Failed == "" {
		t.Error("a fetch from nobody did not fail")
	}
	b.reads("one")
	b.mu.Lock()
	b.fetched = Now().Add(-2 * time.Hour)
	b.mu.Unlock()
	b.reads("one", reason.EstateUnfetched)
}

// Before there is an authority nothing is kept, and a head that goes back is refused all the same.
func TestBranchThatGoesBack(t *testing.T) {
	b := newBranch(t)
	b.fetch(t.Context())
	b.reads("one")
	b.commit("two")
	b.fetch(t.Context())
	b.reads("two")
	b.git("reset", "--quiet", "--hard", "HEAD~1")
	b.fetch(t.Context())
	b.reads("two", reason.CommitOlder)
	b.commit("other")
	b.fetch(t.Context())
	b.reads("two", reason.HistoryRewritten)
	if err := b.Accept(t.Context(), "me", "why", b.git("rev-parse", "HEAD")); err == nil || !strings.Contains(err.Error(), "has never run here") {
		t.Errorf("got %v", err)
	}
}

func TestSignersThatOthersCanChange(t *testing.T) {
	b := newBranch(t)
	b.fetch(t.Context())
	b.reads("one")
	file := filepath.Join(t.TempDir(), "allowed_signers")
	if err := errors.Join(os.WriteFile(file, []byte("# nobody\n"), 0o600), os.Chmod(file, 0o666)); err != nil {
		t.Fatal(err)
	}
	b.spec.Signers = &v1alpha1.Signers{AllowedSigners: file}
	b.commit("two")
	b.fetch(t.Context())
	b.reads("one", reason.CommitUnusable)
	if text := b.Findings()[0].Text(); !strings.Contains(text, "can be changed by everybody") {
		t.Errorf("it says %q", text)
	}
}

func TestDamagedCloneIsFetchedAgain(t *testing.T) {
	b := newBranch(t)
	b.fetch(t.Context())
	b.commit("two")
	b.fetch(t.Context())
	packs, err := filepath.Glob(filepath.Join(b.parts.host.State, gitFolder, "objects", "pack", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(err, packs)
	}
	for _, pack := range packs {
		if err := os.Remove(pack); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.newest(); !errors.Is(err, git.ErrDamaged) {
		t.Errorf("got %v, want %v", err, git.ErrDamaged)
	}
	b.fetch(t.Context())
	b.reads("two")
}

// A branch that was rewritten while the clone was lost: nothing leads to the commit that was believed. The finding says what to
// accept, and no fetch follows another because of it.
func TestBelievedCommitThatIsGone(t *testing.T) {
	b := newBranch(t)
	b.fetch(t.Context())
	b.reads("one")
	b.git("commit", "--quiet", "--amend", "--message", "another")
	if err := b.clone.Discard(); err != nil {
		t.Fatal(err)
	}
	b.fetch(t.Context())
	b.files, b.of = nil, "" // as after a start
	if _, err := b.newest(); !errors.Is(err, git.ErrGone) {
		t.Errorf("got %v, want %v", err, git.ErrGone)
	}
	if found := b.Findings(); len(found) != 1 || found[0].Code != reason.HistoryRewritten || len(b.woken) != 0 {
		t.Errorf("got %v, woken %d", found, len(b.woken))
	}
}

// A webhook wakes the poll and nothing else; the thirty-first within a minute is not read.
func TestWebhookWakesThePoll(t *testing.T) {
	b := newBranch(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	handler := &hooks{estate: b.gitEstate, now: func() time.Time { return now }}
	secret, err := b.hookSecret()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(b.parts.host.State, gitHookSecret))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the secret that is made: %v, %v", info, err)
	}
	send := func(key []byte) int {
		body := []byte(`{"ref":"refs/heads/main"}`)
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write(body)
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/git", bytes.NewReader(body))
		request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer.Code
	}
	key := bytes.TrimSpace(secret.Expose(git.SecretField))
	if got := send([]byte("a guess")); got != http.StatusUnauthorized || len(b.woken) != 0 {
		t.Errorf("a guess: %d, woken %d", got, len(b.woken))
	}
	for range hooksEach - 1 {
		if got := send(key); got != http.StatusAccepted || len(b.woken) != 1 {
			t.Fatalf("got %d, woken %d", got, len(b.woken))
		}
	}
	if got := send(key); got != http.StatusTooManyRequests {
		t.Errorf("got %d, want %d", got, http.StatusTooManyRequests)
	}
	now = now.Add(hooksIn)
	if got := send(key); got != http.StatusAccepted {
		t.Errorf("a minute later: %d", got)
	}
	b.spec.Webhook = nil
	if b.hookHandler() != nil || (*gitEstate)(nil).hookHandler() != nil {
		t.Error("webhooks are taken that nobody asked for")
	}
}
