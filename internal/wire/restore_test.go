// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/backup"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/server"
)

// saved is a backup, with what is needed to put it back.
type saved struct {
	t    *testing.T
	host v1alpha1.HostSpec
	root root.Identity
	key  embedded.Sealer
	file []byte
	made backup.Made
}

func newSaved(t *testing.T) *saved {
	t.Helper()
	dir := t.TempDir()
	s := &saved{t: t, root: ownIdentity(t), host: v1alpha1.HostSpec{Platform: "shop", Environment: "production", State: filepath.Join(dir, "state")}}
	s.key = s.sealer(dir)
	config := embedded.Config{Folder: filepath.Join(dir, "authority"), Key: s.sealer(t.TempDir()), Clock: Now, Random: rand.Reader, Platform: "shop", Environment: "production"}
	s.must(embedded.Initialise(t.Context(), config))
	store, err := embedded.Open(t.Context(), config)
	s.must(err)
	defer store.Close()
	if _, err := store.Write(t.Context(), "app/db", 0, "run", password(t, "one")); err != nil {
		t.Fatal(err)
	}
	seed, err := audit.NewSeed(rand.Reader)
	s.must(err)
	signer, err := audit.NewSigner("custody.dev/shop/production", seed)
	s.must(err)
	folder, err := durable.Make(filepath.Join(dir, "audit"))
	s.must(err)
	defer folder.Close()
	record, err := audit.Open(audit.Config{Folder: folder, Signer: signer, Clock: Now})
	s.must(err)
	defer record.Close()
	s.must(record.Append(t.Context(), audit.Event{Run: "run", Step: "promoted", Workflow: "rotation", Result: audit.OK}))
	to, err := durable.Make(filepath.Join(dir, "to"))
	s.must(err)
	defer to.Close()
	maker := backup.New(backup.Config{Authority: store, Record: record, Platform: "shop", Environment: "production", Now: Now})
	s.made, err = maker.Make(t.Context(), to, []string{s.root.Public()})
	s.must(err)
	s.file, err = to.Read(s.made.Name)
	s.must(err)
	return s
}

func (s *saved) must(errs ...error) {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *saved) sealer(dir string) embedded.Sealer {
	s.t.Helper()
	key := make([]byte, embedded.KeyBytes)
	_, _ = rand.Read(key)
	file := filepath.Join(dir, "unseal")
	s.must(os.WriteFile(file, []byte(hex.EncodeToString(key)), 0o600))
	sealer, err := embedded.LoadSealer(embedded.Source{KeyFile: file})
	s.must(err)
	return sealer
}

func (s *saved) restore(file []byte, stage func(string) error, with ...root.Identity) error {
	s.t.Helper()
	state, err := durable.Make(s.host.State)
	s.must(err)
	defer state.Close()
	_, err = (&target{state: state, host: s.host, key: s.key, name: s.made.Name, stage: stage}).restore(s.t.Context(), bytes.NewReader(file), with)
	return err
}

// opens fails unless the state is there as a whole, and says that it was restored.
func (s *saved) opens(when string) {
	s.t.Helper()
	store, err := embedded.Open(s.t.Context(), embedded.Config{
		Folder: authorityFolder(s.host.State), Key: s.key, Clock: Now, Random: rand.Reader, Platform: "shop", Environment: "production",
	})
	if err != nil {
		s.t.Fatalf("%s: %v", when, err)
	}
	defer store.Close()
	restored, err := recovery.RestoredFrom(s.t.Context(), store)
	if err != nil || restored.Backup != s.made.Name || restored.Events != 1 {
		s.t.Errorf("%s: it says that it was restored from %+v, %v", when, restored, err)
	}
	if held, err := store.Read(s.t.Context(), "app/db"); err != nil || !held.Value.Equal(password(s.t, "one")) {
		s.t.Errorf("%s: the value is not what it was: %v", when, err)
	}
	folder, err := durable.Open(AuditFolder(s.host.State))
	s.must(err)
	defer folder.Close()
	key, err := os.ReadFile(AuditKeyPath(s.host.State))
	s.must(err)
	report, err := audit.Verify(s.t.Context(), audit.VerifyConfig{Folder: folder, Verifier: strings.TrimSpace(string(key))})
	if err != nil || !report.Sound() || report.Size != 1 {
		s.t.Errorf("%s: the record: %+v, %v", when, report, err)
	}
	if _, err := os.Stat(filepath.Join(s.host.State, restoring)); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("%s: the folder still says that a restore is under way", when)
	}
}

