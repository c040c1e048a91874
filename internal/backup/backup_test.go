// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/durable/durabletest"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// canary is in every value.
const canary = "CANARY-51c0e7d2"

var began = time.Date(2026, 12, 2, 19, 45, 0, 0, time.UTC)

// world is a platform's authority and record, and a folder for its backups.
type world struct {
	t      testing.TB
	dir    string
	store  *embedded.Store
	record *audit.Log
	root   root.Identity
	to     *durable.Folder
	now    time.Time
	stage  func(string) error
}

func newWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, now: began}
	key := make([]byte, embedded.KeyBytes)
	_, _ = rand.Read(key)
	keyFile := filepath.Join(dir, "unseal")
	w.must(os.WriteFile(keyFile, []byte(hex.EncodeToString(key)), 0o600))
	sealer, err := embedded.LoadSealer(embedded.Source{KeyFile: keyFile})
	w.must(err)
	config := embedded.Config{
		Folder: filepath.Join(dir, "authority"), Key: sealer, Clock: time.Now, Random: rand.Reader, Platform: "shop", Environment: "production",
	}
	w.must(embedded.Initialise(t.Context(), config))
	w.store, err = embedded.Open(t.Context(), config)
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	seed, err := audit.NewSeed(rand.Reader)
	w.must(err)
	signer, err := audit.NewSigner("custody.dev/shop/production", seed)
	w.must(err)
	folder, err := durable.Make(filepath.Join(dir, "audit"))
	w.must(err)
	t.Cleanup(func() { _ = folder.Close() })
	w.record, err = audit.Open(audit.Config{Folder: folder, Signer: signer, Clock: time.Now, SegmentBytes: 4 << 10})
	w.must(err)
	t.Cleanup(func() { _ = w.record.Close() })
	w.root, err = root.NewIdentity()
	w.must(err)
	w.to, err = durable.Make(filepath.Join(dir, "to"))
	w.must(err)
	t.Cleanup(func() { _ = w.to.Close() })
	return w
}

func (w *world) must(errs ...error) {
	w.t.Helper()
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
}

// run is a rotation as the record and the authority see it: begun on record, written, and ended on record.
func (w *world) run(path authority.Path, base authority.Version) error {
	run := authority.RunID(fmt.Sprintf("%s-%d", path, base+1))
	event := func(step string) audit.Event {
		return audit.Event{Run: run, Step: step, Workflow: "rotation", Path: path, Result: audit.OK}
	}
	v, err := secret.Text(map[string]string{"password": fmt.Sprintf("%s-%s-%d", canary, path, base+1)})
	if err != nil {
		return err
	}
	if err := w.record.Append(context.Background(), event("planned")); err != nil {
		return err
	}
	if _, err := w.store.Write(context.Background(), path, base, run, v); err != nil {
		return err
	}
	return w.record.Append(context.Background(), event("promoted"))
}

func (w *world) maker() *Maker {
	return New(Config{
		Authority: w.store, Record: w.record, Platform: "shop", Environment: "production", Version: "test",
		Now: func() time.Time { return w.now }, stage: w.stage,
	})
}

func (w *world) make() (Made, error) {
	return w.maker().Make(w.t.Context(), w.to, []string{w.root.Public()})
}

func (w *world) made() (Made, []byte) {
	w.t.Helper()
	made, err := w.make()
	w.must(err)
	data, err := w.to.Read(made.Name)
	w.must(err)
	return made, data
}

func (w *world) names() []string {
	w.t.Helper()
	names, err := w.to.Names()
	w.must(err)
	return names
}

// taken is what was read of a backup.
type taken struct {
	keys      secret.Value
	authority []byte
	record    []byte
	begun     bool
}

func (k *taken) Begin(_ Manifest, keys secret.Value) error {
	k.keys, k.begun = keys, true
	return nil
}

func (k *taken) Authority(from io.Reader) (err error) {
	k.authority, err = io.ReadAll(from)
	return err
}

func (k *taken) Record(_ string, from io.Reader) error {
	data, err := io.ReadAll(from)
	k.record = append(k.record, data...)
	return err
}

// read reads a backup, and decrypts its authority.
func (w *world) read(data []byte) (*taken, Manifest, error) {
	k := &taken{}
	m, err := Read(w.t.Context(), bytes.NewReader(data), []root.Identity{w.root}, k)
	if err != nil {
		return k, m, err
	}
	dir := w.t.TempDir()
	w.must(os.WriteFile(filepath.Join(dir, embedded.CopyName), k.authority, 0o600))
	_, err = embedded.CheckCopy(w.t.Context(), dir, k.keys)
	return k, m, err
}

