// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/authoritytest"
	"custody.dev/custody/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newConfig(t testing.TB, dir string) Config {
	t.Helper()
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key)
	return configWith(t, dir, key)
}

func configWith(t testing.TB, dir string, key []byte) Config {
	t.Helper()
	sealer, err := newKeySealer(key, "the key of the test")
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Folder: dir, Key: sealer, Clock: time.Now, Random: rand.Reader,
		Platform: "example", Environment: "test",
	}
}

// initialised returns the config of a new authority.
func initialised(t testing.TB) Config {
	t.Helper()
	config := newConfig(t, filepath.Join(t.TempDir(), "authority"))
	if err := Initialise(t.Context(), config); err != nil {
		t.Fatalf("Initialise: %v", err)
	}
	return config
}

func mustOpen(t testing.TB, config Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func text(t testing.TB, s string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{secret.SingleField: s})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustWrite(t testing.TB, s *Store, path authority.Path, base authority.Version, v secret.Value) authority.VersionID {
	t.Helper()
	id, err := s.Write(context.Background(), path, base, "run", v)
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	return id
}

func wantErr(t testing.TB, err, want error, parts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error = %q, want it to say %q", err, part)
		}
	}
}

func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

func TestConformance(t *testing.T) {
	authoritytest.Run(t, func(t *testing.T) authority.Store { return mustOpen(t, initialised(t)) })
	authoritytest.RunRenewer(t, func(t *testing.T) authoritytest.Renewable { return mustOpen(t, initialised(t)) })
}

func TestDurability(t *testing.T) {
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key)
	authoritytest.RunDurable(t, func(t *testing.T, dir string) (authority.Store, func()) {
		config := configWith(t, filepath.Join(dir, "authority"), key)
		if err := Initialise(t.Context(), config); err != nil && !errors.Is(err, ErrInitialised) {
			t.Fatal(err)
		}
		s := mustOpen(t, config)
		return s, func() { mustClose(t, s) }
	})
}

func TestOpenUninitialised(t *testing.T) {
	config := newConfig(t, filepath.Join(t.TempDir(), "absent"))
	_, err := Open(t.Context(), config)
	wantErr(t, err, ErrUninitialised)
	if _, err := os.Stat(config.Folder); !os.IsNotExist(err) {
		t.Errorf("Open made the folder")
	}
	config.Folder = t.TempDir()
	_, err = Open(t.Context(), config)
	wantErr(t, err, ErrUninitialised)
}

func TestInitialiseRefusesSecond(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a", 0, text(t, "kept"))
	err := Initialise(t.Context(), config)
	wantErr(t, err, ErrInUse)
	mustClose(t, s)
	before, _ := os.ReadFile(filepath.Join(config.Folder, databaseFile))
	wantErr(t, Initialise(t.Context(), newConfig(t, config.Folder)), ErrInitialised)
	after, _ := os.ReadFile(filepath.Join(config.Folder, databaseFile))
	if !bytes.Equal(before, after) {
		t.Error("the refused Initialise changed the file")
	}
	got, err := mustOpen(t, config).Read(t.Context(), "a")
	if err != nil || !got.Value.Equal(text(t, "kept")) {
		t.Errorf("Read after the refused Initialise: %v", err)
	}
}

// brokenSealer wraps what it can never unwrap: a key that would be lost between initialising and storing it.
type brokenSealer struct{ Sealer }

func (brokenSealer) Unwrap([]byte) ([]byte, error) { return nil, errors.New("no") }

func TestInitialiseRefusesKeyThatCannotUnwrap(t *testing.T) {
	config := newConfig(t, t.TempDir())
	good := config.Key
	config.Key = brokenSealer{good}
	wantErr(t, Initialise(t.Context(), config), authority.ErrSealed)
	if _, err := os.Stat(filepath.Join(config.Folder, databaseFile)); !os.IsNotExist(err) {
		t.Fatal("an authority that nobody can open was made")
	}
	config.Key = good
	if err := Initialise(t.Context(), config); err != nil {
		t.Fatalf("Initialise afterwards: %v", err)
	}
	mustOpen(t, config)
}

func TestInitialiseAfterCrash(t *testing.T) {
	whole := initialised(t)
	content, err := os.ReadFile(filepath.Join(whole.Folder, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, pageSize, len(content) / 2, len(content)} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			config := newConfig(t, t.TempDir())
			if err := os.WriteFile(filepath.Join(config.Folder, unfinishedFile), content[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), config)
			wantErr(t, err, ErrUninitialised, "did not finish")
			if err := Initialise(t.Context(), config); err != nil {
				t.Fatalf("Initialise over a half-made one: %v", err)
			}
			mustOpen(t, config)
			if _, err := os.Stat(filepath.Join(config.Folder, unfinishedFile)); !os.IsNotExist(err) {
				t.Error("the half-made one is still there")
			}
		})
	}
}