// A restore that died at any step leaves a folder that nothing opens, and that the next restore begins anew.
func TestRestoreThatDiedBeginsAnew(t *testing.T) {
	s := newSaved(t)
	var steps []string
	s.must(s.restore(s.file, func(step string) error { steps = append(steps, step); return nil }, s.root))
	s.opens("without a crash")
	if len(steps) < 5 {
		t.Fatalf("a restore has the steps %q", steps)
	}
	died := errors.New("the machine died")
	for _, at := range steps {
		s.must(os.RemoveAll(s.host.State))
		err := s.restore(s.file, func(step string) error {
			if step == at {
				return died
			}
			return nil
		}, s.root)
		if !errors.Is(err, died) {
			t.Fatalf("at %q: %v", at, err)
		}
		state, err := durable.Open(s.host.State)
		s.must(err)
		p := &parts{host: s.host, state: state}
		if problem := server.Problems(p.unfinished()); problem == nil || problem.Class != server.Refused || !strings.Contains(problem.Hint, "custody restore FILE --identity FILE") {
			t.Errorf("after a crash at %q the folder is opened: %v", at, problem)
		}
		s.must(state.Close())
		s.must(s.restore(s.file, nil, s.root))
		s.opens("after a crash at " + at)
	}
}

// What cannot be put back leaves the folder as empty as it was; what the folder holds stays.
func TestRestoreThatIsRefusedLeavesNothing(t *testing.T) {
	s := newSaved(t)
	cut := s.file[:len(s.file)-100]
	changed := bytes.Clone(s.file)
	changed[len(changed)/2] ^= 1
	other := s.host
	other.Environment = "staging"
	for name, c := range map[string]struct {
		file []byte
		with root.Identity
		host v1alpha1.HostSpec
	}{
		"cut short": {cut, s.root, s.host}, "changed": {changed, s.root, s.host}, "another identity": {s.file, ownIdentity(t), s.host},
		"another environment": {s.file, s.root, other}, "no backup": {[]byte("hello"), s.root, s.host},
	} {
		host := s.host
		s.host = c.host
		err := s.restore(c.file, nil, c.with)
		s.host = host
		if err == nil {
			t.Errorf("%s: it was restored", name)
		}
		if names, err := os.ReadDir(s.host.State); err != nil || len(names) != 0 {
			t.Errorf("%s: the folder holds %v, %v", name, names, err)
		}
	}
	s.must(os.WriteFile(filepath.Join(s.host.State, "initialised"), []byte("before"), 0o600))
	err := s.restore(s.file, nil, s.root)
	if problem := server.Problems(err); problem == nil || problem.Class != server.Refused || !strings.Contains(problem.Hint, "mv "+s.host.State) {
		t.Errorf("a folder that holds something: %v", err)
	}
	if kept, err := os.ReadFile(filepath.Join(s.host.State, "initialised")); err != nil || string(kept) != "before" {
		t.Errorf("what it held is %q, %v", kept, err)
	}
	if err := SignedBy(s.made.Manifest, s.made.Manifest.RecordKey+"\n"); err != nil {
		t.Error(err)
	}
	if err := SignedBy(s.made.Manifest, "custody.dev/shop/production+00000000+AAAA"); err == nil {
		t.Error("a backup whose record another key signed is taken")
	}
}

// A backup that is too old, or fails, is a finding from the authority's note on, whichever process makes the next.
func TestOldBackupIsAFinding(t *testing.T) {
	now := Now()
	b := &backups{parts: &parts{host: v1alpha1.HostSpec{Backup: &v1alpha1.Backup{To: "/mnt/backup"}}}, began: now, every: time.Hour}
	if found := b.Reasons(); len(found) != 0 {
		t.Errorf("in a new process: %v", found)
	}
	b.last = lastBackup{To: "/mnt/backup", Made: now.Add(-3 * time.Hour)}
	found := b.Reasons()
	if len(found) != 1 || !found[0].Is(reason.BackupOld) || !strings.Contains(found[0].Text(), "custody backup`") {
		t.Errorf("after three hours: %v", found)
	}
	b.last.To = "/mnt/other" // where the host file named another folder, what is there says nothing of this one
	if !b.Last().IsZero() {
		t.Error("a backup elsewhere counts")
	}
	b.fail(errors.New("no space left"))
	b.last = lastBackup{To: "/mnt/backup", Made: now}
	if found := b.Reasons(); len(found) != 1 || !found[0].Is(reason.BackupFailed) || !strings.Contains(found[0].Text(), "no space left") {
		t.Errorf("after a failure: %v", found)
	}
}

// What is mounted at the folder for backups was taken away: the folder beneath it is there and can be written, and is not taken for it.
func TestFolderBeneathAMountThatIsAway(t *testing.T) {
	folder, err := durable.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	last := lastBackup{To: folder.Dir(), Name: "custody.shop.production.0123456789abcdef.20261202T194500Z.age", Bytes: 7}
	if err := (lastBackup{}).isIn(folder); err != nil {
		t.Errorf("for the first backup: %v", err)
	}
	if err := last.isIn(folder); err == nil || server.Problems(err).Hint == "" {
		t.Errorf("without the last one: %v", err)
	}
	if err := folder.Create(last.Name, []byte("content")); err != nil {
		t.Fatal(err)
	}
	if err := last.isIn(folder); err != nil {
		t.Errorf("with the last one: %v", err)
	}
}