// A backup that is made while runs go on never has a value of which its record knows nothing: the authority is copied before the record.
func TestBackupHasNoValueThatItsRecordDoesNotKnow(t *testing.T) {
	w := newWorld(t, t.TempDir())
	var stop atomic.Bool
	var running sync.WaitGroup
	began := make(chan struct{}, 4)
	for worker := range 4 {
		running.Go(func() {
			path := authority.Path(fmt.Sprintf("app/%d", worker))
			for n := authority.Version(0); !stop.Load(); n++ {
				if err := w.run(path, n); err != nil {
					t.Error(err)
					return
				}
				if n == 2 {
					began <- struct{}{}
				}
			}
		})
	}
	for range 4 {
		<-began
	}
	for range 3 {
		made, data := w.made()
		k, m, err := w.read(data)
		w.must(err)
		if m.Incarnation != w.store.Incarnation() || !strings.HasPrefix(string(m.Incarnation), strings.Split(made.Name, ".")[3]) {
			t.Errorf("the backup %s is of incarnation %s", made.Name, m.Incarnation)
		}
		versions := w.versions(k)
		if len(versions) < 12 {
			t.Errorf("the backup has %d values", len(versions))
		}
		for _, run := range versions {
			if !bytes.Contains(k.record, fmt.Appendf(nil, `"run":"%s","step":"planned"`, run)) {
				t.Errorf("the record in the backup does not know run %s, whose value is in it", run)
			}
		}
	}
	stop.Store(true)
	running.Wait()
}

// versions are the runs of the values in a backup.
func (w *world) versions(k *taken) (runs []authority.RunID) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.must(os.WriteFile(filepath.Join(dir, embedded.CopyName), k.authority, 0o600))
	keyFile := filepath.Join(w.dir, "unseal")
	sealer, err := embedded.LoadSealer(embedded.Source{KeyFile: keyFile})
	w.must(err)
	config := embedded.Config{Folder: dir, Key: sealer, Clock: time.Now, Random: rand.Reader, Platform: "shop", Environment: "production"}
	w.must(embedded.PutBack(w.t.Context(), config, k.keys, authority.Document{Key: "restored", Data: []byte("{}")}))
	store, err := embedded.Open(w.t.Context(), config)
	w.must(err)
	defer store.Close()
	for worker := range 4 {
		path := authority.Path(fmt.Sprintf("app/%d", worker))
		newest, err := store.Read(w.t.Context(), path)
		if errors.Is(err, authority.ErrNotFound) {
			continue
		}
		w.must(err)
		for n := authority.Version(1); n <= newest.ID.Number; n++ {
			held, err := store.ReadVersion(w.t.Context(), path, n)
			w.must(err)
			runs = append(runs, held.ID.Run)
		}
	}
	return runs
}

// A file that was cut short, or in which one bit was flipped, is refused, wherever that is: in age's header, in any of its chunks, at the end.
func TestDamageIsFound(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for n := range authority.Version(8) {
		w.must(w.run("app/0", n))
	}
	_, data := w.made()
	if _, _, err := w.read(data); err != nil {
		t.Fatal(err)
	}
	const step = 3001 // coprime with the sizes of pages, blocks and chunks
	positions := []int{0, 1, 30, 60, 120, 150, 180, 200, len(data) - 17, len(data) - 1}
	for at := 211; at < len(data); at += step {
		positions = append(positions, at)
	}
	for _, at := range positions {
		changed := bytes.Clone(data)
		changed[at] ^= 1
		if _, _, err := w.read(changed); err == nil {
			t.Errorf("byte %d of %d changed: it is taken for the backup", at, len(data))
		}
		if _, _, err := w.read(data[:at]); !errors.Is(err, root.ErrMalformed) {
			t.Errorf("cut at %d of %d: %v", at, len(data), err)
		}
	}
	if _, _, err := w.read(append(bytes.Clone(data), data...)); err == nil {
		t.Error("what follows the end is not found")
	}
	stranger, err := root.NewIdentity()
	w.must(err)
	k := &taken{}
	if _, err := Read(t.Context(), bytes.NewReader(data), []root.Identity{stranger}, k); !errors.Is(err, root.ErrWrongKey) || k.begun {
		t.Errorf("opening it with another identity: %v", err)
	}
}

