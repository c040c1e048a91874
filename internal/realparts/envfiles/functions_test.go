// SPDX-License-Identifier: Apache-2.0

package envfiles

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/secret"
)

// apply computes one template of a password; ok is false when its function refuses the password.
func apply(t *testing.T, password, template string) (text string, ok bool) {
	t.Helper()
	f, err := formula.Compile(map[string]string{"out": template}, []string{"db"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := secret.Text(map[string]string{"password": password})
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.Compute(map[string]secret.Value{"db": v})
	if err != nil {
		return "", false
	}
	return out.ExposeText("out"), true
}

// The functions of derived secrets that quote for a shell and for systemd, read by these.
func TestShellAndSystemdReadWhatFunctionsWrite(t *testing.T) {
	type written struct{ password, reader string }
	var contents [][]byte // all in one call, which starts every reader
	var wants []written
	for reader, function := range map[string]string{"sh": "shell", "systemd": "systemd"} {
		for _, password := range values(100) {
			line, ok := apply(t, password, "A={{ "+function+" .db.password }}\nZ=end\n")
			if ok && !strings.ContainsRune(password, '\ufffe') {
				contents, wants = append(contents, []byte(line)), append(wants, written{password, reader})
			}
		}
	}
	got := Read(t, contents)
	for i, want := range wants {
		if read := got[want.reader][i]; read["A"] != want.password || read["Z"] != "end" {
			t.Errorf("written for %s: %q is read as %q from %q", want.reader, want.password, read, contents[i])
		}
	}
}

// libpq reads what the functions for it write: keywords and values, the query of a URL, a password file.
func TestLibpqReadsWhatFunctionsWrite(t *testing.T) {
	source := filepath.Join(tree(t), "tools", "envreaders", "libpq.py")
	folder := t.TempDir()
	var input strings.Builder
	var wants, from []string
	ask := func(connection, password, template string) {
		fmt.Fprintf(&input, "%x\n", connection)
		wants, from = append(wants, password), append(from, template)
	}
	for i, password := range values(100) {
		if password == "" {
			continue // no password is given then
		}
		for _, template := range []string{
			`host=127.0.0.1 port=1 user=app password={{ libpq .db.password }} passfile=/dev/null`,
			`postgresql://app@127.0.0.1:1/shop?passfile=/dev/null&password={{ query .db.password }}`,
			`postgresql://app:{{ userinfo .db.password }}@127.0.0.1:1/shop?passfile=/dev/null`,
		} {
			if text, ok := apply(t, password, template); ok {
				ask(text, password, template)
			}
		}
		if line, ok := apply(t, password, "127.0.0.1:1:{{ pgpass .db.password }}:app:{{ pgpass .db.password }}\n"); ok {
			file := filepath.Join(folder, fmt.Sprint(i))
			if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
			quoted, _ := apply(t, password, "{{ libpq .db.password }}")
			ask("host=127.0.0.1 port=1 user=app passfile="+file+" dbname="+quoted, password, "pgpass")
			if password == "*" {
				ask("host=127.0.0.1 port=1 user=app passfile="+file+" dbname=other", "", "pgpass of another database")
			}
		}
	}
	command := exec.CommandContext(t.Context(), "/usr/bin/python3", source)
	command.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + folder}
	command.Stdin = strings.NewReader(input.String())
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v\nhint: install Debian's python3 and libpq5", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	if len(lines) != len(wants) {
		t.Fatalf("libpq answered %d times, want %d", len(lines), len(wants))
	}
	for i, line := range lines {
		got, err := hex.DecodeString(line)
		if err != nil || string(got) != wants[i] {
			t.Errorf("%s: libpq reads %q, want %q", from[i], got, wants[i])
		}
	}
}
