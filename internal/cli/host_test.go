// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// A host file in the working folder, which may be anybody's, came before the machine's own.
func TestMachinesHostFileComesFirst(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	system := filepath.Join(dir, "etc.yaml")
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := &app{system: system, env: func(string) string { return "" }}
	want := func(file string) {
		t.Helper()
		if got := a.hostFile(); got != file {
			t.Errorf("got %s, want %s", got, file)
		}
	}
	want(localHostFile)
	write(localHostFile)
	want(localHostFile)
	write(system)
	want(system)
	a.env = func(string) string { return "named.yaml" }
	want("named.yaml")
	a.host = "flag.yaml"
	want("flag.yaml")
}
