// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/server"
)

const (
	custodian = 4242
	other     = 4343
)

func TestOnlyWhoRunsItOpensIt(t *testing.T) {
	const state = "/var/lib/custody/state"
	served := map[string]int{"/": 0, "/var": 0, "/var/lib": 0, "/var/lib/custody": custodian, state: custodian, state + "/authority": custodian}
	unserved := map[string]int{"/": 0, "/var": 0, "/var/lib": 0, "/var/lib/custody": custodian}
	mounted := map[string]int{"/": 0, "/var": 0, state: 0, state + "/authority": custodian}
	fresh := map[string]int{"/": 0, "/var": 0, "/var/lib": 0}
	shut := map[string]int{"/": 0, "/var": 0, "/var/lib": 0, "/var/lib/custody": custodian, state: -1, state + "/authority": -1}
	restored := map[string]int{"/": 0, "/var/lib/custody": custodian, state: custodian, state + "/authority": 0}
	for name, c := range map[string]struct {
		owners map[string]int // -1 where looking is not allowed
		me     int
		hint   string // "" where it is opened
	}{
		"who runs it":                     {served, custodian, ""},
		"root":                            {served, 0, "`runuser -u 4242 -- custody … --host /etc/custody/custody.yaml`"},
		"somebody else":                   {served, other, "`sudo -u 4242 custody … --host /etc/custody/custody.yaml`"},
		"who may not look":                {shut, other, "`sudo -u 4242 custody"},
		"root, before it is made":         {unserved, 0, "`runuser -u 4242"},
		"who will run it":                 {unserved, custodian, ""},
		"root, in a folder of its own":    {fresh, 0, ""},
		"somebody, where root may let it": {fresh, other, ""},
		"a mount that is root's":          {mounted, custodian, ""},
		"root's after a restore":          {restored, custodian, "`chown -R 4242 " + state + "`"},
		"nothing can be looked at":        {nil, other, ""},
	} {
		p := &parts{host: v1alpha1.HostSpec{State: state}, hostFile: "/etc/custody/custody.yaml"}
		err := p.runBy(c.me, func(path string) (int, error) {
			owner, there := c.owners[path]
			switch {
			case !there:
				return 0, fs.ErrNotExist
			case owner < 0:
				return 0, fs.ErrPermission
			}
			return owner, nil
		})
		if c.hint == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		problem, is := errors.AsType[*server.Problem](err)
		if !is || problem.Class != server.Refused || !strings.HasPrefix(problem.Text, "this platform is run by ") || !strings.Contains(problem.Hint, c.hint) {
			t.Errorf("%s: %+v, want a hint with %q", name, err, c.hint)
		}
	}
}

// hosted is a host file with a state folder that is not there yet.
func hosted(t *testing.T, unseal string) (file, state string) {
	t.Helper()
	dir := t.TempDir()
	file, state = filepath.Join(dir, "custody.yaml"), filepath.Join(dir, "state")
	text := "apiVersion: custody.dev/v1alpha1\nkind: Host\nmetadata: {name: here}\nspec:\n  platform: shop\n  environment: prod\n" +
		"  estate: estate\n  state: state\n  unseal: " + unseal + "\n"
	key := strings.Repeat("ab", 32) + "\n"
	for name, text := range map[string]string{file: text, filepath.Join(dir, "key"): key} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file, state
}

// Asking makes nothing: the state folder is to belong to who serves.
func TestAskingMakesNoState(t *testing.T) {
	file, state := hosted(t, "{keyFile: key}")
	platform, err := Connect(t.Context(), Options{HostFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := platform.Status(t.Context(), server.Filter{}); err != nil {
		t.Error(err)
	}
	if err := platform.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a look at the state folder: %v, want that there is none", err)
	}
}

// Root's own files in the folder of another user would keep that user from starting.
func TestRootAsksNothingOfAnothersPlatform(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give files away; what is decided is tested above
	}
	file, state := hosted(t, "{keyFile: key}")
	authority := authorityFolder(state)
	if err := os.MkdirAll(authority, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(authority, custodian, custodian); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), Options{HostFile: file})
	if problem := server.Problems(err); problem == nil || problem.Text != "this platform is run by uid 4242, and this is root" {
		t.Errorf("got %v", err)
	}
	for _, folder := range []string{state, authority} {
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 && folder == authority || len(left) > 1 {
			t.Errorf("%s holds %v (%v)", folder, left, err)
		}
	}
}

// The key is a credential of the service, which a command has only when systemd gives it that too.
func TestMissingCredentialSaysHowToAsk(t *testing.T) {
	file, _ := hosted(t, "{credential: unseal}")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err := Connect(t.Context(), Options{HostFile: file})
	want := "systemd-run --pipe --wait -p User=" + User() + " -p LoadCredentialEncrypted=unseal:/etc/custody/unseal.cred custody … --host " + file
	if problem := server.Problems(err); problem == nil || !strings.Contains(problem.Text, "$CREDENTIALS_DIRECTORY is not set") || !strings.Contains(problem.Hint, want) {
		t.Errorf("got %+v, want a hint with %q", problem, want)
	}
}
