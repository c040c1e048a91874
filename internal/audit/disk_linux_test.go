// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
)

// apart runs a test in a process of its own, which has no file but those that the test writes, and reports whether that is done. What
// limits files limits all of a process: go test itself writes one.
func apart(t *testing.T) (done bool) {
	t.Helper()
	const is = "CUSTODY_TEST_APART"
	if os.Getenv(is) != "" {
		return false
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), is+"=1")
	if out, err := command.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

// limitFiles lets no file of this process grow beyond size, as a full disk would not: a write is cut short and errors.
func limitFiles(t *testing.T, size uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

func TestAppendOnAFullDisk(t *testing.T) {
	if apart(t) {
		return
	}
	dir := t.TempDir()
	cfg := config(t, dir)
	cfg.SegmentBytes = 1 << 20
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range 3 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, dir)
	lift := limitFiles(t, uint64(len(before["00000001.jsonl"])+100)) // room for a part of a line
	for range 2 {
		if err := log.Append(t.Context(), audittest.Event(3)); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("appending to a full disk: %v", err)
		}
	}
	if !maps.EqualFunc(before, contents(t, dir), bytes.Equal) {
		t.Error("a failed append left something behind")
	}
	lift()
	for i := range 5 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.Size != 5 {
		t.Errorf("report %+v, want 5 events", report)
	}
}

// What shared a write shares its failure, and none of it is there.
func TestGroupOnAFullDisk(t *testing.T) {
	if apart(t) {
		return
	}
	dir := t.TempDir()
	cfg := config(t, dir)
	cfg.SegmentBytes = 1 << 20
	log, errs := together(t, cfg, 1, 3, nil) // so that there is a file for groups
	if err := errors.Join(append(errs, log.Close())...); err != nil {
		t.Fatal(err)
	}
	var lift func()
	log, errs = together(t, cfg, 4, 8, func() {
		lift = limitFiles(t, uint64(len(contents(t, dir)["00000001.jsonl"])+1000)) // room for the next one, and for a part of the group
	})
	if errs[0] != nil {
		t.Errorf("the one before them: %v", errs[0])
	}
	for i, err := range errs[1:] {
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("call %d of a group on a full disk: %v", i, err)
		}
	}
	if got := bytes.Count(contents(t, dir)["00000001.jsonl"], []byte("\n")); got != 4 || log.Size() != 4 {
		t.Errorf("%d lines, %d events, want the 4 that were taken", got, log.Size())
	}
	lift()
	for i := range 9 {
		if err := log.Append(t.Context(), audittest.Event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.Size != 9 {
		t.Errorf("report %+v, want 9 events", report)
	}
}

// A process that was killed on a full disk had left an event without a checkpoint. Neither the server nor `custody status`
// opened the log any more, though nothing was to be written.
func TestOpensOnAFullDiskAfterAKill(t *testing.T) {
	if apart(t) {
		return
	}
	dir := t.TempDir()
	fill(t, dir, 2)
	before := contents(t, dir)["checkpoint"]
	if before == nil {
		t.Fatal("there is no file checkpoint")
	}
	cfg := config(t, dir)
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.Append(t.Context(), audittest.Event(2)), log.Close(), os.WriteFile(dir+"/checkpoint", before, 0o600)); err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t, 1)
	if log, err = audit.Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if log.Size() != 2 || log.Broken() != "" {
		t.Errorf("%d events are covered, broken: %q", log.Size(), log.Broken())
	}
	if err := log.Append(t.Context(), audittest.Event(3)); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("appending to a full disk: %v", err)
	}
	lift()
	if err := log.Append(t.Context(), audittest.Event(3)); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, dir, log.Checkpoint()); !report.Sound() || report.Size != 4 {
		t.Errorf("report %+v, want 4 events", report)
	}
}

// asNobody runs f with the file rights of an account that owns nothing. Root may write where no right is given, so
// the calling thread alone gives up its rights; it is not used again.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		f()
	}()
	<-done
}

func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	checkpoint := fill(t, dir, 5)
	for name := range contents(t, dir) {
		if err := os.Chmod(dir+"/"+name, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	cfg := config(t, dir)
	verifying := audit.VerifyConfig{Folder: cfg.Folder, Verifier: cfg.Signer.Verifier(), Checkpoints: [][]byte{checkpoint}}
	asNobody(t, func() {
		if log, err := audit.Open(cfg); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("opening a read-only log: got %v, %v, want a refused permission", log, err)
		}
		report, err := audit.Verify(t.Context(), verifying)
		if err != nil || !report.Sound() || report.OutsideSize != 5 {
			t.Errorf("verifying a read-only log: %+v, %v", report, err)
		}
	})
}

// A write that failed, and of which a part could not be taken back either, leaves a log that takes nothing more until it is opened
// again. It must say so: a server whose record is broken is not ready, and ends.
func TestBrokenTailIsSaid(t *testing.T) {
	if apart(t) {
		return
	}
	dir := t.TempDir()
	fill(t, dir, 2)
	cfg := config(t, dir)
	log, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	loseFile(t, ".jsonl")
	if err := log.Append(t.Context(), audittest.Event(2)); err == nil || log.Broken() == "" {
		t.Errorf("appending to a file that is lost: %v, and the log says %q, want it broken", err, log.Broken())
	}
	if err := log.Append(t.Context(), audittest.Event(3)); err == nil {
		t.Error("a broken log takes an event")
	}
	_ = log.Close()
	if log, err = audit.Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if log.Broken() != "" || log.Size() != 2 {
		t.Errorf("opened again it has %d events, want 2, and says %q", log.Size(), log.Broken())
	}
	if err := log.Append(t.Context(), audittest.Event(2)); err != nil {
		t.Error(err)
	}
}

// loseFile closes this process's descriptors of files with a suffix, beneath whoever uses them.
func loseFile(t *testing.T, suffix string) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, one := range open {
		name, err := os.Readlink("/proc/self/fd/" + one.Name())
		number, wrong := strconv.Atoi(one.Name())
		if err == nil && wrong == nil && strings.HasSuffix(name, suffix) {
			if err := syscall.Close(number); err != nil {
				t.Fatal(err)
			}
			lost++
		}
	}
	if lost == 0 {
		t.Fatalf("no file %s is open", suffix)
	}
}