// What opens and holds other things than its manifest says is no backup: whoever knows the root's public keys can make a file that opens.
func TestForgedManifestIsRefused(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.must(w.run("app/0", 0))
	for name, forge := range map[string]func(*Manifest){
		"newer form": func(m *Manifest) { m.Form = form + 1 }, "no form": func(m *Manifest) { m.Form = 0 },
		"digest":   func(m *Manifest) { m.Authority.SHA256 = strings.Repeat("0", 64) },
		"size":     func(m *Manifest) { m.Authority.Bytes-- },
		"outside":  func(m *Manifest) { m.Record[0].Name = "audit/../../etc/passwd" },
		"events":   func(m *Manifest) { m.Events++ },
		"more":     func(m *Manifest) { m.Record = append(m.Record, File{Name: "audit/00000002.jsonl"}) },
		"fewer":    func(m *Manifest) { m.Record = nil },
		"key":      func(m *Manifest) { m.RecordKey = "custody.dev/other+00000000+AAAA" },
		"unsigned": func(m *Manifest) { m.Checkpoint = strings.Replace(m.Checkpoint, "\n2\n", "\n3\n", 1); m.Events = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			values, err := w.store.Copy(t.Context())
			w.must(err)
			defer values.Content.Close()
			record := w.record.Copy()
			m := Manifest{
				Form: form, Platform: "shop", Environment: "production", Incarnation: values.Incarnation, Made: began, Recipients: []string{w.root.Public()},
				Authority: File{authorityName, values.Bytes, hex.EncodeToString(values.SHA256[:])}, Events: record.Events, Checkpoint: string(record.Checkpoint),
				RecordKey: record.Verifier, Record: []File{{Name: recordPrefix + record.Files[0].Name, Bytes: record.Files[0].Bytes}},
			}
			forge(&m)
			var file bytes.Buffer
			sealed := m
			if len(sealed.Record) == 0 { // what is written follows the record
				record.Files = nil
			}
			if err := write(&file, sealed, values, record); err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.read(file.Bytes()); err == nil {
				t.Error("it is taken for a backup")
			}
		})
	}
}

// A crash at any step leaves no file with the name of a backup that is not one, and the next backup is made.
func TestCrashAtEachStep(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.must(w.run("app/0", 0))
	var steps []string
	w.stage = func(step string) error { steps = append(steps, step); return nil }
	first, _ := w.made()
	if len(steps) < 5 {
		t.Fatalf("a backup has the steps %q", steps)
	}
	died := errors.New("the machine died")
	for i, at := range steps {
		w.now = began.Add(time.Duration(i+1) * time.Hour)
		w.stage = func(step string) error {
			if step == at {
				return died
			}
			return nil
		}
		if _, err := w.make(); !errors.Is(err, died) {
			t.Fatalf("at %q: %v", at, err)
		}
		entries, err := List(w.to)
		w.must(err)
		for _, entry := range entries {
			data, err := w.to.Read(entry.Name)
			w.must(err)
			if _, _, err := w.read(data); err != nil || entry.Events == 0 {
				t.Errorf("after a crash at %q: %s is listed with %d events: %v", at, entry.Name, entry.Events, err)
			}
		}
		if at == "named" {
			if len(entries) != 2 {
				t.Errorf("after a crash at %q there are %d backups", at, len(entries))
			}
		} else if len(entries) != 1 || entries[0].Name != first.Name {
			t.Errorf("after a crash at %q there are the backups %v", at, entries)
		}
	}
	w.stage, w.now = nil, began.Add(24*time.Hour)
	made, data := w.made()
	if _, _, err := w.read(data); err != nil {
		t.Error(err)
	}
	for _, name := range w.names() {
		if strings.HasSuffix(name, ".tmp") {
			t.Errorf("after %s was made, %s of a crash is left", made.Name, name)
		}
	}
}

// A disk that gives back something else than was written is found before the file has its name.
func TestDiskThatGivesBackSomethingElse(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.must(w.run("app/0", 0))
	w.stage = func(step string) error {
		if step != "reading back" {
			return nil
		}
		for _, name := range w.names() {
			file := filepath.Join(w.to.Dir(), name)
			data, err := os.ReadFile(file)
			w.must(err)
			data[len(data)/2] ^= 1
			w.must(os.WriteFile(file, data, 0o600))
		}
		return nil
	}
	if _, err := w.make(); !errors.Is(err, ErrReadBack) {
		t.Errorf("got %v", err)
	}
	if names := w.names(); len(names) != 0 {
		t.Errorf("the folder holds %q", names)
	}
}

func TestBackupOnAFullDisk(t *testing.T) {
	durabletest.OnSmallDisk(t, "64k", func(t *testing.T, dir string) {
		w := newWorld(t, t.TempDir())
		for n := range authority.Version(40) {
			w.must(w.run("app/0", n))
		}
		small, err := durable.Open(dir)
		w.must(err)
		defer small.Close()
		for range 2 {
			if _, err := w.maker().Make(t.Context(), small, []string{w.root.Public()}); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("got %v", err)
			}
			if names, err := small.Names(); err != nil || len(names) != 0 {
				t.Errorf("the full disk holds %q, %v", names, err)
			}
		}
		w.must(w.run("app/0", 40)) // nothing else is stopped
		if _, err := w.make(); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
	})
}

