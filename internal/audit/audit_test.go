// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/durable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const origin = "custody.dev/home/test"

func signer(t testing.TB) *audit.Signer {
	t.Helper()
	seed, err := audit.NewSeed(bytes.NewReader(bytes.Repeat([]byte{7}, audit.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(origin, seed)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func folder(t testing.TB, dir string) *durable.Folder {
	t.Helper()
	f, err := durable.Make(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func config(t testing.TB, dir string) audit.Config {
	t.Helper()
	return audit.Config{
		Folder: folder(t, dir), Signer: signer(t), Clock: func() time.Time { return audittest.Epoch },
		SegmentBytes: 4 << 10,
	}
}

// open opens the log in dir and closes it with the test.
func open(t testing.TB, dir string) *audit.Log {
	t.Helper()
	log, err := audit.Open(config(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// fill makes a closed log of n events and returns its checkpoint.
func fill(t testing.TB, dir string, n int) []byte {
	t.Helper()
	log := open(t, dir)
	for i := range n {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return log.Checkpoint()
}

// contents maps each of a folder's files to what it holds.
func contents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string][]byte{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		held[entry.Name()] = data
	}
	return held
}

func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, dir string, outside ...[]byte) audit.Report {
	t.Helper()
	held, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	report, err := audit.Verify(t.Context(), audit.VerifyConfig{
		Folder: held, Verifier: signer(t).Verifier(), Checkpoints: outside,
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestConformance(t *testing.T) {
	audittest.Run(t, func(t *testing.T) audittest.Log { return open(t, t.TempDir()) })
}

// An append holds its lock until the disk has taken it. Readiness and the record's readers were asked under the same lock, so
// that a disk that hung hung them too. Here the append is held up by its clock, which it asks under that lock.
func TestQuestionsDoNotWaitForAnAppend(t *testing.T) {
	cfg := config(t, t.TempDir())
	begun, release := make(chan struct{}), make(chan struct{})
	cfg.Clock = func() time.Time { close(begun); <-release; return time.Unix(0, 0) }
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Append(t.Context(), audittest.Event(0)); err != nil {
		t.Fatal(err)
	}
	held := audittest.Event(1)
	held.At = time.Time{}
	ended := make(chan error, 1)
	go func() { ended <- log.Append(context.Background(), held) }()
	<-begun
	read := 0
	for _, err := range log.Events(t.Context(), audit.Filter{}) {
		if err != nil {
			t.Error(err)
		}
		read++
	}
	if log.Size() != 1 || read != 1 || len(log.Checkpoint()) == 0 || log.Ahead() != nil || log.Findings() != nil || log.Broken() != "" {
		t.Errorf("while an append hangs: %d events by size, %d read", log.Size(), read)
	}
	close(release)
	if err := <-ended; err != nil || log.Size() != 2 {
		t.Errorf("the append: %v, %d events", err, log.Size())
	}
}
