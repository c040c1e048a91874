// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/root/sops"
	"custody.dev/custody/internal/wire/kinds"
)

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func config() Config {
	return Config{Codec: sops.Codec{Now: now, Random: rand.Reader}, Now: now}
}

func platform(dir string) Platform {
	return Platform{Dir: dir, Name: "shop", Environment: "prod", Team: "apps", Contact: "apps@example.org"}
}

// tree lists what is beneath a folder, with modes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		}
		got[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestInitMakesWhatLintsAndOpens(t *testing.T) {
	p := platform(filepath.Join(t.TempDir(), "p"))
	var err error
	if p.Import, err = Variables([]byte("DB_PASSWORD=marked-value\nOTHER='a b'\n"), nil); err != nil {
		t.Fatal(err)
	}
	made, err := Init(t.Context(), config(), p)
	if err != nil {
		t.Fatal(err)
	}
	host, faults, err := intent.LoadHost(made.HostFile)
	if err != nil || len(faults) > 0 {
		t.Fatalf("host: %v %v", err, faults)
	}
	estate, faults, err := intent.Load(made.Estate, intent.Options{Environment: "prod", Types: kinds.Upstreams(), Host: &host.Spec})
	if err != nil || len(faults) > 0 {
		t.Fatalf("estate: %v %v", err, faults)
	}
	if diff := cmp.Diff([]string{"db-password", "dotenv", "example-token", "other"}, estate.SecretNames()); diff != "" {
		t.Error(diff)
	}
	for _, key := range []string{"root", "bootstrap"} {
		identities, err := root.Load(filepath.Join(p.Dir, "keys", key+".agekey"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := config().Codec.Open(t.Context(), estate.Bootstrap["db-password"].Raw, identities)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if want := (v1alpha1.Binding{Platform: "shop", Secret: "db-password", Path: "imported/db-password"}); doc.Binding != want {
			t.Errorf("bound to %v, want %v", doc.Binding, want)
		}
		if got := doc.Value.ExposeText("value"); got != "marked-value" {
			t.Error("the value is another one")
		}
	}
	for name, text := range tree(t, p.Dir) {
		if strings.Contains(text, "marked-value") {
			t.Errorf("%s holds the value", name)
		}
		if strings.Contains(text, "AGE-SECRET-KEY") && !strings.HasPrefix(text, "-rw------- ") {
			t.Errorf("%s holds a key and is open to others", name)
		}
		if strings.HasPrefix(name, ".custody-init") {
			t.Errorf("%s was left behind", name)
		}
	}
}

// An error at any point leaves the folder as it was.
func TestInitLeavesNothingBehind(t *testing.T) {
	imports, err := Variables([]byte("A=1\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	failing := config()
	failing.Codec = broken{}
	for _, test := range []struct {
		name   string
		config Config
		change func(p *Platform)
	}{
		{"sealing fails", failing, func(p *Platform) { p.Import = imports }},
		{"does not lint", config(), func(p *Platform) { p.Environment = "token" }},
		{"name", config(), func(p *Platform) { p.Name = "Shop" }},
		{"owner", config(), func(p *Platform) { p.Team = "a\nb" }},
		{"no owner", config(), func(p *Platform) { p.Contact = "" }},
		{"something in the way", config(), func(p *Platform) { write1(t, filepath.Join(p.Dir, "keys")) }},
		{"a link in the way", config(), func(p *Platform) {
			if err := os.Symlink("nowhere", filepath.Join(p.Dir, "state")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a folder for a .gitignore", config(), func(p *Platform) {
			if err := os.Mkdir(filepath.Join(p.Dir, ".gitignore"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := platform(t.TempDir())
			write1(t, filepath.Join(p.Dir, "mine"))
			test.change(&p)
			before := tree(t, p.Dir)
			if _, err := Init(t.Context(), test.config, p); err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(before, tree(t, p.Dir)); diff != "" {
				t.Error(diff)
			}
			if test.name == "something in the way" {
				return
			}
			p.Dir = filepath.Join(t.TempDir(), "absent")
			if test.name == "a link in the way" || test.name == "a folder for a .gitignore" {
				return
			}
			if _, err := Init(t.Context(), test.config, p); err == nil {
				t.Fatal("no error")
			}
			if _, err := os.Lstat(p.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the folder was left behind")
			}
		})
	}
}

// What appears between the look and the move is not replaced, and what was moved before it is taken back.
func TestPlaceNeverReplaces(t *testing.T) {
	for _, late := range []string{"custody.yaml", "estate/x", "run/x"} {
		t.Run(late, func(t *testing.T) {
			fresh, dir := t.TempDir(), t.TempDir()
			for _, name := range []string{".gitignore", "a/b", "custody.yaml", "estate/x", "run/x"} {
				write1(t, filepath.Join(fresh, name))
			}
			write1(t, filepath.Join(dir, late))
			before := tree(t, dir)
			if _, err := place(fresh, dir); err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIgnoreGainsLinesOnce(t *testing.T) {
	p := platform(t.TempDir())
	if err := os.WriteFile(filepath.Join(p.Dir, ".gitignore"), []byte("node_modules\n/keys/"), 0o640); err != nil {
		t.Fatal(err)
	}
	made, err := Init(t.Context(), config(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !made.GitIgnore {
		t.Error("it is not said that .gitignore was changed")
	}
	got := tree(t, p.Dir)[".gitignore"]
	if !strings.HasPrefix(got, "-rw-r----- node_modules\n/keys/\n") || strings.Count(got, "/keys/") != 1 || !strings.Contains(got, "\n/state/\n") {
		t.Errorf("got %q", got)
	}
}

func TestKebab(t *testing.T) {
	for in, want := range map[string]string{"DB_PASSWORD": "db-password", "__A..b ": "a-b", "Ünder": "nder", "___": "", "a1": "a1"} {
		if got := Kebab(in); got != want {
			t.Errorf("Kebab(%q) = %q, want %q", in, got, want)
		}
	}
}

type broken struct{ Codec }

func (broken) Seal(context.Context, root.Document, []string) ([]byte, error) {
	return nil, errors.New("no")
}

func write1(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