// No value, and nothing that opens one, is in clear in any file at any step.
func TestCanaryIsInNoFile(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for n := range authority.Version(5) {
		w.must(w.run("app/0", n))
	}
	looked := 0
	look := func(string) error {
		return filepath.WalkDir(w.dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name)
			looked++
			if bytes.Contains(data, []byte(canary)) || bytes.Contains(data, fmt.Appendf(nil, "%x", canary)) || bytes.Contains(data, []byte(`"keyset"`)) {
				t.Errorf("%s holds a value, or what opens it", name)
			}
			return err
		})
	}
	w.stage = look
	_, data := w.made()
	w.must(look(""))
	if looked < 20 {
		t.Errorf("only %d files were looked at", looked)
	}
	k, _, err := w.read(data)
	w.must(err)
	if bytes.Contains(k.authority, []byte(canary)) {
		t.Error("the copy of the authority holds a value in clear")
	}
}

// Only older complete backups of the same authority are removed, and never the last one.
func TestRetain(t *testing.T) {
	dir := t.TempDir()
	folder, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	name := func(family, stamp string) string {
		return "custody.shop.production." + strings.Repeat(family, 16) + "." + stamp + ".age"
	}
	others := []string{
		name("b", "20200101T000000Z"), "custody.shop.staging." + strings.Repeat("a", 16) + ".20200101T000000Z.age", "notes.age", ".custody.shop.production." + strings.Repeat("a", 16) + ".backup.custody.tmp",
		"custody.shop.production.age", name("a", "99999999T999999Z"),
	}
	for day := 1; day <= 5; day++ {
		stamp := fmt.Sprintf("2026120%dT000000Z", day)
		for _, file := range []string{name("a", stamp), checkpointOf(name("a", stamp))} {
			if err := folder.Create(file, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, file := range others {
		if err := folder.Create(file, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := Retain(folder, name("a", "20261205T000000Z"), 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{name("a", "20261202T000000Z"), name("a", "20261201T000000Z")}, removed); diff != "" {
		t.Error(diff)
	}
	// The clock was set back when the last one was made.
	if removed, err := Retain(folder, name("a", "20261203T000000Z"), 1); err != nil || len(removed) != 2 {
		t.Errorf("removed %q, %v", removed, err)
	}
	names, err := folder.Names()
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(others), name("a", "20261203T000000Z"), checkpointOf(name("a", "20261203T000000Z")))
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if _, err := Retain(folder, "notes.age", 1); err == nil {
		t.Error("what is no backup is kept instead of one")
	}
	if err := InPlace(folder, name("a", "20261203T000000Z"), 1); err != nil {
		t.Error(err)
	}
	for name, bytes := range map[string]int64{name("a", "20261203T000000Z"): 2, name("a", "20261206T000000Z"): 1} {
		if err := InPlace(folder, name, bytes); !errors.Is(err, ErrElsewhere) {
			t.Errorf("%s with %d bytes: %v", name, bytes, err)
		}
	}
}

// Two backups of one second have names of their own.
func TestBackupsOfOneSecond(t *testing.T) {
	w := newWorld(t, t.TempDir())
	first, _ := w.made()
	second, _ := w.made()
	if first.Name >= second.Name {
		t.Errorf("%s, then %s", first.Name, second.Name)
	}
	entries, err := List(w.to)
	w.must(err)
	if len(entries) != 2 || entries[0].Name != second.Name || entries[0].Bytes != second.Bytes {
		t.Errorf("listed are %v", entries)
	}
	if _, err := w.maker().Make(t.Context(), w.to, nil); !errors.Is(err, root.ErrMalformed) {
		t.Errorf("for nobody: %v", err)
	}
}

func TestDue(t *testing.T) {
	const every, pause = 24 * time.Hour, 10 * time.Minute
	now, zero := began, time.Time{}
	for name, c := range map[string]struct{ last, failed, want time.Time }{
		"never made":           {zero, zero, now},
		"made lately":          {now.Add(-time.Hour), zero, now.Add(23 * time.Hour)},
		"overdue":              {now.Add(-25 * time.Hour), zero, now.Add(-time.Hour)},
		"failed just now":      {zero, now, now.Add(pause)},
		"failed a while ago":   {now.Add(-25 * time.Hour), now.Add(-time.Hour), now.Add(-50 * time.Minute)},
		"dated in the future":  {now.Add(365 * 24 * time.Hour), zero, now.Add(every)},
		"failed, and is young": {now.Add(-time.Hour), now, now.Add(23 * time.Hour)},
	} {
		if got := Due(now, c.last, c.failed, every, pause); !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		last, began time.Time
		want        bool
	}{
		"none, and a new process": {zero, now, false}, "none for three days": {zero, now.Add(-72 * time.Hour), true},
		"two intervals": {now.Add(-48 * time.Hour), zero, false}, "more": {now.Add(-49 * time.Hour), zero, true},
	} {
		if got := Old(now, c.last, c.began, every); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
