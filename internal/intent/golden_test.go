// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/wire/kinds"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// stage fills in what testdata leaves open, so that nothing that looks like a credential is kept in the repository.
type stage struct {
	words map[string]string
	// fakes are the plaintexts, which no fault may repeat.
	fakes []string
}

var blob = regexp.MustCompile(`\{\{ENC:([a-z]+)\}\}`)

func newStage(t testing.TB) *stage {
	t.Helper()
	recipient := func() string {
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		return identity.Recipient().String()
	}
	s := &stage{words: map[string]string{
		"ROOT": recipient(), "DEV": recipient(), "PROD": recipient(), "STRANGER": recipient(),
		"NUL": "\x00", "LATIN": "\xe9", "BIG": strings.Repeat("# filler\n", maxFile/9+1), "FULL": strings.Repeat("# filler\n", maxFile/9),
	}}
	fakes := map[string]string{
		"FAKE_AWS_KEY":  "AKIA" + strings.Repeat("7EXAMPLE", 2),
		"FAKE_GITHUB":   "ghp_" + strings.Repeat("0a1B2c", 6),
		"FAKE_GITLAB":   "glpat-" + strings.Repeat("x9Y8z7", 4),
		"FAKE_SLACK":    "xoxb-" + strings.Repeat("123456-", 3) + "abc",
		"FAKE_AGE":      "AGE-SECRET-" + "KEY-1" + strings.Repeat("QPZRY9X8", 6),
		"FAKE_PEM":      "-----BEGIN OPENSSH PRIVATE" + " KEY-----",
		"FAKE_PASSWORD": "c0rrectH0rse" + "Battery",
		"FAKE_HEX":      strings.Repeat("9f86d081e7", 4),
		"FAKE_URL":      "amqp://" + "guest:h0pefully" + "@queue.example.org",
	}
	for name, fake := range fakes {
		s.words[name] = fake
		s.fakes = append(s.fakes, fake)
	}
	return s
}

func (s *stage) fill(text string) string {
	for name, word := range s.words {
		text = strings.ReplaceAll(text, "{{"+name+"}}", word)
	}
	return blob.ReplaceAllString(text, "ENC[AES256_GCM,data:c2VhbGVk,iv:aXY=,tag:dGFn,type:$1]")
}

// set copies a case to a fresh folder, filled in. NAME.link becomes a link to what the file says, NAME.unreadable a file
// that cannot be opened.
func (s *stage) set(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if link, ok := strings.CutSuffix(target, ".link"); ok {
			return os.Symlink(string(data), link)
		}
		return os.WriteFile(strings.TrimSuffix(target, ".unreadable"), []byte(s.fill(string(data))), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// locked is a file system in which some files cannot be opened, whoever the test runs as.
type locked struct {
	fs.FS
	names []string
}

func (l locked) Open(name string) (fs.File, error) {
	if slices.Contains(l.names, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return l.FS.Open(name)
}

func (l locked) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(l.FS, name) }

type settings struct {
	Environment string `json:"environment"`
	Privileged  bool   `json:"privileged"`
}

func readSettings(t testing.TB, dir string) settings {
	t.Helper()
	var out settings
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if os.IsNotExist(err) {
		return out
	}
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// load runs a case: its host when there is one, then its estate when there is one.
func load(t testing.TB, s *stage, from string) (*Estate, *v1alpha1.Host, []Fault) {
	t.Helper()
	dir := s.set(t, from)
	chosen := readSettings(t, from)
	options := Options{Environment: chosen.Environment, Privileged: chosen.Privileged}
	var all []Fault
	var host *v1alpha1.Host
	if _, err := os.Stat(filepath.Join(dir, "host.yaml")); err == nil {
		loaded, faults, err := LoadHost(filepath.Join(dir, "host.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range faults {
			faults[i].File = strings.TrimPrefix(faults[i].File, dir+"/")
			faults[i].Reason = strings.ReplaceAll(faults[i].Reason, dir+"/", "")
		}
		all, host = append(all, faults...), &loaded
		options.Host = &loaded.Spec
	}
	root, err := os.OpenRoot(filepath.Join(dir, "estate"))
	if os.IsNotExist(err) {
		return nil, host, all
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	var names []string
	closed, err := filepath.Glob(filepath.Join(from, "estate", "*.unreadable"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range closed {
		names = append(names, strings.TrimSuffix(filepath.Base(name), ".unreadable"))
	}
	options.Types = kinds.Upstreams()
	files, err := readFS(locked{root.FS(), names}, bounds{6 << 20, maxValues}) // not as many bytes as usual, of which a case would have to be made
	if err != nil {
		t.Fatal(err)
	}
	estate, faults := files.Load(options)
	if everywhere := slices.ContainsFunc(faults, func(f Fault) bool { return !f.Alone() }); (estate == nil) != everywhere {
		t.Errorf("estate %v with %d faults", estate != nil, len(faults))
	}
	return estate, host, append(all, faults...)
}

func cases(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/broken/*")
	if err != nil || len(dirs) < 40 {
		t.Fatalf("testdata/broken holds %d cases, want 40 or more (%v)", len(dirs), err)
	}
	return dirs
}

func TestBrokenEstates(t *testing.T) {
	s := newStage(t)
	hit := map[string]bool{}
	for _, dir := range cases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			_, _, faults := load(t, s, dir)
			if len(faults) == 0 {
				t.Fatal("no fault was found")
			}
			var b strings.Builder
			for _, f := range faults {
				hit[f.Rule] = true
				if f.Fix == "" {
					t.Errorf("fault without a fix: %s", f)
				}
				fmt.Fprintf(&b, "%s\n    fix: %s\n", f, f.Fix)
			}
			got := b.String()
			for _, fake := range s.fakes {
				if strings.Contains(got, fake) {
					t.Errorf("a fault repeats a plaintext:\n%s", got)
				}
			}
			golden := filepath.Join(dir, "want.golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("faults differ from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
	seen := map[string]bool{}
	for _, rule := range Rules() {
		if rule.Checks == "" || rule.Why == "" || rule.Fix == "" || rule.Group == "" || seen[rule.ID] {
			t.Errorf("rule %q is incomplete or listed twice", rule.ID)
		}
		seen[rule.ID] = true
		if !hit[rule.ID] && rule.ID != RuleUnservable { // which is not checked here
			t.Errorf("no broken estate breaks rule %s", rule.ID)
		}
	}
	for id := range hit {
		if !seen[id] {
			t.Errorf("rule %s is not in the catalogue", id)
		}
	}
}
