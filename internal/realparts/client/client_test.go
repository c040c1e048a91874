// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/realparts/signin"
)

// stand is a process that plays within the test's own, and the server that it signs in to.
type stand struct {
	client.Plan
	*testing.T
	ended chan error

	mu      sync.Mutex
	used    map[string]bool // versions
	answers error
}

func start(t *testing.T, ignoresReload bool) *stand {
	t.Helper()
	dir := t.TempDir()
	s := &stand{T: t, ended: make(chan error, 1), used: map[string]bool{}, Plan: client.Plan{
		Workers: 2, Every: time.Millisecond, Polled: filepath.Join(dir, "polled"), Held: filepath.Join(dir, "held"), Folder: dir, IgnoresReload: ignoresReload,
	}}
	s.deliver("1")
	go func() {
		s.ended <- s.Play(func(fields map[string]string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.used[fields["version"]] = true
			return s.answers
		})
	}()
	s.until("the process to hear signals", func() bool {
		_, err := os.Stat(filepath.Join(dir, "pid"))
		return err == nil
	})
	return s
}

func (s *stand) deliver(version string) {
	s.Helper()
	for _, file := range []string{s.Polled, s.Held} {
		if err := client.Replace(file, `{"username": "shop", "password": "not-to-be-seen", "version": "`+version+`"}`); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *stand) until(what string, done func() bool) {
	s.Helper()
	s.Logf("waiting for %s", what)
	for !done() {
		time.Sleep(time.Millisecond)
	}
}

// uses waits until exactly these versions are signed in with.
func (s *stand) uses(versions ...string) {
	s.Helper()
	s.until("sign-ins with "+strings.Join(versions, " and "), func() bool {
		s.mu.Lock()
		s.used = map[string]bool{}
		s.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, version := range versions {
			if !s.used[version] {
				return false
			}
		}
		return len(s.used) == len(versions)
	})
}

func (s *stand) signal(signal syscall.Signal) {
	s.Helper()
	if err := syscall.Kill(os.Getpid(), signal); err != nil {
		s.Fatal(err)
	}
}

func (s *stand) answer(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = err
}

// runs checks what the check of the process says of a version.
func (s *stand) runs(version string, want int) {
	s.Helper()
	s.Setenv("CUSTODY_VERSION", version)
	if got := client.PlayCheck(s.Folder); got != want {
		s.Errorf("asked whether it runs on %s: exit code %d, want %d", version, got, want)
	}
}

func (s *stand) stop() client.Seen {
	s.Helper()
	s.signal(syscall.SIGTERM)
	if err := <-s.ended; err != nil {
		s.Fatal(err)
	}
	seen, err := client.Look(s.Folder)
	if err != nil {
		s.Fatal(err)
	}
	return seen
}

func TestHalfHoldsUntilReload(t *testing.T) {
	s := start(t, false)
	s.uses("1")
	s.runs("1", 0)
	s.deliver("2")
	s.uses("1", "2")
	s.runs("2", 1)
	s.signal(syscall.SIGHUP)
	s.uses("2")
	s.runs("2", 0)
	if err := os.WriteFile(s.Held, []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	s.uses("2")
	s.runs("2", 0)
	if seen := s.stop(); seen.SignIns == 0 || seen.Failed() != 0 || seen.First != "" || seen.Longest == 0 {
		t.Errorf("seen %+v, want sign-ins and no trouble", seen)
	}
}

func TestIgnoredReload(t *testing.T) {
	s := start(t, true)
	s.deliver("2")
	s.signal(syscall.SIGHUP)
	s.uses("1", "2")
	s.runs("2", 1)
	s.stop()
}

func TestTroubleIsCountedAndNamed(t *testing.T) {
	s := start(t, false)
	s.until("a sign-in", func() bool { seen, err := client.Look(s.Folder); return err == nil && seen.SignIns > 0 })
	s.answer(signin.ErrRefused)
	s.until("a refusal", func() bool { seen, err := client.Look(s.Folder); return err == nil && seen.Refused > 0 })
	s.answer(errors.New("away"))
	seen := s.stop()
	for _, word := range []string{"shop", "version 1", "refused"} {
		if !strings.Contains(seen.First, word) {
			t.Errorf("the first trouble is %q, which does not say %q", seen.First, word)
		}
	}
	if seen.Refused == 0 || seen.Failed() != seen.Refused+seen.Unanswered || seen.Failed() >= seen.SignIns || strings.Contains(seen.First, "not-to-be-seen") {
		t.Errorf("seen %+v: want more sign-ins than trouble, and no password", seen)
	}
}

func TestNothingDelivered(t *testing.T) {
	p := client.Plan{Held: filepath.Join(t.TempDir(), "held")}
	if err := p.Play(func(map[string]string) error { return nil }); err == nil {
		t.Error("a process that was given nothing began")
	}
	t.Setenv("CUSTODY_VERSION", "")
	if got := client.PlayCheck(t.TempDir()); got != 2 {
		t.Errorf("asked before it began: exit code %d, want 2", got)
	}
}
