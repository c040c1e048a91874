// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
)

// Nobody was told of a changed host file, nor of folders, state or a socket that others can write to.
func TestMachineIsWarnedOf(t *testing.T) {
	for name, test := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"as it should be": {func(*testing.T, string) {}, ""},
		"host file changed": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "custody.yaml"), []byte("changed"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "changed since this process read it"},
		"folder":    {open0777("app"), "folder app is not safe"},
		"state":     {open0777("state"), "the state folder is not safe"},
		"authority": {open0777("state/authority"), "the authority's folder is not safe"},
		"record":    {open0777("state/audit"), "the record's folder is not safe"},
		"socket":    {open0777("state/custody.sock"), "the socket is not safe"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, folder := range []string{"app", "state/authority", "state/audit"} {
				if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{"custody.yaml", "state/custody.sock"} {
				if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := &parts{host: v1alpha1.HostSpec{State: filepath.Join(dir, "state"), Folders: map[string]string{"app": filepath.Join(dir, "app")}}, hostFile: filepath.Join(dir, "custody.yaml"), seeds: &seeds{}}
			p.hostDigest = digestOf(p.hostFile)
			test.change(t, dir)
			found := strings.Join(p.machine(), "\n")
			if (found == "") != (test.want == "") || !strings.Contains(found, test.want) {
				t.Errorf("got %q, want %q", found, test.want)
			}
		})
	}
}

func open0777(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
}