func TestFolderAndFilesArePrivate(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a", 0, text(t, "x"))
	mustClose(t, s)
	info, err := os.Stat(config.Folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v, %v; want 0700", info.Mode(), err)
	}
	entries, err := os.ReadDir(config.Folder)
	if err != nil || len(entries) == 0 {
		t.Fatalf("ReadDir = %d entries, %v", len(entries), err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; want 0600", entry.Name(), info.Mode(), err)
		}
	}
}

func TestOpenRefusesForeign(t *testing.T) {
	config := initialised(t)
	for _, change := range []func(*Config){
		func(c *Config) { c.Platform = "another" },
		func(c *Config) { c.Environment = "production" },
	} {
		foreign := config
		change(&foreign)
		_, err := Open(t.Context(), foreign)
		wantErr(t, err, ErrForeign, foreign.Platform, foreign.Environment, `"example"`, `"test"`)
	}
	mustOpen(t, config)
}

func TestOpenWithWrongKey(t *testing.T) {
	config := initialised(t)
	_, err := Open(t.Context(), newConfig(t, config.Folder))
	wantErr(t, err, authority.ErrSealed, "the key of the test (a raw key)")
	if hintOf(err) == "" {
		t.Error("no hint")
	}
	mustOpen(t, config)
}

// The lock is held all along, so that any limit ends the wait.
func TestOneProcessAtATime(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	config.Timeout = 50 * time.Millisecond
	_, err := Open(t.Context(), config)
	wantErr(t, err, ErrInUse, fmt.Sprintf("process %d", os.Getpid()))
	mustClose(t, s)
	mustOpen(t, config)
}

// The first closes in milliseconds; the second would wait half a minute for it.
func TestOpenWaitsForLock(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	config.Timeout = 30 * time.Second
	opened := make(chan error, 1)
	go func() {
		second, err := Open(context.Background(), config)
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	mustClose(t, s)
	if err := <-opened; err != nil {
		t.Errorf("Open while another closes: %v", err)
	}
}

func TestClosedIsSealed(t *testing.T) {
	s := mustOpen(t, initialised(t))
	if s.closed.Load() {
		t.Error("an open authority says that it is sealed")
	}
	mustClose(t, s)
	mustClose(t, s)
	if !s.closed.Load() {
		t.Error("a closed authority says that it is not sealed")
	}
	_, err := s.Read(t.Context(), "a")
	wantErr(t, err, authority.ErrSealed)
	_, err = s.Write(t.Context(), "a", 0, "run", text(t, "x"))
	wantErr(t, err, authority.ErrSealed)
	wantErr(t, s.Destroy(t.Context(), "a", 1), authority.ErrSealed)
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no folder": func(c *Config) { c.Folder = "" }, "no key": func(c *Config) { c.Key = nil },
		"no clock": func(c *Config) { c.Clock = nil }, "no platform": func(c *Config) { c.Platform = "" },
	} {
		config := newConfig(t, t.TempDir())
		spoil(&config)
		if err := Initialise(t.Context(), config); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Initialise with %s: %v", name, err)
		}
		if _, err := Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Open with %s: %v", name, err)
		}
	}
}

// What overwrites free pages, and what renews the incarnation, lets nothing beside it: a disk that hung under it hung whoever
// asked for the incarnation.
func TestIncarnationDoesNotWaitForTheDisk(t *testing.T) {
	s := mustOpen(t, initialised(t))
	was := s.Incarnation()
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := s.Renew(context.Background(), was, func(authority.Incarnation) (authority.Renewal, error) {
			close(begun)
			<-release
			return authority.Renewal{}, nil
		})
		ended <- err
	}()
	<-begun
	if s.Incarnation() != was || s.closed.Load() || s.Broken() != "" {
		t.Errorf("while it is renewed: %s, sealed %v, broken %q", s.Incarnation(), s.closed.Load(), s.Broken())
	}
	close(release)
	if err := <-ended; err != nil || s.Incarnation() == was {
		t.Errorf("once it is: %s, %v", s.Incarnation(), err)
	}
}

// Digest keys cost no change of the file, and every copy of it has them.
func TestDigestKeysAreDerived(t *testing.T) {
	config := initialised(t)
	s := mustOpen(t, config)
	change := func() (id int) {
		_ = s.db.View(func(tx *bolt.Tx) error { id = tx.ID(); return nil })
		return id
	}
	before := change()
	key, err := s.DigestKey(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if after := change(); after != before {
		t.Errorf("the file is at change %d after asking for a digest key, want %d as before", after, before)
	}
	mustClose(t, s)
	_, err = s.DigestKey(t.Context(), "a")
	wantErr(t, err, authority.ErrSealed)
	copied := mustOpen(t, configWithFile(t, config, filepath.Join(config.Folder, databaseFile)))
	if again, err := copied.DigestKey(t.Context(), "a"); err != nil || !bytes.Equal(again, key) {
		t.Errorf("a copy of the file has another digest key, %v", err)
	}
}
