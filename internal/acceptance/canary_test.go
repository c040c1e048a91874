// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// canary is a secret and every form in which it could leak.
type canary struct {
	name  string
	forms [][]byte
}

func newCanary(name, value string) canary {
	raw := []byte(value)
	forms := []string{value, hex.EncodeToString(raw), url.QueryEscape(value)}
	for pad := range 3 { // wherever in a longer text it begins
		encoded := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte("x"), pad), raw...))
		core := encoded[(pad*8+5)/6:]
		forms = append(forms, core[:len(core)-4], strings.NewReplacer("+", "-", "/", "_").Replace(core[:len(core)-4]))
	}
	c := canary{name: name}
	for _, form := range forms {
		c.forms = append(c.forms, []byte(form))
	}
	return c
}

func (c canary) in(data []byte) bool {
	for _, form := range c.forms {
		if bytes.Contains(data, form) {
			return true
		}
	}
	return false
}

// TestNoValueLeaks is the canary over the whole: the marked value from Git, every value that was generated, the keys.
// They are in the delivered files, and nowhere else.
func TestNoValueLeaks(t *testing.T) {
	t.Parallel()
	rotations := 5
	if testing.Short() {
		rotations = 2
	}
	r := newRig(t, "50ms", func(s *setup) {
		s.postgres.Settings = map[string]string{"log_statement": "all", "log_min_duration_statement": "0", "log_connections": "on"}
		s.checkpoint = "elsewhere/checkpoint"
	})
	r.write("elsewhere/keep", "")
	quiet := len(r.database.Log()) // the rig itself has made the admin by then
	canaries := []canary{newCanary("the bootstrap password", r.admin.Password), newCanary("the marker", marker)}
	for _, key := range []string{"root", "bootstrap", "unseal"} {
		for _, line := range strings.Split(r.read("keys/"+key), "\n") {
			if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
				canaries = append(canaries, newCanary("the "+key+" key", strings.TrimSpace(line)))
			}
		}
	}
	clients := r.begin(false)
	escrowed := map[string]string{} // only the newest few stay
	for i := range rotations {
		canaries = append(canaries, newCanary("password "+strconv.Itoa(i+1), r.current().Password))
		r.rotate("app-database")
		r.rotate("database-admin")
		maps.Copy(escrowed, r.escrowed())
	}
	canaries = append(canaries, newCanary("the last password", r.current().Password))
	if len(escrowed) < rotations {
		t.Errorf("%d admin candidates in escrow after %d rotations", len(escrowed), rotations)
	}
	for run, password := range escrowed {
		canaries = append(canaries, newCanary("the admin's password of run "+run, password))
	}
	if want := 2 + 3 + rotations + 1 + len(escrowed); len(canaries) != want {
		t.Fatalf("%d canaries, want %d", len(canaries), want)
	}

	places := map[string][]byte{}
	run := string(r.row("app-database").Last.Run)
	for _, format := range []string{"table", "json", "yaml"} {
		for _, command := range []string{
			"status", "inventory", "inventory --wide", "explain app-database", "explain database-admin", "plan", "run list", "run show " + run,
			"audit log", "audit verify", "doctor", "lint", "explain nobody", "run show nobody", "rotate nobody --reason none",
		} {
			args := append(strings.Fields(command), "-o", format)
			if command == "inventory --wide" && format != "table" {
				continue
			}
			got := r.run(args...)
			places["custody "+strings.Join(args, " ")] = []byte(got.out + got.err)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		_, body := r.get(path)
		places[path] = []byte(body)
	}
	for _, name := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(r.serving.Process.Pid), name))
		if err != nil {
			t.Fatal(err)
		}
		places["the server's "+name] = data
	}
	clients.stop(t)
	state := r.content("state")
	r.stop()
	places["the server's log"] = []byte(r.log())
	places["PostgreSQL's log"] = []byte(r.database.Log()[quiet:])
	for _, folder := range []string{"state", "estate", "elsewhere", "client"} {
		for name, data := range r.content(folder) {
			places[name] = data
		}
	}
	for name, data := range state {
		places[name+" while it served"] = data
	}
	for name, data := range places {
		if base := filepath.Base(name); len(data) == 0 && !strings.Contains(base, "lock") && base != "keep" {
			t.Errorf("%s is empty: nothing was searched there", name)
		}
		for _, c := range canaries {
			if c.in(data) {
				t.Errorf("%s is in %s", c.name, name)
			}
		}
	}
	if delivered := []byte(r.read("app/polled.json")); !canaries[5+rotations].in(delivered) {
		t.Error("the last password is not found in the delivered file: the search finds nothing")
	}
	t.Logf("%d values in %d places", len(canaries), len(places))
	r.modes()
}

// opened is the value that was encrypted to the root.
func (r *rig) opened(sealed []byte) secret.Value {
	r.t.Helper()
	plain, err := root.Decrypt([]root.Identity{r.rootKey}, sealed)
	if err != nil {
		r.t.Fatal(err)
	}
	value, err := secret.Decode(plain)
	if err != nil {
		r.t.Fatal(err)
	}
	return value
}

// escrowed opens every admin candidate that is kept for the root, by run.
func (r *rig) escrowed() map[string]string {
	r.t.Helper()
	passwords := map[string]string{}
	for name, data := range r.content(filepath.Join(r.state, "escrow")) {
		value := r.opened(data)
		passwords[strings.TrimSuffix(filepath.Base(name), ".age")] = value.ExposeText("password")
	}
	return passwords
}

// modes checks who may read what: folders and files of the state belong to their owner alone, the socket too, and
// delivered files are as declared.
func (r *rig) modes() {
	r.t.Helper()
	r.serve()
	sockets, files := 0, 0
	err := filepath.WalkDir(r.file(r.state), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		switch {
		case mode.IsDir() && mode.Perm() != 0o700:
			r.t.Errorf("folder %s: mode %o, want 700", name, mode.Perm())
		case mode.Type() == fs.ModeSocket:
			sockets++
			if mode.Perm() != 0o600 {
				r.t.Errorf("socket %s: mode %o, want 600", name, mode.Perm())
			}
		case mode.IsRegular():
			files++
			if mode.Perm()&^0o600 != 0 {
				r.t.Errorf("file %s: mode %o, want 600 or less", name, mode.Perm())
			}
		case !mode.IsDir():
			r.t.Errorf("%s is %s: neither file, folder nor socket", name, mode)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if sockets != 1 || files < 5 {
		r.t.Errorf("%d sockets and %d files in the state folder: something was not looked at", sockets, files)
	}
	for name, want := range map[string]fs.FileMode{
		"app/polled.json": 0o600, "app/held.json": 0o640, "app/.polled.json.custody": 0o600, "app/.held.json.custody": 0o600,
	} {
		info, err := os.Stat(r.file(name))
		if err != nil {
			r.t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			r.t.Errorf("%s: mode %o, want %o", name, info.Mode().Perm(), want)
		}
	}
}
