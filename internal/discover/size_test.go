// SPDX-License-Identifier: Apache-2.0

package discover_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/thorough"
)

const (
	// within is what a tree of 100,000 files may take, and mostMemory what the heap may grow by: a quarter of the smallest machine
	// that Custody is meant for.
	within     = 60 * time.Second
	mostMemory = 256 << 20
)

// source is text as repositories are full of it: code with words near which rules look.
func source(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "package part%d\n\nimport \"fmt\"\n\n", n)
	for i := range 60 {
		fmt.Fprintf(&b, "// key%d finds the token of a request by its access path, task %d of part %d.\nfunc key%d(auth string) string { return fmt.Sprint(auth, %d) }\n", i, i, n, i, n*i)
	}
	return b.Bytes()
}

// A tree of 100,000 files is read within a minute, with a heap that does not grow with it, and it is said how far it is.
func TestManyFiles(t *testing.T) {
	files := thorough.Of(300, 3000, 100_000)
	folder := t.TempDir()
	for i := range files {
		dir := filepath.Join(folder, fmt.Sprintf("part%d", i/500))
		name, data := filepath.Join(dir, fmt.Sprintf("file%d.go", i)), source(i)
		switch i % 50 {
		case 7:
			name, data = filepath.Join(dir, fmt.Sprintf("m%d.yaml", i)), []byte(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%d}\ndata: {LEVEL: info, SIZE: \"%d\"}\n", i, i))
		case 8:
			name, data = filepath.Join(dir, fmt.Sprintf("s%d.sh", i)), []byte(fmt.Sprintf("#!/bin/sh\nset -eu\nfor f in *.go; do gofmt -l \"$f\"; done\necho part %d\n", i))
		}
		if i%500 == 0 {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "last.env"), []byte("DB_PASSWORD=correct-horse-battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, took, grown, told := measured(t, folder)
	t.Logf("%d files, %d MiB: %s, the heap grew by %d MiB", a.Counts.Files, a.Counts.Bytes>>20, took, grown>>20)
	if a.Counts.Files != files+1 || len(a.Secrets) != 1 {
		t.Errorf("%d files were read and %d secrets found, want %d and 1", a.Counts.Files, len(a.Secrets), files+1)
	}
	if told < files/100 {
		t.Errorf("progress was told %d times", told)
	}
	if grown > mostMemory {
		t.Errorf("the heap grew by %d MiB, want at most %d", grown>>20, mostMemory>>20)
	}
	if thorough.Long() && took > within {
		t.Errorf("it took %s, want at most %s", took, within)
	}
}

// measured scans a folder, and says how long that took, by how much the heap grew at its largest, and how often progress was told.
func measured(t *testing.T, folder string) (a *discover.Answer, took time.Duration, grown uint64, told int) {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	began := time.Now()
	a, err := discover.Scan(t.Context(), discover.Config{Folder: folder, Key: []byte(strings.Repeat("k", 32)), Now: then, Limits: discover.Usual,
		Progress: func(discover.Progress) {
			if told++; told%16 == 0 {
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	return a, time.Since(began), most - before, told
}

// A long history costs what is new in it: each file once, in the commit that brought it.
func TestManyCommits(t *testing.T) {
	commits := thorough.Of(60, 600, 10_000)
	folder := t.TempDir()
	run := func(in []byte, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir, cmd.Stdin = folder, bytes.NewReader(in)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	var stream bytes.Buffer
	for i := range commits {
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\ndata 4\nstep\n", 1_700_000_000+i*60)
		data := source(i % 97)
		fmt.Fprintf(&stream, "M 100644 inline part%d/file%d.go\ndata %d\n%s\n", i%40, i%400, len(data), data)
		switch i {
		case commits / 2:
			text := "DB_PASSWORD=correct-horse-battery\n"
			fmt.Fprintf(&stream, "M 100644 inline old.env\ndata %d\n%s\n", len(text), text)
		case commits/2 + 1:
			fmt.Fprintf(&stream, "D old.env\n")
		}
	}
	run(nil, "init", "--quiet", "--initial-branch", "main")
	run(stream.Bytes(), "fast-import", "--quiet")
	run(nil, "checkout", "--quiet", "--force", "main")
	a, took, grown, _ := measured(t, folder)
	t.Logf("%d commits, %d objects: %s, the heap grew by %d MiB", a.Counts.Commits, a.Counts.Objects, took, grown>>20)
	s := named(t, a, clue.Holds, "old.env", "DB_PASSWORD")
	if want := time.Unix(int64(1_700_000_000+commits/2*60), 0).UTC(); s.Holders[0].When == nil || !s.Holders[0].When.Equal(want) {
		t.Errorf("the value came at %v, want %s", s.Holders[0].When, want)
	}
	if a.Counts.Commits != commits || a.Counts.Objects > commits {
		t.Errorf("%d commits and %d objects were read, want %d and no more objects", a.Counts.Commits, a.Counts.Objects, commits)
	}
	if grown > mostMemory {
		t.Errorf("the heap grew by %d MiB, want at most %d", grown>>20, mostMemory>>20)
	}
}

// What is too large, binary, a link or not readable is counted or passed over, and nothing waits on it.
func TestWhatIsNotRead(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := []byte("DB_PASSWORD=correct-horse-battery\n")
	write("large.env", append(bytes.Repeat([]byte("# comment\n"), 200), secret...))
	write("binary.env", append([]byte{0}, secret...))
	write("there.env", secret)
	if err := os.Symlink("there.env", filepath.Join(folder, "link.env")); err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "mkfifo", filepath.Join(folder, "pipe.env")).Run(); err != nil {
		t.Fatal(err)
	}
	limits := discover.Usual
	limits.File = 1000
	a, err := discover.Scan(t.Context(), discover.Config{Folder: folder, Key: []byte("k"), Now: then, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	if c := a.Counts; c.Files != 1 || c.TooLarge != 1 || c.Binary != 1 || len(a.Secrets) != 1 || len(a.Secrets[0].Holders) != 1 {
		t.Errorf("%+v, %d secrets", c, len(a.Secrets))
	}
}

// Whatever is in a file, under whatever name, no reader fails on it: files of repositories are written by anybody.
func FuzzReaders(f *testing.F) {
	names := []string{".env", "a.env", ".github/workflows/a.yml", ".gitlab-ci.yml", "Jenkinsfile", ".circleci/config.yml", ".drone.yml", "azure-pipelines.yml",
		"compose.yaml", "a.service", "group_vars/all.yml", "inventory/hosts.ini", "a.yaml", "chart/templates/a.yaml", "values.yaml", "kustomization.yaml", "a.tf", "a.tfvars", "a.tfstate", "a.sh", "a.txt"}
	err := filepath.WalkDir("testdata/platform/tree", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for i := range names {
			if filepath.Ext(names[i]) == filepath.Ext(path) || names[i] == filepath.Base(path) {
				f.Add(uint8(i), data)
			}
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	for i := range names {
		f.Add(uint8(i), []byte("a: &a [*a, ${{ secrets. }}]\n{{ .Values.x }}: \"${\n$(\nsops_mac=\nENC[AES256_GCM,\nsops:\n  mac: x\nkind: Secret\napiVersion: v1\ndata: {a: b}\n"))
	}
	f.Fuzz(func(t *testing.T, at uint8, data []byte) {
		folder := t.TempDir()
		name := filepath.Join(folder, filepath.FromSlash(names[int(at)%len(names)]))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := discover.Scan(t.Context(), discover.Config{Folder: folder, Key: []byte("k"), Now: then, Limits: discover.Usual}); err != nil {
			t.Error(err)
		}
	})
}
