// SPDX-License-Identifier: Apache-2.0

// Package envfiles lets the programs and libraries that people read env files with read some, for tests.
//
// Guaranteed: each reader is the real one, in one process for all files; if one is missing, the test fails and says how
// to install it. Not guaranteed: that other versions of a reader behave in the same way.
//
// Cost: about a second for a thousand files; the first call on a machine also builds and downloads the readers.
package envfiles

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
)

// Readers are all that Read has read, by the names that it gives them.
var Readers = []string{
	"sh", "bash", "systemd", "docker", "compose", "node", "dotenv", "dotenv-16", "python-dotenv", "ruby", "phpdotenv", "symfony", "godotenv",
}

// Read has every reader read each content, a file of its own, and returns what it took from it: by reader, by file. Of a file
// that a reader refuses, that is nothing or a part; of the shells, the variables A and Z alone.
func Read(t testing.TB, contents [][]byte) map[string][]map[string]string {
	t.Helper()
	folder, root := t.TempDir(), tree(t)
	got := map[string][]map[string]string{}
	for _, reader := range Readers {
		got[reader] = make([]map[string]string, len(contents))
		for i := range contents {
			got[reader][i] = map[string]string{}
		}
	}
	for i, content := range contents {
		if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := filepath.Join(root, "tools", "envreaders")
	script := part(t, "dotenv-node")
	for _, command := range []struct{ program, script, parts string }{
		{part(t, "dotenv-go"), "", "dotenv-go"},
		{"node", script, "dotenv-node"},
		{"python3", filepath.Join(source, "read.py"), "dotenv-python dotenv-systemd"},
		{"ruby", filepath.Join(source, "read.rb"), "dotenv-ruby"},
		{"php", filepath.Join(source, "read.php"), "dotenv-php"},
	} {
		arguments := []string{folder}
		if command.script != "" {
			arguments = []string{command.script, folder}
		}
		output, err := run(t, command.program, arguments...)
		if err != nil {
			t.Fatalf("%v\nhint: as root: tools/install-parts %s", err, command.parts)
		}
		for line := range strings.Lines(output) {
			take(t, got, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		}
	}
	for _, shell := range []string{"sh", "bash"} {
		output, err := run(t, "/bin/"+shell, filepath.Join(source, "read.sh"), folder)
		if err != nil {
			t.Fatalf("%v\nhint: install dash and bash", err)
		}
		parts := strings.Split(output, "\x00")
		for i := 0; i+3 < len(parts); i += 4 {
			number, err := strconv.Atoi(parts[i])
			if err != nil {
				t.Fatalf("%s: %v", shell, err)
			}
			for at, key := range []string{"A", "Z"} {
				if text, set := strings.CutPrefix(parts[i+1+at], "="); set {
					got[shell][number][key] = text
				}
			}
		}
	}
	return got
}

// take reads one line of a reader's output: reader, file, key and value in hexadecimal, or a mark that the file was looked at.
func take(t testing.TB, got map[string][]map[string]string, fields []string) {
	t.Helper()
	if len(fields) == 3 && fields[2] == "!" {
		return
	}
	if len(fields) != 4 || got[fields[0]] == nil {
		t.Fatalf("got %q from a reader", fields)
	}
	number, err := strconv.Atoi(fields[1])
	key, failed := hex.DecodeString(fields[2])
	value, broken := hex.DecodeString(fields[3])
	if err != nil || failed != nil || broken != nil {
		t.Fatalf("got %q from a reader", fields)
	}
	got[fields[0]][number][string(key)] = string(value)
}

// part is a part that tools/install-parts builds.
func part(t testing.TB, name string) string {
	t.Helper()
	path, err := realparts.Build(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a program in an environment in which an expanded X shows, and in a folder where a shell that takes a part of a
// value for a redirection does no harm.
func run(t testing.TB, program string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Dir = t.TempDir()
	command.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nowhere", "LANG=C.UTF-8", "X=expanded"}
	output, err := command.Output()
	if err != nil {
		said := ""
		if exit, is := err.(*exec.ExitError); is { //nolint:errorlint // Output returns it itself
			said = string(exit.Stderr)
		}
		return "", fmt.Errorf("running %s: %w\n%s", program, err, said)
	}
	return string(output), nil
}

// tree finds the source tree from the working folder.
func tree(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	for ; err == nil; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "tools", "envreaders")); err == nil {
			return folder
		}
		if folder == filepath.Dir(folder) {
			break
		}
	}
	t.Fatal("the tree is incomplete: tools/envreaders is missing")
	return ""
}
